"""Methods that look at a layer's inputs: one walk through the blocks, each compressed as soon as it has been seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from difficulty.errors import UsageError
from junkdna_harness.compress.calibration import Calibration, load_calibration
from junkdna_harness.compress.collect import collect
from junkdna_harness.compress.pattern import Pattern, removal_mask
from junkdna_harness.compress.registry import Sparsifier
from junkdna_harness.compress.sparsegpt import Selection
from junkdna_harness.compress.statistics import DAMPING, Hessian, Statistic
from junkdna_harness.compress.targets import Target
from junkdna_harness.compress.walk import walk

if TYPE_CHECKING:
    from junkdna_harness.compress.apply import Outcome, Progress
    from junkdna_harness.compress.spec import PruneSpec

Change = Callable[[Target, Statistic | None], None]  # None: no calibration token reached the target


def walk_and_change(
    model: nn.Module,
    targets: Sequence[Target],
    needs: type[Statistic],
    change: Change,
    calibration: Calibration,
    outcome: Outcome,
    progress: Progress | None = None,
    fallback: str = "ranked by magnitude",
) -> None:
    """Pass the calibration tokens through the model block by block, and `change` each target with its statistic.

    Raises:
        UsageError: a target lies outside the blocks.
    """
    outside = [target.name for target in targets if target.block is None]
    if outside:
        raise UsageError(
            f"{outside[0]} lies outside the decoder blocks, where calibrated methods do not reach. "
            f"Use method=magnitude or random for it."
        )
    unseen: list[str] = []
    outcome.calibration = calibration.to_dict()
    with torch.no_grad():
        for step in walk(model, calibration.ids):
            if progress:
                progress(step.index, step.number, f"block {step.index + 1} of {step.number}")
            groups = collect(step, [t for t in targets if t.block == step.index], needs, calibration.seed)
            while groups:
                statistic, members = groups.pop(0)  # dropped as soon as it is used: Hessians are large
                for target in members:
                    change(target, statistic)
                    unseen += [target.name] if statistic is None else []
                    _note_damping(target, statistic, outcome)
    if unseen:
        outcome.warnings.append(
            f"{len(unseen)} experts saw no calibration token and were {fallback}, e.g. {unseen[0]}"
        )
    if progress:
        progress(1, 1, "")


def prune_calibrated(
    model: nn.Module,
    targets: Sequence[Target],
    method: Sparsifier,
    spec: PruneSpec,
    outcome: Outcome,
    tokenizer: Any,
    progress: Progress | None,
) -> None:
    """Prune every target in place by a method that needs a statistic of the inputs."""
    from junkdna_harness.compress.apply import remove, score

    what = spec.what
    if what is None or method.needs is None:
        raise TypeError("nothing to remove, or a method without a statistic")
    scope = spec.effective_scope or "row"

    def change(target: Target, statistic: Statistic | None) -> None:
        if statistic is None:
            remove(target, removal_mask(target.weight.float().abs(), what, scope))
        elif method.updates:
            target.weight.copy_(
                _updated(method, target, statistic, what, Selection(what, scope, target.shape))
            )
        else:
            remove(target, removal_mask(score(method, target, statistic), what, scope))

    calibration = load_calibration(
        spec.calibration, tokenizer, model, nsamples=spec.nsamples, seqlen=spec.seqlen, seed=spec.seed
    )
    walk_and_change(model, targets, method.needs, change, calibration, outcome, progress)


def _updated(
    method: Sparsifier, target: Target, statistic: Statistic, what: Pattern, selection: Selection
) -> Tensor:
    new: Tensor = method.function(target.weight.float(), statistic, selection)
    if not bool(torch.isfinite(new).all()):
        raise UsageError(
            f"{method.name} gave NaN or infinite weights in {target.name} at {what}. Use more calibration text."
        )
    return new


def _note_damping(target: Target, statistic: Statistic | None, outcome: Outcome) -> None:
    if isinstance(statistic, Hessian) and statistic.damping != DAMPING:
        outcome.damping[target.name] = statistic.damping
        note = "the Hessian of some layers needed more damping than 0.01 (see damping)"
        if note not in outcome.warnings:
            outcome.warnings.append(note)
