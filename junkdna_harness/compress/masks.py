"""Masks alone, one bit per weight, to put on another checkpoint of the same shapes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from difficulty.errors import UsageError
from difficulty.files import write_atomic
from difficulty.json_files import of_known_shape, parsed
from junkdna_harness.compress.change import Outcome, remove
from junkdna_harness.compress.checks import refuse_quantized, refuse_unfinite
from junkdna_harness.compress.hashing import tensor_sha256
from junkdna_harness.compress.notation import read_pattern
from junkdna_harness.compress.report import PruneReport
from junkdna_harness.compress.targets import Target, find_targets

_KEY = "junkdna_mask"
_VERSION = 1


def save_mask(model: nn.Module, report: PruneReport, path: str | Path) -> None:
    """Write where the pruned `model` is zero: safetensors of packed bits by module, and a manifest in the header.

    Raises:
        UsageError: the model was quantized too (rounding makes zeros of its own), or the file cannot be written.
    """
    from safetensors.torch import save

    if report.bits is not None:
        raise UsageError(
            "a mask cannot be told from the zeros of quantization. Prune without bits= to save one."
        )
    if report.structure is not None:
        raise UsageError(
            f"a mask says which single weights are zero, and method={report.method} removes whole parts. Give --output to keep what is left."
        )
    packed: dict[str, Tensor] = {}
    layers: dict[str, dict[str, Any]] = {}
    for target in find_targets(model, report.targets, report.exclude):
        removed = target.weight == 0
        bits = _pack(removed)
        packed[target.name] = bits
        layers[target.name] = {
            "shape": list(target.shape),
            "removed": int(removed.sum()),
            "sha256": tensor_sha256(bits),
        }
    manifest = {
        "version": _VERSION,
        "method": report.method,
        "pattern": report.pattern,
        "scope": report.scope,
        "seed": report.seed,
        "calibration": report.calibration,
        "source_weights_sha256": report.weights_sha256,
        "layers": layers,
    }
    write_atomic(path, save(packed, {_KEY: json.dumps(manifest)}))


def apply_mask(model: nn.Module, targets: Sequence[Target], path: str) -> Outcome:
    """What the mask file says it is, after removing its weights from the targets in place.

    Raises:
        UsageError: no mask file, a damaged one, or one that does not fit; the layer is named. Nothing is changed then.
    """
    refuse_quantized(model)
    refuse_unfinite(targets)
    manifest, packed = _read(path)
    with of_known_shape(path, "mask", "Make one with junkdna prune --save-mask FILE."):
        return _applied(manifest, packed, targets, path)


def _applied(
    manifest: dict[str, Any], packed: dict[str, Tensor], targets: Sequence[Target], path: str
) -> Outcome:
    layers = manifest["layers"]
    names = {target.name for target in targets}
    for name in [*sorted(names - layers.keys()), *sorted(layers.keys() - names)]:
        where = "the model has it" if name in names else "the mask has it"
        raise UsageError(
            f"mask={path!r} does not fit: only {where}: {name}. Use a mask of the same architecture."
        )
    masks: list[Tensor] = []
    for target in targets:
        entry = layers[target.name]
        if tuple(entry["shape"]) != target.shape:
            raise UsageError(
                f"mask={path!r} does not fit: {target.name} has shape {target.shape}, its mask {tuple(entry['shape'])}."
            )
        masks.append(_unpack(packed, target, entry, path))
    pattern = None if manifest["pattern"] is None else read_pattern(manifest["pattern"])
    removed = sum(entry["removed"] for entry in layers.values()) / sum(target.numel for target in targets)
    outcome = Outcome(
        manifest["method"], pattern, manifest["scope"], manifest["seed"],
        requested=removed if pattern is None else pattern.level, calibration=manifest["calibration"],
    )  # fmt: skip
    for target, mask in zip(targets, masks, strict=True):  # once all of it could be read
        remove(target, mask)
    return outcome


def _read(path: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise UsageError(f"mask={path!r} is no file. Make one with junkdna prune --save-mask FILE.")
    try:
        with safe_open(path, framework="pt") as handle:
            text = (handle.metadata() or {}).get(_KEY)
            packed = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118  (not a dict)
        manifest = parsed(text) if text else None
    except (SafetensorError, ValueError, OSError) as error:
        raise UsageError(f"mask={path!r} is damaged or no safetensors file: {error}.") from None
    if not isinstance(manifest, dict) or manifest.get("version") != _VERSION:
        raise UsageError(f"mask={path!r} is no mask of ours. Make one with junkdna prune --save-mask FILE.")
    return manifest, packed


def _unpack(packed: dict[str, Tensor], target: Target, entry: dict[str, Any], path: str) -> Tensor:
    bits = packed.get(target.name)
    rows, columns = target.shape
    intact = (
        bits is not None
        and bits.numel() == -(-rows * columns // 8)
        and tensor_sha256(bits) == entry["sha256"]
    )
    if bits is None or not intact:
        raise UsageError(f"mask={path!r} is damaged: the bits of {target.name} do not match its manifest.")
    flat = np.unpackbits(bits.numpy(), count=rows * columns)
    mask = torch.from_numpy(flat).view(rows, columns).bool()
    if int(mask.sum()) != entry["removed"]:
        raise UsageError(f"mask={path!r} is damaged: the count of {target.name} does not match its manifest.")
    return mask


def _pack(mask: Tensor) -> Tensor:
    return torch.from_numpy(np.packbits(mask.cpu().contiguous().numpy().reshape(-1)))
