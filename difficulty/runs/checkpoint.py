"""What a model folder says of itself: our manifest, a quantization that transformers knows, or zeros among its weights.

This is the one reader of `junkdna.json` and of the chain of checkpoints that leads to the model at its root. Without torch,
so that the logs of any evaluator (`hf`, `vllm`, `sglang`, a server on this machine) can be told apart.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from difficulty.errors import UsageError
from difficulty.json_files import read_json
from difficulty.runs.identity import DENSE, Method, Run
from difficulty.runs.level import bears_out, level_of
from difficulty.runs.running import Running, weights_alone
from difficulty.runs.values import as_number

MANIFEST = "junkdna.json"
ADAPTER_CONFIG = "adapter_config.json"
NONE = "none"  # the method that changes nothing
UNKNOWN = "pruned"  # somebody pruned it, we do not know how
CLEARLY_SPARSE = 0.01  # trained weights hold a few exact zeros; a hundredth of them has been pruned
EMBEDDED = "embedded"
TRAININGS = 3  # of the embedded model: its name alone is the first, and each has a name with its number
EMBEDDED_NAMES = (EMBEDDED, *(f"{EMBEDDED}:{number}" for number in range(TRAININGS)))
PACKAGED = (*EMBEDDED_NAMES, "smollm2-135m")  # names of models that come in a package, never of folders
# How the path of an embedded model ends, before its number, wherever the package is installed.
_EMBEDDED_FOLDER = ("junkdna_harness", "embedded", "models")
# Of an evaluation by others than our wrappers, which say themselves what they evaluated.
_WEIGHTS_ALONE = f"{{!r}} has {{}}, by its {MANIFEST}; only junkdna's wrappers round that while the model runs, so this evaluation is of its weights alone"
_MODEL_FILES = (MANIFEST, "config.json", ADAPTER_CONFIG, "*.gguf", "*.safetensors")


@dataclass(frozen=True)
class Known:
    """What a folder says: method, level (None: not pruned), bits (None: not quantized), the model it was made from.

    `manifest` is our own where there is one; `notes` are warnings.
    """

    method: Method
    level: float | None
    bits: float | None
    model: str | None
    manifest: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def read_object(path: Path, once: bool = True) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        UsageError: it is none.
    """
    found = read_json(path, "the file", "Restore it or remove it.", once)
    if not isinstance(found, dict):
        raise UsageError(f"{str(path)!r} holds no JSON object. Restore it or remove it.")
    return found


def read_manifest(source: str | Path) -> dict[str, Any]:
    """The `junkdna.json` of a folder; empty where there is none.

    Raises:
        UsageError: it is no JSON object.
    """
    path = Path(source) / MANIFEST
    return read_object(path) if _is_file(path) else {}


def source_of(manifest: Mapping[str, Any]) -> str | None:
    """The name of what a checkpoint was made from, as the user wrote it."""
    source = manifest.get("source")
    found = (source.get("pretrained") or source.get("model")) if isinstance(source, Mapping) else None
    return None if found is None else str(found)


def base_model(name: str | Path, beside: Path | None = None) -> str:
    """The model at the root of the chain of checkpoints that begins at `name`, as far as its folders can be read.

    A folder named in the manifest of another is looked for beside that one first: they may have been moved together.

    >>> base_model("org/model")
    'org/model'

    Raises:
        UsageError: a manifest in the chain is damaged.
    """
    name, seen = str(name), set[Path]()
    folder = folder_of(name, beside)
    while folder is not None and folder.resolve() not in seen:  # one written over its own source names itself
        seen.add(folder.resolve())
        manifest = read_manifest(folder)
        if manifest.get("base_model"):
            return plain_name(str(manifest["base_model"]))
        before = source_of(manifest)
        if before is None and not _is_file(folder / "config.json") and _is_file(folder / ADAPTER_CONFIG):
            before = read_object(folder / ADAPTER_CONFIG, once=False).get("base_model_name_or_path")
        if before is None:
            break
        name = str(before)
        folder = folder_of(name, folder)
    return plain_name(name)


def folder_of(name: str, beside: Path | None = None) -> Path | None:
    """The folder that `name` is: beside the folder in which it is written, or here; the cached snapshot of a hub model; None
    for models that come in a package, and for what is not on this machine."""
    if name in PACKAGED:
        return None
    path = as_path(name)
    places = [path] if beside is None or path.is_absolute() else [beside.parent / path, path]
    return next((place for place in places if _is_dir(place)), None) or snapshot(name)


