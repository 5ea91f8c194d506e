"""What a model folder says of itself: our manifest, a quantization that transformers knows, or zeros among its weights.

Read without torch, so that the logs of any evaluator (`hf`, `vllm`, `sglang`, a server on this machine) can be told apart.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from difficulty.errors import UsageError
from difficulty.runs.identity import DENSE, Method, Run
from difficulty.runs.level import level_of
from difficulty.runs.samples import read_json
from difficulty.runs.values import as_number

MANIFEST = "junkdna.json"
CLEARLY_SPARSE = 0.01  # trained weights hold a few exact zeros; a hundredth of them has been pruned
_SKIPPED = re.compile(r"embed|lm_head|norm|wte|wpe|bias", re.IGNORECASE)
_MOST_TENSORS, _MOST_VALUES = 64, 1 << 20
_CODES: Mapping[str, tuple[str, int]] = {
    "F32": ("<u4", 0x7FFFFFFF),
    "F16": ("<u2", 0x7FFF),
    "BF16": ("<u2", 0x7FFF),
}


@dataclass(frozen=True)
class Known:
    """What a folder says: method, level (None: not pruned), bits (None: not quantized), the model it was made from.

    `manifest` is our own where there is one; `how` is a phrase for the reader; `notes` are warnings.
    """

    method: Method
    level: float | None
    bits: float | None
    model: str | None
    manifest: Mapping[str, Any]
    how: str
    notes: tuple[str, ...] = ()


def know(folder: Path) -> Known | None:
    """What is written in a model or adapter folder; None where it holds no model.

    Raises:
        UsageError: its manifest or configuration is damaged.
    """
    if (folder / MANIFEST).is_file():
        block = read_object(folder / MANIFEST)
        method, level, bits, notes = of_block(block)
        return Known(method, level, bits, base_model(block, folder), block, f"its {MANIFEST}", notes)
    if (folder / "config.json").is_file():
        config = read_object(folder / "config.json")
        packed = config.get("quantization_config")
        if isinstance(packed, Mapping):
            name, width = packed_format(packed)
            return Known(Method(name), None, width, None, {}, "quantization_config in its config.json")
        sparse = share_of_zeros(folder)
        if sparse is not None and sparse >= CLEARLY_SPARSE:
            note = f"{sparse:.1%} of the weights looked at in {folder.name!r} are zero; by what method is written nowhere"
            return Known(Method("none"), sparse, None, None, {}, "zeros in its weights", (note,))
        if sparse is not None:
            return Known(Method(DENSE), 0.0, None, None, {}, "its weights, which hold no zeros")
    return None


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        UsageError: it is none.
    """
    found = read_json(path)
    if not isinstance(found, dict):
        raise UsageError(f"{str(path)!r} holds no JSON object. Restore it or remove it.")
    return found


def of_block(block: Mapping[str, Any]) -> tuple[Method, float | None, float | None, tuple[str, ...]]:
    """Method, level, bits and warnings of a `junkdna` block: what was measured counts, not what was asked for.

    The level of a recovered model is that at which it was pruned, whatever grew back.
    """
    method = Method.parse(str(block.get("method") or "none"))
    pattern = str(block.get("pattern") or "")
    if ":" in pattern and method.pattern is None:
        method = Method(method.base, pattern, method.recoveries)
    level, bits = _number(block.get("level")), _number(block.get("bits"))
    asked, measured = _number(block.get("requested_sparsity")), _number(block.get("sparsity_targeted"))
    pruned = block.get("kind") == "pruned"
    if level is None and pruned:
        level = measured if asked is None else asked
    notes: tuple[str, ...] = ()
    if level is not None and measured is not None and pruned and not method.recovered:
        level, warning = level_of(level, measured)
        notes = () if warning is None else (f"{method}: {warning}",)
        assert level is not None  # both were known
        if level < CLEARLY_SPARSE and not asked and bits is None:
            method, level = Method(DENSE), 0.0
    elif pruned and level == 0 and bits is None and not method.recovered:
        method = Method(DENSE)
    return method, level, bits, notes


