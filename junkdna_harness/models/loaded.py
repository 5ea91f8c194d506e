"""What a model is before anything is done to it here: dense, or what its checkpoint's manifest says, or what is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from difficulty.errors import UsageError
from difficulty.runs.checkpoint import CLEARLY_SPARSE, MANIFEST, NONE
from difficulty.runs.identity import SPARSE_TRANSFER, Method
from difficulty.runs.level import bears_out
from difficulty.runs.running import KEYS
from junkdna_harness.compress.checks import merge_adapters
from junkdna_harness.compress.gguf_file import gguf_manifest
from junkdna_harness.compress.hashing import combine, hash_named, is_plain, weights_sha256
from junkdna_harness.compress.manifest import manifest_folder
from junkdna_harness.compress.origin import Origin
from junkdna_harness.compress.report import count_zeros
from junkdna_harness.compress.structure import gone, together
from junkdna_harness.compress.targets import find_targets

# What describes the compression in a manifest, and holds as long as nothing more is done.
CARRIED = (
    "kind", "pattern", "scope", "seed", "replicate", "requested_sparsity", "group_size", "symmetric", "act_order", "shared_bits", "quantizer",
    "calibration", "allocation", "structure", "damping", "recovery", "effective_bits", "effective_bits_all", *KEYS,
)  # fmt: skip


@dataclass(frozen=True)
class Loaded:
    """A model as it was loaded: the `model` at its root, and the `method` that made it ("none" where that is unknown).

    `level` is its sparsity and `bits` its width where something was done to it. `sparsity` is the measured share of zeros
    in the weights that `targets` and `exclude` say, None where they are codes. `block` holds what a believed manifest says of
    the compression, `manifest` is the whole of it.
    """

    model: str
    method: Method
    level: float | None
    bits: float | None
    sparsity: float | None
    changed: bool
    block: Mapping[str, Any]
    sha256: str
    targets: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    manifest: Mapping[str, Any] = field(default_factory=dict)

    @property
    def description(self) -> str:
        """In words, e.g. `embedded, magnitude at sparsity 0.7`."""
        parts = [] if self.level is None else [f"sparsity {self.level:.4g}"]
        parts += [] if self.bits is None else [f"{self.bits:g} bits"]
        name = "an unknown method" if self.method == Method(NONE) else str(self.method)
        return f"{self.model}, {name}" + (f" at {' and '.join(parts)}" if parts else "")


@dataclass(frozen=True)
class Names:
    """By what the user named the model: `model` (an object's own name where it was given as one), and an adapter.

    `plain` is False where the weights do not come from the folder's own files (an object in memory, GGUF, a delta).
    """

    model: str
    peft: str | None = None
    delta: str | None = None
    plain: bool = True
    revision: str | None = None
    gguf_file: str | None = None


@torch.no_grad()
def look(
    model: Any, names: Names, targets: Sequence[str] = (), exclude: Sequence[str] = ()
) -> tuple[Any, Loaded]:
    """`model` with its adapters folded in where its weights are plain, and what it is."""
    warnings: list[str] = []
    origin = _believed_adapter(model, names, warnings) if names.peft else _believed(model, names, warnings)
    model = _merged(model, origin)
    if origin is not None and not targets and not exclude:
        targets, exclude = (tuple(origin.manifest.get(name) or ()) for name in ("targets", "exclude"))
    sparsity = _sparsity(model, targets, exclude)
    if (
        origin is not None and sparsity is not None
    ):  # what went with whole blocks or experts counts as what is zero
        sparsity = together(gone(origin.manifest.get("structure")), sparsity)
    root = origin.model if origin is not None else names.model
    for extra in () if origin is not None and names.peft else (names.peft, names.delta):
        root += f"+{extra}" if extra else ""  # another model than the one below it
    if origin is not None and origin.changed and not names.delta:
        block = {name: origin.manifest[name] for name in CARRIED if name in origin.manifest}
        level = _level(origin, sparsity, warnings)
        return model, Loaded(
            root, origin.method, level, origin.bits, sparsity, True, block, weights_sha256(model), tuple(targets),
            tuple(exclude), tuple(warnings), origin.manifest,
        )  # fmt: skip
    sparse = sparsity is not None and sparsity >= CLEARLY_SPARSE
    return model, Loaded(
        root, Method(NONE), sparsity if sparse else None, None, sparsity, sparse, {},
        weights_sha256(model) if sparse else "", tuple(targets), tuple(exclude), tuple(warnings),
    )  # fmt: skip


def _believed(model: Any, names: Names, warnings: list[str]) -> Origin | None:
    if names.gguf_file is not None:
        told = gguf_manifest(names.model, names.gguf_file, names.revision)
        return (
            Origin(Path(names.model), told, names.model, Method(told["method"]), None, told["bits"])
            if told
            else None
        )
    folder = manifest_folder(names.model, names.revision)
    origin = None if folder is None else Origin.read(folder)
    if origin is None:
        return None
    fault = origin.fault(_base_sha256(model), files=names.plain)
    return _unless(fault, origin, warnings)


def _believed_adapter(model: Any, names: Names, warnings: list[str]) -> Origin | None:
    """The manifest of an adapter, if neither the adapter nor the model below it is another than it says."""
    folder = manifest_folder(str(names.peft))
    origin = None if folder is None else Origin.read(folder)
    if origin is None:
        return None
    fault = origin.fault(weights_sha256(model))
    before = (origin.manifest.get("recovery") or {}).get("weights_sha256_before")
    if not fault and before is None:
        warnings.append(f"{origin.folder} does not say on which weights the adapter was trained; believed")
    # Training loads plain weights in fp32, so a checkpoint in fewer bits is known again by its fp32 copy.
    elif not fault and before not in (_base_sha256(model), _base_sha256(model, torch.float32)):
        fault = "the adapter was trained on other weights than those below it now"
    return _unless(fault, origin, warnings)


def _unless(fault: str, origin: Origin, warnings: list[str]) -> Origin | None:
    if fault:
        warnings.append(f"the manifest of {origin.folder} is not believed: {fault}")
        return None
    if origin.unverifiable:
        warnings.append(
            f"{origin.folder / MANIFEST} holds no hash of the weights, so it is believed as it is"
        )
    return origin


def _base_sha256(model: Any, dtype: torch.dtype | None = None) -> str:
    """The hash of the model without its adapters, under the names that it has without them."""
    if not hasattr(model, "peft_config") and dtype is None:
        return weights_sha256(model)
    inner = model.get_base_model() if hasattr(model, "peft_config") else model
    plain = {
        name.replace(".base_layer.", "."): parameter.data
        for name, parameter in inner.named_parameters()
        if ".lora_" not in name
    }
    cast = ((n, t.to(dtype) if dtype is not None and t.is_floating_point() else t) for n, t in plain.items())
    return combine(hash_named(cast))


def _merged(model: Any, origin: Origin | None) -> Any:
    """Adapters folded in; one that was trained under the zeros below it leaves them zero, as in training."""
    foldable = callable(getattr(getattr(model, "base_model", None), "merge_adapter", None))
    if not hasattr(model, "peft_config") or not foldable or not _is_plain(model):
        return model
    recovery = (origin.manifest.get("recovery") or {}) if origin is not None else {}
    under_mask = recovery.get("arm") == SPARSE_TRANSFER and recovery.get("adapter_merged") == "no"
    zeros = [(t, t.weight == 0) for t in find_targets(model)] if under_mask else []
    merge_adapters(model)
    for target, zero in zeros:
        target.weight.masked_fill_(zero, 0)
    return model.unload()


def _is_plain(model: Any) -> bool:
    return all(is_plain(p) for p in model.parameters())


def _sparsity(model: Any, targets: Sequence[str], exclude: Sequence[str]) -> float | None:
    """The share of zeros in the targeted weights; None where they are codes, lie elsewhere, or cannot be found."""
    try:
        found = find_targets(model, targets, exclude)
    except UsageError:
        return None
    if not found or not _is_plain(model) or any(target.parameter.is_meta for target in found):
        return None
    return count_zeros(model, found).sparsity_targeted


def _level(origin: Origin, sparsity: float | None, warnings: list[str]) -> float | None:
    """The manifest's level, unless the weights say otherwise. Training may fill zeros again, and rounding makes new ones."""
    level = origin.level
    if level is None or sparsity is None or origin.method.recovered or origin.bits is not None:
        return level
    if bears_out(level, sparsity):
        return level
    warnings.append(
        f"the manifest says sparsity {level:.4g}, and {sparsity:.4g} is measured, which is reported"
    )
    return sparsity