def snapshot(name: str, revision: str | None = None) -> Path | None:
    """The folder of a hub model in the local cache, where it lies there."""
    if len(name) > 200 or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        return None
    home = os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME") or "~/.cache/huggingface") / "hub"
    model, asked = as_path(str(home)) / f"models--{name.replace('/', '--')}", str(revision or "main")
    written = model / "refs" / asked
    try:
        found = model / "snapshots" / (written.read_text().strip() if _is_file(written) else asked)
    except (OSError, ValueError):
        return None
    return found if _is_dir(found) else None


def method_of(block: Mapping[str, Any], where: str = MANIFEST) -> Method:
    """The method of a manifest or a `junkdna` block. An N:M pattern may stand apart in it, and so does what had been done to
    the weights before they were pruned further (`on_top_of`).

    Raises:
        UsageError: the method is no name.
    """
    given = block.get("method")
    if given is not None and (not isinstance(given, str) or not given.strip()):
        raise UsageError(f"{where} says method={given!r}, which is no name. Restore it or remove it.")
    method, pattern = Method.parse(given or NONE), str(block.get("pattern") or "")
    if ":" in pattern and method.pattern is None:
        method = replace(method, pattern=pattern)
    return then(str(block["on_top_of"]), method) if block.get("on_top_of") else method


def then(before: Method | str, method: Method) -> Method:
    """`method` applied to what `before` had made: both are named, in order, as one method without blanks. No level of the
    later method alone is ever compared with it.

    >>> str(then(Method("magnitude", "2:4"), Method("wanda")))
    'magnitude_2:4+wanda'
    """
    return replace(method, base=f"{str(before).replace(' ', '_')}+{method.base}")


def of_block(
    block: Mapping[str, Any], where: str = MANIFEST
) -> tuple[Method, float | None, float | None, tuple[str, ...]]:
    """Method, level, bits and warnings of a `junkdna` block: what was measured counts, not what was asked for.

    The level of a recovered model is that at which it was pruned, whatever grew back.

    Raises:
        UsageError: one of them is not what it can be; `where` is the file.
    """
    method = method_of(block, where)
    level, bits = share(block, "level", where), number(block, "bits", where)
    asked, measured = share(block, "requested_sparsity", where), share(block, "sparsity_targeted", where)
    pruned = block.get("kind") == "pruned"
    whole = bits is None and not Running.of(block, where)
    if level is None and pruned:
        level = measured if asked is None else asked
    if level is not None and asked is not None and bears_out(asked, level):
        level = asked
    notes: tuple[str, ...] = ()
    # Training fills zeros, and rounding makes some of its own.
    says = measured is not None and (bits is None or (level is not None and measured < level))
    if level is not None and pruned and says and not method.recovered:
        level, warning = level_of(level, measured)
        notes = () if warning is None else (f"{method}: {warning}",)
        assert level is not None  # both were known
        if level < CLEARLY_SPARSE and not asked and whole:
            method, level = Method(DENSE), 0.0
    elif pruned and level == 0 and whole and not method.recovered:
        method = Method(DENSE)
    return method, level, bits, notes


def number(block: Mapping[str, Any], key: str, where: str = MANIFEST) -> float | None:
    """A number of a manifest; None where it has none, or NaN.

    Raises:
        UsageError: what stands there is no number.
    """
    value = block.get(key)
    if value is None:
        return None
    found = None if isinstance(value, (bool, str)) else as_number(value)
    if found is None or math.isinf(found):
        raise UsageError(f"{where} says {key}={value!r:.60}, which is no number. Restore it or remove it.")
    return None if math.isnan(found) else value


def share(block: Mapping[str, Any], key: str, where: str = MANIFEST) -> float | None:
    """A share of the weights; None where there is none.

    Raises:
        UsageError: what stands there is no number in [0, 1].
    """
    value = number(block, key, where)
    if value is not None and not 0 <= value <= 1:
        raise UsageError(
            f"{where} says {key}={value!r}, which is no share of the weights: they lie in [0, 1]. Restore it or remove it."
        )
    return value


