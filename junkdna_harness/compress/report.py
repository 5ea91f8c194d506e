"""What was done to a model, measured on it afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor, nn

from junkdna_harness.compress.bits import DENSE_BITS
from junkdna_harness.compress.targets import Target

SCHEMA = 1


@dataclass(frozen=True)
class Zeros:
    """Zeros counted: in the targeted weights, in all parameters, and by module."""

    targeted: int
    n_targeted: int
    all: int
    n_all: int
    by_module: Mapping[str, float]

    @property
    def sparsity_targeted(self) -> float:
        """Fraction of targeted weights that are zero."""
        return self.targeted / self.n_targeted

    @property
    def sparsity_all(self) -> float:
        """Fraction of all of the model's weights that are zero."""
        return self.all / self.n_all


@dataclass(frozen=True)
class CompressionReport:
    """The `junkdna` block of a results file. `level` is None for quantization alone, `bits` for pruning alone.

    `method` names what was done last; `on_top_of` what had been done to the weights before they were pruned further, None
    where the dense model was. `allocation` has the name of one that is not uniform, and the sparsity that it gave each block. `structure` tells
    which whole blocks or experts are gone: sparsities and numbers of weights are then those of the model with them. `running` holds what is
    rounded while the model runs, as a manifest has it (`difficulty.runs.running`). The sparsities are None where weights are packed codes, in
    which zeros cannot be counted.
    """

    kind: str
    method: str
    pattern: str | None
    level: float | None
    bits: float | None
    scope: str | None
    seed: int
    requested_sparsity: float | None
    sparsity_targeted: float | None
    sparsity_all: float | None
    sparsity_by_module: Mapping[str, float]
    weights_targeted: int
    weights_all: int
    effective_bits: float
    effective_bits_all: float
    weights_sha256: str
    group_size: int | None = None
    symmetric: bool | None = None
    act_order: bool | None = None
    shared_bits: float | None = None
    quantizer: str | None = None
    targets: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    calibration: Mapping[str, Any] | None = None
    damping: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    replicate: int = 0
    on_top_of: str | None = None
    allocation: Mapping[str, Any] | None = None
    structure: Mapping[str, Any] | None = None
    running: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with the schema's number and the versions used."""
        values = asdict(self)
        return {
            "schema": SCHEMA,
            **values,
            **values.pop("running"),
            "warnings": list(self.warnings),
            "versions": versions(),
        }

    def __repr__(self) -> str:
        return self.summary()

    def summary(self) -> str:
        """One line for the eye."""
        zero = "zero" if self.structure is None else "gone or zero"
        parts = [self.method]
        if self.kind == "pruned" and self.pattern is not None:
            kept = " (kept of M)" if ":" in self.pattern else ""
            parts.append(f"{'pattern' if kept else 'sparsity'} {self.pattern}{kept}")
        if self.bits is not None:
            parts.append(f"{self.bits:g} bits" + (f" by {self.quantizer}" if self.kind == "pruned" else ""))
        if self.sparsity_targeted is not None and self.kind == "pruned":
            parts[-1] += (
                f": {self.sparsity_targeted:.4f} of the targeted weights ({self.sparsity_all:.4f} of all) are {zero}"
            )
        return f"{' '.join(parts)}; {self.effective_bits:.2f} effective bits per targeted weight"


PruneReport = CompressionReport
QuantReport = CompressionReport


_SIGNED = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}


def zeros_in(tensor: Tensor) -> int:
    """Number of zeros, counted without a copy of the tensor: `(tensor == 0).sum()` makes one of eight bytes per weight.

    Floats of eight bits and unsigned integers of more cannot be counted as they are.
    """
    if tensor.dtype in _SIGNED:
        tensor = tensor.view(_SIGNED[tensor.dtype])
    elif tensor.dtype.is_floating_point and tensor.itemsize == 1:
        tensor = tensor.to(torch.bfloat16)
    return tensor.numel() - int(torch.count_nonzero(tensor))


def zeros_by_module(targets: Iterable[Target]) -> dict[str, int]:
    """Number of zeros in the targeted weights, by module."""
    found: dict[str, int] = {}
    for target in targets:
        found[target.module_name] = found.get(target.module_name, 0) + zeros_in(target.weight)
    return found


def count_zeros(
    model: nn.Module, targets: Sequence[Target], by_module: Mapping[str, int] | None = None
) -> Zeros:
    """Zeros in the model as it is; `by_module` are those of the targets where they are counted already.

    Examples:
        >>> from transformers import AutoModelForCausalLM
        >>> from junkdna_harness.compress import find_targets
        >>> from junkdna_harness.embedded import model_path
        >>> model = AutoModelForCausalLM.from_pretrained(model_path())
        >>> count_zeros(model, find_targets(model)).sparsity_targeted
        0.0
    """
    zero = zeros_by_module(targets) if by_module is None else by_module
    size: dict[str, int] = {}
    for target in targets:
        size[target.module_name] = size.get(target.module_name, 0) + target.numel
    parameters = list(model.parameters())
    counted = {
        id(target.parameter): zero[target.module_name]
        for target in targets
        if target.numel == target.parameter.numel() == size[target.module_name]
    }
    return Zeros(
        sum(zero.values()),
        sum(size.values()),
        sum(counted[id(p)] if id(p) in counted else zeros_in(p.data) for p in parameters),
        sum(p.numel() for p in parameters),
        {name: zero[name] / size[name] for name in zero},
    )


def with_gone(zeros: Zeros, share: float, n_all: int) -> Zeros:
    """Zeros, with the weights that went with whole parts counted among them: `share` of the targeted ones, and all that `n_all` are more."""
    if not share:
        return zeros
    targeted = round(zeros.n_targeted / (1 - share))
    return Zeros(
        zeros.targeted + targeted - zeros.n_targeted,
        targeted,
        zeros.all + n_all - zeros.n_all,
        n_all,
        zeros.by_module,
    )


def bits_of_model(effective: float, zeros: Zeros, gone: int = 0) -> float:
    """Bits per weight over the whole model, what is not targeted counted dense; `gone`: how many of those are there no more."""
    rest = zeros.n_all - zeros.n_targeted - gone
    return (effective * zeros.n_targeted + DENSE_BITS * rest) / zeros.n_all


def versions() -> dict[str, str]:
    """Of the packages that decide the numbers."""
    found = {}
    for package in ("junkdna-harness", "torch", "transformers", "lm-eval"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
