"""What a sweep is asked to add after its first round, from what will have been measured then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from difficulty.errors import UsageError
from junkdna_harness.sweep.planned import PlannedRun

PRIMARY = "magnitude"  # the method whose levels others are matched to, where it is there
REFINED = "P3"  # the claim that asks for levels
MOST_LEVELS = 12  # that refining adds to the runs of a model


@dataclass(frozen=True)
class Later:
    """What is to be added after the first round, from what was measured (`sweep.rounds`).

    `controls`: methods whose levels are sought, so that they lose what those of `primary` lose. `refine`: the claim that
    asks for levels, None for none; at most `most_levels` for each model. `templates`: every pruning method of every model in
    every draw, at some sparsity.
    """

    primary: str
    controls: tuple[str, ...]
    refine: str | None
    most_levels: int
    templates: tuple[PlannedRun, ...]


def later_rounds(
    names: Sequence[str], levels: Sequence[float], cells: Sequence[PlannedRun], match_loss: bool, refine: str | None, most: int
) -> Later:  # fmt: skip
    """What later rounds are asked for.

    Raises:
        UsageError: there is nothing that could be matched or refined.
    """
    option = "match_loss" if match_loss else "refine"
    if refine is not None and refine != REFINED:
        raise UsageError(
            f"refine {refine!r} is no claim that asks for levels: only {REFINED} does. Write --refine {REFINED}."
        )
    if most < 1:
        raise UsageError(
            f"refine_levels {most} is less than 1. It is how many levels may be added, {MOST_LEVELS} by default."
        )
    if not any(level > 0 for level in levels):
        raise UsageError(
            f"{option} starts from sparsities of a pruning method. Add --sparsity, e.g. 0.4,0.5,0.6."
        )
    if match_loss and len(names) < 2:
        raise UsageError(
            f"match_loss compares pruning methods, and there is only {names[0]!r}. Add controls: --methods magnitude,random,largest."
        )
    primary = PRIMARY if PRIMARY in names else names[0]
    some = next(level for level in levels if level > 0)
    templates = (c for c in cells if c.kind == "prune" and c.pattern is None and c.level == some)
    controls = tuple(name for name in names if name != primary) if match_loss else ()
    return Later(primary, controls, refine, most, tuple(templates))