def know(folder: Path) -> Known | None:
    """What is written in a model or adapter folder of its weights; None where it holds no model.

    Raises:
        UsageError: its manifest or configuration is damaged.
    """
    from difficulty.runs.weights import share_of_zeros, unlike

    doubt: tuple[str, ...] = ()
    if written := read_manifest(folder):
        running, manifest = Running.of(written, str(folder / MANIFEST)), weights_alone(written)
        method, level, bits, notes = of_block(manifest, str(folder / MANIFEST))
        listed = manifest.get("tensors")
        fault = unlike(folder, listed) if isinstance(listed, Mapping) else ""
        if not fault:
            notes = (*notes, *([_WEIGHTS_ALONE.format(folder.name, running.describe())] if running else []))
            return Known(method, level, bits, _root(manifest, folder), manifest, notes)
        if not _is_file(folder / "config.json"):
            return None  # an adapter that nothing else tells of
        doubt = (f"{str(folder / MANIFEST)!r} is not believed: {fault}",)
    if not _is_file(folder / "config.json"):
        return None
    packed = read_object(folder / "config.json", once=False).get("quantization_config")
    if isinstance(packed, Mapping):
        name, width = packed_format(packed)
        return Known(Method(name), None, width, None, {}, doubt)
    sparse = share_of_zeros(folder)
    if sparse is None:
        return None
    if sparse >= CLEARLY_SPARSE:
        note = f"{sparse:.1%} of the weights looked at in {folder.name!r} are zero; by what method is written nowhere"
        return Known(Method(NONE), sparse, None, None, {}, (*doubt, note))
    return Known(Method(DENSE), 0.0, None, None, {}, doubt)


def _root(manifest: Mapping[str, Any], folder: Path) -> str | None:
    """The model at the root, None where nothing of it is written."""
    return base_model(folder) if manifest.get("base_model") or source_of(manifest) else None


def find_folders(name: str, log: Path) -> list[Path]:
    """The model folders that `pretrained=NAME` may have meant, each once: those nearest to the log first, then from here."""
    path, home = as_path(name), log.absolute()
    above = {
        parent.resolve() for parent in home.parents
    }  # lm-eval names the folder of its results after the model
    places = [path] if path.is_absolute() else [*(parent / path for parent in home.parents), path]
    found: dict[Path, Path] = {}
    for place in places:
        if _is_model(place) and place.resolve() not in above:
            found.setdefault(place.resolve(), place)
    return list(found.values())


def as_path(name: str) -> Path:
    """A name as a path of this system: `~` is the home folder, and a path that was written on Windows has slashes here."""
    path = Path(name)
    if "\\" in name and not _is_dir(path):
        path = Path(name.replace("\\", "/"))
    try:
        return path.expanduser()
    except RuntimeError:  # no such user
        return path


def plain_name(name: str) -> str:
    """A model's name without what does not tell models apart: `./` before it, slashes after it. An embedded model has its
    name by its folder too, and the first of them is called by it alone.

    >>> plain_name("./models/llama/")
    'models/llama'
    """
    short = name.rstrip("/\\") if len(name) > 1 else name
    while short.startswith(("./", ".\\")):
        short = short[2:]
    *before, last = re.split(r"[/\\]", short)
    if tuple(before[-3:]) == _EMBEDDED_FOLDER and f"{EMBEDDED}:{last}" in EMBEDDED_NAMES:
        short = f"{EMBEDDED}:{last}"
    return EMBEDDED if short == f"{EMBEDDED}:0" else short or name


def _is_model(place: Path) -> bool:
    return _is_dir(place) and any(next(place.glob(files), None) is not None for files in _MODEL_FILES)


def _is_dir(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name too long for a path is no folder, nor is what may not be looked at
        return False


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def packed_format(config: Mapping[str, Any]) -> tuple[str, float | None]:
    """Name and nominal bits of a `quantization_config`; bits None where the format does not say."""
    name = str(config.get("quant_method") or "quantized")
    if name == "bitsandbytes":
        return ("bnb-int8", 8.0) if config.get("load_in_8bit") else ("bnb-nf4", 4.0)
    for key in ("bits", "w_bit", "weight_bits"):
        if (found := _plain_number(config.get(key))) is not None:
            return name, found
    if "fp8" in name:
        return name, 8.0
    if "fp4" in name:
        return name, 4.0
    if match := re.search(
        r"(?:int|fp|w)(\d+)", str(config.get("quant_type") or config.get("format") or "").lower()
    ):
        return name, float(match[1])
    groups = config.get("config_groups")
    for group in groups.values() if isinstance(groups, Mapping) else []:
        weights = group.get("weights") if isinstance(group, Mapping) else None
        if isinstance(weights, Mapping) and (found := _plain_number(weights.get("num_bits"))) is not None:
            return name, found
    return name, None


def _plain_number(value: object) -> float | None:
    number = as_number(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
    return number if number is not None and math.isfinite(number) else None


def run_of(known: Known, model: str) -> Run:
    """The run of a folder evaluated under the name `model`, if it does not say what it was made from."""
    return Run(known.model or model, known.method, known.level, known.bits, known_by="checkpoint")
