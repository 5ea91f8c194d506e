"""Score, mask, apply: `prune` changes a model in place and reports what was measured on it afterwards."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from difficulty.runs.level import level_of
from junkdna_harness.compress.account import make_report
from junkdna_harness.compress.allocation import needs_text
from junkdna_harness.compress.before import (
    DONE,
    HAD_BEEN,
    Before,
    look_before,
    refuse_other_targets,
    refuse_rounding_again,
    refuse_running_again,
)
from junkdna_harness.compress.calibrated import Provider, Walked, prune_calibrated
from junkdna_harness.compress.change import Outcome, Progress, remove, score
from junkdna_harness.compress.checks import (
    merge_adapters,
    on_a_grid,
    refuse_offloaded,
    refuse_quantized,
    refuse_unfinite,
    unreached,
)
from junkdna_harness.compress.masks import apply_mask
from junkdna_harness.compress.notation import NM, NONE, Pattern
from junkdna_harness.compress.pattern import check_width, removal_mask
from junkdna_harness.compress.quantizers import resolve_group
from junkdna_harness.compress.quantizing import round_targets, rounder_of
from junkdna_harness.compress.rank import lowest_overall
from junkdna_harness.compress.registry import Sparsifier, get_sparsifier
from junkdna_harness.compress.report import PruneReport, zeros_by_module
from junkdna_harness.compress.running import prepare, run_rounded
from junkdna_harness.compress.shares import quotas
from junkdna_harness.compress.spec import PruneSpec
from junkdna_harness.compress.statistics import InputNorm, Statistic
from junkdna_harness.compress.structured import drop_parts
from junkdna_harness.compress.targets import Target, find_targets, tied_names


def prune(
    model: nn.Module,
    spec: PruneSpec | None = None,
    tokenizer: Any = None,
    progress: Progress | None = None,
    *,
    statistics: Provider | None = None,
    manifest: Mapping[str, Any] | None = None,
) -> PruneReport:
    """What was removed, after removing it from `model` in place.

    `tokenizer` is needed where the method reads calibration text; `statistics` says where else a layer's statistics come
    from. Weights keep their dtype and device; removed ones are exactly zero. With `spec.bits` what is left is quantized too,
    and activations and the cache are rounded from then on, whenever the model runs, until `stop_running`.

    A model that is pruned already keeps its zeros. Where nothing more goes, the report says by what it was pruned before:
    `manifest` (None: the `junkdna.json` of the folder from which transformers loaded it) as far as the weights bear it out.

    Raises:
        UsageError: the model or the spec cannot be used; nothing has been changed then.

    The formulas are those of the papers that each method's module names.

    Examples:
        >>> from transformers import AutoModelForCausalLM
        >>> from junkdna_harness.embedded import model_path
        >>> model = AutoModelForCausalLM.from_pretrained(model_path())
        >>> report = prune(model, PruneSpec.from_strings({"method": "magnitude", "sparsity": 0.5}))
        >>> round(report.sparsity_targeted, 4), report.effective_bits
        (0.5, 9.0)
    """
    spec = spec or PruneSpec()
    started = time.perf_counter()
    with torch.no_grad():
        merge_adapters(model)
        if spec.method != NONE or spec.bits is not None:
            refuse_quantized(model)
        targets = find_targets(model, spec.targets, spec.exclude)
        refuse_offloaded(targets)
        method = _method(spec)
        before = look_before(model, targets, manifest)
        provider = statistics or Walked(model, tokenizer)
        _refuse(targets, spec, method, before)
        changes = method is not None or spec.mask is not None or spec.structured or spec.bits is not None
        running = prepare(model, spec.running, targets, spec.kv_tokens, changes)
        provider.prepare(targets, _needs(spec, method), spec)
        gridded = on_a_grid(targets) if spec.bits is not None else []
        outcome = _remove(model, targets, spec, method, provider, before, progress)
        if spec.structured and spec.what is not None and spec.what.level > 0:
            drop_parts(model, targets, spec, tokenizer, outcome, before.structure, progress)
            targets = find_targets(model)
            running = prepare(model, spec.running, targets, spec.kv_tokens)
        zeros: dict[str, int] | None = zeros_by_module(targets)
        outcome = _together(before, outcome, spec, zeros or {})
        outcome.sparsity = sum((zeros or {}).values()) / sum(target.numel for target in targets)
        if spec.structured and before.only_rounded:
            outcome.sparsity = 0.0  # the zeros are codes, and what is gone is counted by itself
        outcome.warnings += gridded
        outcome.warnings += unreached(model, targets) if not spec.targets else []
        outcome.warnings += _twins(model, targets)
        if spec.bits is not None:
            round_targets(targets, spec, provider, outcome, True, progress)
            zeros = None  # rounding made more
        report = make_report(model, targets, spec, outcome, time.perf_counter() - started, zeros)
    return run_rounded(running, spec, report, tokenizer)


prune_model = prune


def measure(
    model: nn.Module,
    targets: Sequence[str] = (),
    exclude: Sequence[str] = (),
    *,
    manifest: Mapping[str, Any] | None = None,
) -> PruneReport:
    """The sparsity of a model as it is (method none, or what its manifest says).

    Raises:
        UsageError: a pattern matches nothing.

    Shares lie in [0, 1]; the report is that of `prune`.

    Examples:
        >>> from transformers import AutoModelForCausalLM
        >>> from junkdna_harness.embedded import model_path
        >>> model = AutoModelForCausalLM.from_pretrained(model_path())
        >>> measure(model).level
        0.0
    """
    return prune(
        model, PruneSpec(method=NONE, targets=tuple(targets), exclude=tuple(exclude)), manifest=manifest
    )


def _method(spec: PruneSpec) -> Sparsifier | None:
    """The method that will remove single weights; None where a mask does, whole parts go, or nothing is removed."""
    if spec.mask is not None or spec.structured or spec.what is None or spec.what.level == 0:
        return None
    return get_sparsifier(spec.method)


def _refuse(targets: Sequence[Target], spec: PruneSpec, method: Sparsifier | None, before: Before) -> None:
    """All that can be refused, before anything is changed."""
    if method is not None or spec.structured or spec.mask is not None:
        refuse_other_targets(before)
    if method is not None or spec.structured or spec.bits is not None:
        refuse_unfinite(targets)
    changes = method is not None or spec.structured or spec.mask is not None or spec.bits is not None
    if changes or spec.running:
        refuse_running_again(before)
    if method is not None and spec.what is not None:
        for target in targets:
            check_width(target.name, target.shape[1], spec.what)
    if spec.bits is not None:
        resolve_group(targets, spec.group_size, rounder_of(spec).form)
        refuse_rounding_again(before)


def _needs(spec: PruneSpec, method: Sparsifier | None) -> list[type[Statistic]]:
    """The statistics of inputs that will be asked for."""
    needs: list[type[Statistic]] = []
    if method is not None and method.calibrated and method.needs is not None:
        needs.append(method.needs)
    rounding = None if spec.bits is None else rounder_of(spec).statistic(spec.act_order)
    if rounding is not None and rounding not in needs:
        needs.append(rounding)
    if spec.allotted and needs_text(spec.allocation, spec.calibration) and InputNorm not in needs:
        needs.append(InputNorm)
    return needs


def _remove(
    model: nn.Module,
    targets: list[Target],
    spec: PruneSpec,
    method: Sparsifier | None,
    provider: Provider,
    before: Before,
    progress: Progress | None,
) -> Outcome:
    if spec.mask is not None:
        return apply_mask(model, targets, spec.mask)
    what = spec.what
    if what is None:
        return Outcome(NONE, seed=spec.seed)
    outcome = Outcome(spec.name, what, spec.effective_scope, spec.seed, requested=what.level)
    if method is None:
        return outcome
    shares = quotas(targets, spec, provider, outcome, progress) if spec.allotted else {}
    if method.calibrated:
        prune_calibrated(targets, method, spec, provider, outcome, before.sparse, progress, shares)
    elif spec.effective_scope == "global":
        _prune_globally(targets, method, spec, what, before.sparse)
    else:
        _prune_each(targets, method, spec, what, before.sparse, progress, shares)
    return outcome


def _together(before: Before, outcome: Outcome, spec: PruneSpec, zeros: Mapping[str, int]) -> Outcome:
    """What was done now and what had been done before, as one: nothing can be un-pruned."""
    if dict(zeros) == dict(before.zeros) and not outcome.moved and outcome.structure is None:
        return _as_it_was(before, outcome, spec)
    outcome.structure = outcome.structure or before.structure
    outcome.packing = outcome.pattern if isinstance(outcome.pattern, NM) else None
    if spec.structured:
        outcome.packing = before.packing  # whole parts go, and what is left is as it was
    outcome.warnings += before.warnings
    if before.compressed:
        outcome.on_top_of = before.name
    if before.compressed and not before.only_rounded:
        done = DONE[before.recovered]
        outcome.warnings.append(f"{HAD_BEEN} {done} before ({before.describe()})")
    if before.bits is None:
        return outcome
    how = f"{HAD_BEEN} quantized before ({before.quantizer}, {before.bits} bits)"
    if outcome.moved:
        outcome.warnings.append(
            f"{how}; {outcome.method} moved its weights off their grid, so they count 16 bits again"
        )
        return outcome
    outcome.warnings.append(f"{how}, and what is left still counts {before.bits} bits")
    outcome.bits, outcome.group = before.bits, before.group
    outcome.symmetric, outcome.act_order = before.symmetric, before.act_order
    outcome.shared_bits, outcome.quantizer = before.shared_bits, before.quantizer
    return outcome


def _as_it_was(before: Before, outcome: Outcome, spec: PruneSpec) -> Outcome:
    """The outcome where nothing was removed: what the model was when it came."""
    if not before.compressed:  # dense: the level is 0, by whatever method
        outcome.warnings += before.warnings
        return outcome
    if spec.mask is not None and not before.known and level_of(outcome.requested, before.sparsity)[1] is None:
        return outcome  # the zeros are those of the mask
    kept = before.outcome()
    _say_what_was_asked(kept, before, outcome.requested)
    return kept


def _say_what_was_asked(kept: Outcome, before: Before, asked: float | None) -> None:
    """Warnings where something was to be removed and was gone already."""
    if asked is None or (before.only_rounded and asked == 0):
        return
    kept.requested = asked
    kept.level = before.sparsity if kept.level is None else kept.level
    _, warning = level_of(asked, kept.level)
    kept.warnings += [] if warning is None else [warning]
    if before.only_rounded:
        kept.warnings.append(
            f"nothing was removed: rounding had made {before.sparsity:.4g} of the weights zero"
        )
    elif not before.known:
        kept.warnings.append(
            f"nothing was removed, for {before.sparsity:.4g} of the targeted weights were zero already; no manifest says "
            f"how the checkpoint was pruned, so its method is 'none'"
        )


def _uncalibrated(method: Sparsifier, target: Target, seed: int) -> Any:
    if method.needs is None:
        return None
    return method.needs(target.shape[1], target.weight.device, seed, target.name)


def _prune_each(
    targets: Sequence[Target],
    method: Sparsifier,
    spec: PruneSpec,
    what: Pattern,
    hold: bool,
    progress: Progress | None,
    shares: Mapping[str, Pattern],
) -> None:
    scope = spec.effective_scope or "row"
    for done, target in enumerate(targets):
        if progress:
            progress(done, len(targets), target.name)
        scores = score(method, target, _uncalibrated(method, target, spec.seed), hold)
        remove(target, removal_mask(scores, shares.get(target.name, what), scope))
    if progress:
        progress(len(targets), len(targets), "")


def _prune_globally(
    targets: Sequence[Target], method: Sparsifier, spec: PruneSpec, what: Pattern, hold: bool
) -> None:
    if isinstance(what, NM):
        raise TypeError("N:M has no global scope")

    def scores() -> Iterator[Tensor]:
        return (score(method, target, _uncalibrated(method, target, spec.seed), hold) for target in targets)

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
