"""Which run a results file of lm-eval is of, whatever evaluated it, and how that is known."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from difficulty.runs.checkpoint import MANIFEST, find_folder, know, of_block, packed_format, run_of
from difficulty.runs.identity import DENSE, GUESS, Method, Run
from difficulty.runs.label import Label

_GGUF_BITS = re.compile(r"(?:^|[-_.])(?:I?Q|BF|F)(\d+)(?:[-_.]|$)", re.IGNORECASE)
# Arguments by which hf, vllm and others are told to quantize while they load.
_LOADING: Mapping[str, tuple[str, float]] = {
    "load_in_8bit": ("bnb-int8", 8.0),
    "load_in_4bit": ("bnb-nf4", 4.0),
}
_ADAPTERS = ("peft", "delta")
_NAMING = (
    "quantization",
    "autogptq",
    "gptqmodel",
    "awq",
)  # their value names the format, or is the file that holds it
_METHODS: Mapping[str, str] = {"autogptq": "gptq", "gptqmodel": "gptq", "awq": "awq"}
_BITS: Mapping[str, float] = {"gptq": 4.0, "awq": 4.0, "bitsandbytes": 4.0, "fp8": 8.0}


@dataclass(frozen=True)
class Evaluated:
    """The run, its `junkdna` block or manifest (empty where there is none), how it is known, and warnings."""

    run: Run
    manifest: Mapping[str, Any] = field(default_factory=dict)
    how: str = ""
    notes: tuple[str, ...] = ()


def evaluated(results: Mapping[str, Any], log: Path, label: Label | None = None) -> Evaluated:
    """The run of a results file. A `label` counts most, then what our wrappers wrote, then what the model's folder says.

    Where nothing can be read, the run is taken for the dense model and marked as a guess.

    Raises:
        UsageError: a manifest or configuration that would say it is damaged.
    """
    found = _unlabelled(results, log)
    if label is None:
        return found
    return replace(found, run=label.run(found.run.model), how="its label")


def _unlabelled(results: Mapping[str, Any], log: Path) -> Evaluated:
    given = results.get("config")
    config: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    block = config.get("junkdna")
    arguments = model_arguments(config)
    name = _name(results, arguments)
    if isinstance(block, Mapping) and block:
        method, level, bits, notes = of_block(block)
        model = str(block.get("model") or name)
        run = Run(plain_name(model), method, level, bits, _replicate(block), "block")
        return Evaluated(run, block, "what the model wrapper measured", notes)
    for folder, key in _folders(arguments, name, log):
        known = know(folder)
        if known is None and key in _ADAPTERS:
            break
        if known is None:
            continue
        if written := _written_after(known.manifest, results):
            note = f"{str(folder / MANIFEST)!r} was written after this evaluation ({written}), so it may be of another model"
            return Evaluated(Run(name, Method(DENSE), known_by=GUESS), {}, "nothing", (note,))
        how, run = f"{known.how} ({key}={folder})", run_of(known, name)
        for also, method_name, width in _told(arguments):
            if run.bits is None:
                base = Method(method_name) if run.is_dense else run.method
                run = replace(run, method=base, level=None if run.is_dense else run.level, bits=width)
                how += f" and {also}"
        return Evaluated(run, known.manifest, how, known.notes)
    adapter = next((str(arguments[key]) for key in _ADAPTERS if arguments.get(key)), None)
    if adapter is not None:
        note = f"what the adapter {adapter!r} changed is written nowhere"
        return Evaluated(Run(name, Method(DENSE), known_by=GUESS), {}, "nothing", (note,))
    for how, method_name, width in _told(arguments):
        return Evaluated(Run(name, Method(method_name), None, width, known_by="arguments"), {}, how)
    return Evaluated(Run(name, Method(DENSE), known_by=GUESS), {}, "nothing")


def _replicate(block: Mapping[str, Any]) -> int:
    """Which draw it is: 0 where the block does not say, or says no whole number."""
    given = block.get("replicate")
    return given if isinstance(given, int) and given >= 0 else 0


def model_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """`--model_args` as they are in a results file: a mapping, or text in older logs."""
    given = config.get("model_args")
    if isinstance(given, Mapping):
        return dict(given)
    parts = (part.partition("=") for part in str(given or "").split(","))
    return {name.strip(): value.strip() for name, equals, value in parts if equals}


def plain_name(name: str) -> str:
    """A model's name without what does not tell models apart: `./` before it, slashes after it."""
    short = name.rstrip("/\\") if len(name) > 1 else name
    return short.removeprefix("./") or name


def _name(results: Mapping[str, Any], arguments: Mapping[str, Any]) -> str:
    for value in (results.get("model_name"), arguments.get("pretrained"), arguments.get("model")):
        if value not in (None, ""):
            return plain_name(str(value))
    return "model"


def _folders(arguments: Mapping[str, Any], name: str, log: Path) -> Iterator[tuple[Path, str]]:
    """Folders that may say what was evaluated, the adapter's first: it is what was changed last."""
    for key in (*_ADAPTERS, "pretrained", "model", "path", "model_path"):
        value = arguments.get(key)
        if value not in (None, "", True, False):
            folder = find_folder(str(value), log) or _cached(str(value), arguments)
            if folder is not None:
                yield folder, key
    if not any(arguments.get(key) for key in ("pretrained", "model", "path", "model_path")):
        folder = find_folder(name, log)
        if folder is not None:
            yield folder, "model"


def _cached(name: str, arguments: Mapping[str, Any]) -> Path | None:
    """The snapshot of a hub model in the local cache, where it lies there."""
    if name.count("/") > 1 or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        return None
    home = os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME") or "~/.cache/huggingface") / "hub"
    model = Path(home).expanduser() / f"models--{name.replace('/', '--')}"
    revision = str(arguments.get("revision") or "main")
    written = model / "refs" / revision
    try:
        snapshot = model / "snapshots" / (written.read_text().strip() if written.is_file() else revision)
    except (OSError, ValueError):
        return None
    return snapshot if snapshot.is_dir() else None


def _told(arguments: Mapping[str, Any]) -> Iterator[tuple[str, str, float | None]]:
    """What the arguments of the evaluator say of a quantization done while loading: (how known, method, bits)."""
    for key, (method, bits) in _LOADING.items():
        if str(arguments.get(key)).lower() in ("true", "1"):
            yield f"{key}={arguments[key]}", method, bits
    packed = arguments.get("quantization_config")
    if isinstance(packed, Mapping):
        yield ("quantization_config=", *packed_format(packed))
    for key, value in arguments.items():
        method = _METHODS.get(key, str(value))
        if key in _NAMING and str(value).lower() not in ("", "none", "false", "auto", "safetensors"):
            yield f"{key}={value}", method, _BITS.get(method, 8.0 if "8" in method else None)
    if file := arguments.get("gguf_file"):
        match = _GGUF_BITS.search(str(file).removesuffix(".gguf"))
        yield f"gguf_file={file}", "gguf", float(match[1]) if match else None


def _written_after(manifest: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    """When the manifest was written, if that was after the evaluation began; else nothing."""
    created, began = manifest.get("created"), results.get("date")
    if not created or not isinstance(began, (int, float)):
        return ""
    try:
        moment = datetime.datetime.fromisoformat(str(created).replace("Z", "+00:00"))
    except ValueError:
        return ""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.timezone.utc)
    return str(created) if moment.timestamp() > began + 1 else ""
