"""Score, mask, apply: `prune` changes a model in place and reports what was measured on it afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from difficulty.errors import UsageError
from junkdna_harness.compress.bits import effective_bits
from junkdna_harness.compress.checks import (
    merge_adapters,
    refuse_offloaded,
    refuse_quantized,
    refuse_unfinite,
    unreached,
)
from junkdna_harness.compress.hashing import weights_sha256
from junkdna_harness.compress.pattern import NM, Pattern, check_width, removal_mask
from junkdna_harness.compress.rank import lowest_overall
from junkdna_harness.compress.registry import NONE, Sparsifier, get_sparsifier
from junkdna_harness.compress.report import PruneReport, bits_of_model, count_zeros
from junkdna_harness.compress.spec import PruneSpec
from junkdna_harness.compress.targets import Target, find_targets, tied_names

Progress = Callable[[int, int, str], None]  # done, total, what


@dataclass
class Outcome:
    """What happened on the way, for the report."""

    method: str
    pattern: Pattern | None
    scope: str | None
    seed: int = 0
    group: int | None = None
    calibration: dict[str, Any] | None = None
    damping: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def prune(
    model: nn.Module, spec: PruneSpec | None = None, tokenizer: Any = None, progress: Progress | None = None
) -> PruneReport:
    """What was removed, after removing it from `model` in place.

    `tokenizer` is needed where the method reads calibration text. Weights keep their dtype and device; removed ones are
    exactly zero. With `spec.bits` what is left is quantized too.

    Raises:
        UsageError: the model or the spec cannot be used; nothing has been changed then.
    """
    spec = spec or PruneSpec()
    started = time.perf_counter()
    with torch.no_grad():
        merge_adapters(model)
        if spec.method != NONE:
            refuse_quantized(model)
        targets = find_targets(model, spec.targets, spec.exclude)
        refuse_offloaded(targets)
        if spec.bits is not None:
            from junkdna_harness.compress.grid import resolve_group

            resolve_group(targets, spec.group_size)  # refuses before anything is changed
        outcome = _prune(model, targets, spec, tokenizer, progress)
        outcome.warnings += unreached(model, targets) if not spec.targets else []
        outcome.warnings += _twins(model, targets)
        if spec.bits is not None:
            from junkdna_harness.compress.quantize import quantize_targets

            outcome.group = quantize_targets(model, targets, spec, outcome, tokenizer, progress)
    return _report(model, targets, spec, outcome, time.perf_counter() - started)


prune_model = prune


def measure(model: nn.Module, targets: Sequence[str] = (), exclude: Sequence[str] = ()) -> PruneReport:
    """The sparsity of a model as it is (method none).

    Raises:
        UsageError: a pattern matches nothing.
    """
    return prune(model, PruneSpec(method=NONE, targets=tuple(targets), exclude=tuple(exclude)))


def score(method: Sparsifier, target: Target, statistic: Any = None) -> Tensor:
    """The method's scores of one target, fp32 (out, in).

    Raises:
        UsageError: the method returned another shape, or NaN.
    """
    weight = target.weight.float()
    scores = method.function(weight) if statistic is None else method.function(weight, statistic)
    if scores.shape != weight.shape:
        raise UsageError(
            f"method {method.name!r} returned scores of shape {tuple(scores.shape)} for {target.name}; its weights are "
            f"{tuple(weight.shape)}. Return one score a weight."
        )
    if bool(torch.isnan(scores).any()):
        raise UsageError(f"method {method.name!r} returned NaN scores for {target.name}.")
    checked: Tensor = scores
    return checked


def remove(target: Target, mask: Tensor) -> None:
    """Set to zero, in place, the weights where the bool `mask`, shape (out, in), is true."""
    target.weight.masked_fill_(mask.to(target.weight.device), 0)


def _prune(
    model: nn.Module, targets: list[Target], spec: PruneSpec, tokenizer: Any, progress: Progress | None
) -> Outcome:
    if spec.mask is not None:
        from junkdna_harness.compress.masks import apply_mask

        return apply_mask(model, targets, spec.mask)
    outcome = Outcome(spec.method, spec.what, spec.effective_scope, spec.seed)
    what = spec.what
    if what is None or what.level == 0:
        return outcome
    refuse_unfinite(targets)
    for target in targets:
        check_width(target.name, target.shape[1], what)
    method = get_sparsifier(spec.method)
    if method.calibrated:
        from junkdna_harness.compress.calibrated import prune_calibrated

        prune_calibrated(model, targets, method, spec, outcome, tokenizer, progress)
    elif spec.effective_scope == "global":
        _prune_globally(targets, method, spec, what)
    else:
        _prune_each(targets, method, spec, what, progress)
    return outcome


def _uncalibrated(method: Sparsifier, target: Target, seed: int) -> Any:
    if method.needs is None:
        return None
    return method.needs(target.shape[1], target.weight.device, seed, target.name)


def _prune_each(
    targets: Sequence[Target], method: Sparsifier, spec: PruneSpec, what: Pattern, progress: Progress | None
) -> None:
    scope = spec.effective_scope or "row"
    for done, target in enumerate(targets):
        if progress:
            progress(done, len(targets), target.name)
        scores = score(method, target, _uncalibrated(method, target, spec.seed))
        remove(target, removal_mask(scores, what, scope))
    if progress:
        progress(len(targets), len(targets), "")


def _prune_globally(targets: Sequence[Target], method: Sparsifier, spec: PruneSpec, what: Pattern) -> None:
    if isinstance(what, NM):
        raise TypeError("N:M has no global scope")

    def scores() -> Iterator[Tensor]:
        return (score(method, target, _uncalibrated(method, target, spec.seed)) for target in targets)

    removed = what.removed(sum(target.numel for target in targets))
    # All masks first: they are made from the scores of weights that are still whole.
    masks = list(lowest_overall(scores, removed))
    for target, mask in zip(targets, masks, strict=True):
        remove(target, mask)


def _twins(model: nn.Module, targets: Sequence[Target]) -> list[str]:
    """A warning for each target that is one tensor with another module's weight: both were changed."""
    found = []
    for target in targets:
        if target.block is None and (names := tied_names(model, target)):
            found.append(f"{target.name} is tied to {', '.join(names)}: they are one tensor, so both changed")
    return found