def base_model(block: Mapping[str, Any], folder: Path | None = None, depth: int = 8) -> str | None:
    """The model at the root of a chain of checkpoints; None where nothing is written."""
    if block.get("base_model"):
        return str(block["base_model"])
    given = block.get("source")
    source: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    name = source.get("pretrained") or source.get("model")
    if not name:
        return None
    for place in _places(str(name), folder) if depth else ():
        if (place / MANIFEST).is_file():
            return base_model(read_object(place / MANIFEST), place, depth - 1) or str(name)
    return str(name)


def _places(name: str, folder: Path | None) -> Iterator[Path]:
    yield Path(name)
    if folder is not None:
        yield folder.parent / name


def find_folder(name: str, log: Path) -> Path | None:
    """The folder that `pretrained=NAME` meant: from here, or relative to a folder above the log; a cached hub model too."""
    path = Path(name).expanduser()
    for place in (path, *(parent / path for parent in log.absolute().parents)):
        try:
            if place.is_dir() and place.resolve() not in log.absolute().parents:
                return place
        except OSError:  # a name too long for a path is no folder
            return None
    return None


def packed_format(config: Mapping[str, Any]) -> tuple[str, float | None]:
    """Name and nominal bits of a `quantization_config`; bits None where the format does not say."""
    name = str(config.get("quant_method") or "quantized")
    if name == "bitsandbytes":
        return ("bnb-int8", 8.0) if config.get("load_in_8bit") else ("bnb-nf4", 4.0)
    for key in ("bits", "w_bit", "weight_bits"):
        if (found := _number(config.get(key))) is not None:
            return name, found
    if "fp8" in name:
        return name, 8.0
    if match := re.search(
        r"(?:int|fp|w)(\d+)", str(config.get("quant_type") or config.get("format") or "").lower()
    ):
        return name, float(match[1])
    groups = config.get("config_groups")
    for group in groups.values() if isinstance(groups, Mapping) else []:
        weights = group.get("weights") if isinstance(group, Mapping) else None
        if isinstance(weights, Mapping) and (found := _number(weights.get("num_bits"))) is not None:
            return name, found
    return name, None


def share_of_zeros(folder: Path) -> float | None:
    """The share of exact zeros in a sample of the matrices of a folder's safetensors files; None where none can be read."""
    zeros = total = 0
    for path, begin, numel, dtype in _matrices(folder):
        kind, mask = _CODES[dtype]
        with path.open("rb") as handle:
            handle.seek(begin)
            values = np.frombuffer(handle.read(numel * int(kind[-1])), dtype=kind)
        zeros += int(((values & mask) == 0).sum())
        total += len(values)
    return zeros / total if total else None


def _matrices(folder: Path) -> Iterator[tuple[Path, int, int, str]]:
    """(file, first byte, values to read, dtype) of matrices spread evenly over the model."""
    found = []
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with path.open("rb") as handle:
                (length,) = struct.unpack("<Q", handle.read(8))
                header = json.loads(handle.read(length))
            entries = [(n, e) for n, e in header.items() if n != "__metadata__" and len(e["shape"]) == 2]
        except (OSError, ValueError, KeyError, TypeError, struct.error, MemoryError):
            continue  # what loads models says what is wrong with it
        for name, entry in entries:
            if entry["dtype"] in _CODES and min(entry["shape"]) > 1 and not _SKIPPED.search(name):
                numel = min(math.prod(entry["shape"]), _MOST_VALUES)
                found.append((path, 8 + length + entry["data_offsets"][0], numel, entry["dtype"]))
    yield from found[:: max(1, len(found) // _MOST_TENSORS)]


def _number(value: object) -> float | None:
    number = as_number(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
    return number if number is not None and math.isfinite(number) else None


def run_of(known: Known, model: str) -> Run:
    """The run of a folder evaluated under the name `model`, if it does not say what it was made from."""
    return Run(known.model or model, known.method, known.level, known.bits, known_by="checkpoint")
