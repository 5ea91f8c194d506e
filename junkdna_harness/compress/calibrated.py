"""Methods that look at a layer's inputs: where their statistics come from, and what is done with each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from difficulty.errors import UsageError
from junkdna_harness.compress.calibration import Calibration, load_calibration
from junkdna_harness.compress.change import Outcome, Progress, remove, score
from junkdna_harness.compress.collect import collect
from junkdna_harness.compress.notation import Pattern
from junkdna_harness.compress.pattern import removal_mask
from junkdna_harness.compress.quant_spec import QuantSpec
from junkdna_harness.compress.registry import Sparsifier
from junkdna_harness.compress.sparsegpt import Selection
from junkdna_harness.compress.spec import PruneSpec
from junkdna_harness.compress.statistics import DAMPING, Hessian, Statistic
from junkdna_harness.compress.targets import Target
from junkdna_harness.compress.walk import walk

Change = Callable[[Target, Statistic | None], None]  # None: no calibration token reached the target
Spec = PruneSpec | QuantSpec


class Provider(Protocol):
    """Where the statistics of the layers' inputs come from."""

    def prepare(self, targets: Sequence[Target], needs: Sequence[type[Statistic]], spec: Spec) -> None:
        """Called once, before any weight is changed, with every kind of statistic that will be asked for.

        Raises:
            UsageError: they cannot be had.
        """

    def facts(self) -> dict[str, Any]:
        """On the calibration, for the manifest."""

    def give(
        self, targets: Sequence[Target], needs: type[Statistic], progress: Progress | None
    ) -> Iterator[tuple[Target, Statistic | None]]:
        """Each target with its statistic, to be changed before the next is asked for."""


class Walked:
    """Statistics as the papers gather them: block by block, each seeing what the changed blocks before it give."""

    def __init__(self, model: nn.Module, tokenizer: Any) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.calibration: Calibration | None = None

    def prepare(self, targets: Sequence[Target], needs: Sequence[type[Statistic]], spec: Spec) -> None:
        """Read the calibration text.

        Raises:
            UsageError: there is none, or a target lies outside the blocks.
        """
        if needs:
            self.calibration = calibration_for(self.model, self.tokenizer, targets, spec)

    def facts(self) -> dict[str, Any]:
        """Source, amount and hash of the calibration text."""
        return {} if self.calibration is None else self.calibration.to_dict()

    def give(
        self, targets: Sequence[Target], needs: type[Statistic], progress: Progress | None
    ) -> Iterator[tuple[Target, Statistic | None]]:
        """Walk through the blocks once."""
        if self.calibration is None:
            raise TypeError("give comes after prepare")
        for step in walk(self.model, self.calibration.ids):
            if progress:
                progress(step.index, step.number, f"block {step.index + 1} of {step.number}")
            groups = collect(
                step, [t for t in targets if t.block == step.index], needs, self.calibration.seed
            )
            while groups:
                statistic, members = groups.pop(0)  # dropped as soon as it is used: Hessians are large
                for target in members:
                    yield target, statistic
        if progress:
            progress(1, 1, "")


def calibration_for(model: nn.Module, tokenizer: Any, targets: Sequence[Target], spec: Spec) -> Calibration:
    """The calibration text that `spec` names.

    Raises:
        UsageError: it cannot be read, or a target lies outside the blocks.
    """
    outside = [target.name for target in targets if target.block is None]
    if outside:
        raise UsageError(
            f"{outside[0]} lies outside the decoder blocks, where calibrated methods do not reach. "
            f"Use method=magnitude, largest or random for it."
        )
    return load_calibration(
        spec.calibration, tokenizer, model, nsamples=spec.nsamples, seqlen=spec.seqlen, seed=spec.seed
    )


def change_each(
    targets: Sequence[Target],
    needs: type[Statistic],
    change: Change,
    provider: Provider,
    outcome: Outcome,
    progress: Progress | None,
    fallback: str,
) -> None:
    """`change` every target with its statistic; what should be known of the way goes into `outcome`."""
    outcome.calibration = provider.facts()
    unseen: list[Target] = []
    for target, statistic in provider.give(targets, needs, progress):
        change(target, statistic)
        unseen += [target] if statistic is None else []
        _note_damping(target, statistic, outcome)
    if unseen:
        what = "experts" if all(target.expert is not None for target in unseen) else "layers"
        outcome.warnings.append(
            f"{len(unseen)} {what} saw no calibration token and were {fallback}, e.g. {unseen[0].name}"
        )


def prune_calibrated(
    targets: Sequence[Target],
    method: Sparsifier,
    spec: PruneSpec,
    provider: Provider,
    outcome: Outcome,
    hold: bool,
    progress: Progress | None,
    quotas: Mapping[str, Pattern],
) -> None:
    """Prune every target in place by a method that needs a statistic of the inputs; `hold`: what is zero stays zero.

    `quotas`: by target's name, what it loses where that is not the same everywhere.
    """
    what = spec.what
    if what is None or method.needs is None:
        raise TypeError("nothing to remove, or a method without a statistic")
    scope = spec.effective_scope or "row"

    def change(target: Target, statistic: Statistic | None) -> None:
        here = quotas.get(target.name, what)
        if statistic is None:
            remove(target, removal_mask(target.weight.float().abs(), here, scope))
        elif method.updates:
            held = target.weight == 0 if hold else None
            selection = Selection(here, scope, target.shape, held)
            new = _updated(method, target, statistic, selection).to(target.weight.dtype)
            outcome.moved = outcome.moved or not torch.equal(new, target.weight)
            target.weight.copy_(new)
        else:
            remove(target, removal_mask(score(method, target, statistic, hold), here, scope))

    change_each(targets, method.needs, change, provider, outcome, progress, "ranked by magnitude")


def _updated(method: Sparsifier, target: Target, statistic: Statistic, selection: Selection) -> Tensor:
    new: Tensor = method.function(target.weight.float(), statistic, selection)
    if not bool(torch.isfinite(new).all()):
        raise UsageError(
            f"{method.name} gave NaN or infinite weights in {target.name} at {selection.pattern}. "
            f"Use more calibration text."
        )
    return new if selection.held is None else new.masked_fill(selection.held, 0)


def _note_damping(target: Target, statistic: Statistic | None, outcome: Outcome) -> None:
    if isinstance(statistic, Hessian) and statistic.damping != DAMPING:
        outcome.damping[target.name] = statistic.damping
        note = "the Hessian of some layers needed more damping than 0.01 (see damping)"
        if note not in outcome.warnings:
            outcome.warnings.append(note)