def _report(
    model: nn.Module, targets: Sequence[Target], spec: PruneSpec, outcome: Outcome, seconds: float
) -> PruneReport:
    zeros = count_zeros(model, targets)
    pattern = outcome.pattern
    group = None
    if outcome.group is not None:
        from junkdna_harness.compress.grid import mean_group

        group = mean_group(targets, outcome.group)
    bits = effective_bits(
        zeros.sparsity_targeted,
        bits=spec.bits,
        group=group,
        symmetric=spec.symmetric,
        pattern=pattern if isinstance(pattern, NM) else None,
    )
    return PruneReport(
        kind="pruned",
        method=outcome.method,
        pattern=None if pattern is None else str(pattern),
        level=zeros.sparsity_targeted if pattern is None else pattern.level,
        bits=spec.bits,
        scope=outcome.scope,
        seed=outcome.seed,
        requested_sparsity=None if pattern is None else pattern.level,
        sparsity_targeted=zeros.sparsity_targeted,
        sparsity_all=zeros.sparsity_all,
        sparsity_by_module=zeros.by_module,
        weights_targeted=zeros.n_targeted,
        weights_all=zeros.n_all,
        effective_bits=bits,
        effective_bits_all=bits_of_model(bits, zeros),
        weights_sha256=weights_sha256(model),
        group_size=outcome.group,
        symmetric=spec.symmetric if spec.bits is not None else None,
        quantizer=spec.quantizer if spec.bits is not None else None,
        targets=spec.targets,
        exclude=spec.exclude,
        calibration=outcome.calibration,
        damping=outcome.damping,
        warnings=tuple(outcome.warnings),
        seconds=seconds,
    )
