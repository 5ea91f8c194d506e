"""Simulated quantization: weights are rounded to what b bits can hold and stored as ordinary floats."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from difficulty.errors import UsageError, did_you_mean
from junkdna_harness.compress.apply import Outcome, Progress
from junkdna_harness.compress.bits import effective_bits
from junkdna_harness.compress.calibration import load_calibration
from junkdna_harness.compress.checks import (
    merge_adapters,
    refuse_offloaded,
    refuse_quantized,
    refuse_unfinite,
    unreached,
)
from junkdna_harness.compress.gptq import gptq
from junkdna_harness.compress.grid import mean_group, resolve_group
from junkdna_harness.compress.hashing import weights_sha256
from junkdna_harness.compress.report import QuantReport, bits_of_model, count_zeros
from junkdna_harness.compress.rtn import rtn
from junkdna_harness.compress.spec import DEFAULT_NSAMPLES, PruneSpec, check_bits, read_arguments
from junkdna_harness.compress.statistics import Hessian, Statistic
from junkdna_harness.compress.targets import Target, find_targets

QUANT_ARGUMENTS = (
    "method",
    "bits",
    "group_size",
    "symmetric",
    "targets",
    "exclude",
    "mask_seed",
    "seed",
    "calibration",
    "nsamples",
    "seqlen",
)
SIMULATED = ("rtn", "gptq")
LOADED = {
    "bnb-int8": 8,
    "bnb-nf4": 4,
    "torchao-int8": 8,
}  # done by transformers while it loads, and their bits
METHODS = (*SIMULATED, *LOADED, "none")
DEFAULT_BITS = 4


@dataclass(frozen=True)
class QuantSpec:
    """How to quantize: round to nearest with 4 bits where nothing is said.

    `group_size` None is the largest of 128, 64, 32, 16 that divides every input width; -1 is one scale a row.

    Raises:
        UsageError: a value that cannot be used.
    """

    method: str = "rtn"
    bits: int | None = None
    group_size: int | None = None
    symmetric: bool = False
    targets: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    seed: int = 0
    calibration: str | None = None
    nsamples: int = DEFAULT_NSAMPLES
    seqlen: int | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UsageError(
                f"method={self.method!r} is unknown. Choose one of {', '.join(METHODS)}."
                f"{did_you_mean(self.method, METHODS)}"
            )
        if self.method in SIMULATED:
            if self.bits is None:
                object.__setattr__(self, "bits", DEFAULT_BITS)
            check_bits(self.bits or DEFAULT_BITS)
            return
        if self.method in LOADED and self.bits == LOADED[self.method]:
            object.__setattr__(self, "bits", None)
        for name in ("bits", "group_size", "targets", "exclude", "calibration"):
            if getattr(self, name):
                what = "takes the checkpoint as it is" if self.method == "none" else "has its own format"
                raise UsageError(f"method={self.method} {what}, so {name}= has no meaning. Leave it out.")

    @classmethod
    def from_strings(cls, given: Mapping[str, Any]) -> QuantSpec:
        """The spec from values as `--model_args` brings them.

        Raises:
            UsageError: an unknown name or a value that cannot be used.
        """
        return cls(**read_arguments(given, QUANT_ARGUMENTS, "rtn"))


def quantize(
    model: nn.Module, spec: QuantSpec | None = None, tokenizer: Any = None, progress: Progress | None = None
) -> QuantReport:
    """What was rounded, after rounding the weights of `model` in place (methods rtn and gptq).

    `tokenizer` is needed by gptq, which reads calibration text.

    Raises:
        UsageError: the model or the spec cannot be used; nothing has been changed then.
    """
    spec = spec or QuantSpec()
    check_simulated(spec.method)
    started = time.perf_counter()
    with torch.no_grad():
        merge_adapters(model)
        refuse_quantized(model)
        targets = find_targets(model, spec.targets, spec.exclude)
        refuse_offloaded(targets)
        refuse_unfinite(targets)
        outcome = Outcome(spec.method, None, None, spec.seed)
        outcome.warnings += unreached(model, targets) if not spec.targets else []
        group = quantize_targets(model, targets, spec, outcome, tokenizer, progress)
    zeros = count_zeros(model, targets)
    bits = effective_bits(bits=spec.bits, group=mean_group(targets, group), symmetric=spec.symmetric)
    return QuantReport(
        kind="quantized",
        method=spec.method,
        pattern=None,
        level=None,
        bits=spec.bits,
        scope=None,
        seed=spec.seed,
        requested_sparsity=None,
        sparsity_targeted=zeros.sparsity_targeted,
        sparsity_all=zeros.sparsity_all,
        sparsity_by_module=zeros.by_module,
        weights_targeted=zeros.n_targeted,
        weights_all=zeros.n_all,
        effective_bits=bits,
        effective_bits_all=bits_of_model(bits, zeros),
        weights_sha256=weights_sha256(model),
        group_size=group,
        symmetric=spec.symmetric,
        targets=spec.targets,
        exclude=spec.exclude,
        calibration=outcome.calibration,
        damping=outcome.damping,
        warnings=tuple(outcome.warnings),
        seconds=time.perf_counter() - started,
    )


def check_simulated(method: str) -> None:
    """Refuse a method that is not done on a loaded model's weights.

    Raises:
        UsageError: says where that method works.
    """
    if method in METHODS and method not in SIMULATED:
        raise UsageError(
            f"method={method} works while a model is loaded, and is not written as a checkpoint here. Evaluate it with "
            f"lm_eval --model junkdna-quantized --model_args method={method}, or choose rtn or gptq."
        )


def quantize_targets(
    model: nn.Module,
    targets: Sequence[Target],
    spec: QuantSpec | PruneSpec,
    outcome: Outcome,
    tokenizer: Any,
    progress: Progress | None,
) -> int:
    """The group size used, after rounding the targets in place.

    For a `PruneSpec` the method is its quantizer, and what is zero stays zero.
    """
    bits = spec.bits
    if bits is None:
        raise TypeError("no bits")
    keep = isinstance(spec, PruneSpec)
    method = spec.quantizer if isinstance(spec, PruneSpec) else spec.method
    group = resolve_group(targets, spec.group_size)

    def change(target: Target, statistic: Statistic | None) -> None:
        weight = target.weight.float()
        if not isinstance(statistic, Hessian):
            new = rtn(weight, bits, group, spec.symmetric)
        else:
            new = gptq(weight, statistic, bits, group, spec.symmetric, weight == 0 if keep else None)
        target.weight.copy_(new)

    if method == "rtn":
        for done, target in enumerate(targets):
            if progress:
                progress(done, len(targets), target.name)
            change(target, None)
        return group
    from junkdna_harness.compress.calibrated import walk_and_change

    calibration = load_calibration(
        spec.calibration, tokenizer, model, nsamples=spec.nsamples, seqlen=spec.seqlen, seed=spec.seed
    )
    fallback = "rounded to nearest"
    walk_and_change(model, targets, Hessian, change, calibration, outcome, progress, fallback=fallback)
    return group
