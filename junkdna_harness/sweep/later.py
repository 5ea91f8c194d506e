"""What a sweep is asked to add after its first round, from what will have been measured then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from difficulty.errors import UsageError
from junkdna_harness.sweep.grid import parse_names
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


def primary_of(names: Sequence[str]) -> str:
    """The method whose levels others are matched to."""
    return PRIMARY if PRIMARY in names else names[0]


def matched_methods(match_loss: object, names: Sequence[str]) -> tuple[str, ...]:
    """The methods whose levels are sought: all but the primary one where `match_loss` is true, or those that it names.

    Raises:
        UsageError: it is neither, or there is nothing that could be matched.
    """
    if match_loss is False:
        return ()
    if not names:
        raise UsageError(
            "match_loss starts from sparsities of a pruning method. Add --sparsity, e.g. 0.4,0.5,0.6, and --methods "
            "magnitude,random,largest."
        )
    primary = primary_of(names)
    if match_loss is True:
        if len(names) < 2:
            raise UsageError(
                f"match_loss compares pruning methods, and there is only {names[0]!r}. Add controls: --methods magnitude,random,largest."
            )
        return tuple(name for name in names if name != primary)
    if not (isinstance(match_loss, str) or (isinstance(match_loss, Sequence) and match_loss)):
        raise UsageError(
            f"match_loss: {match_loss!r} is neither true nor false, nor a list of methods. Write match_loss: true, or e.g. "
            "match_loss: [random, largest]."
        )
    asked = parse_names(match_loss, "match_loss")
    if primary in asked:
        raise UsageError(f"match_loss names {primary!r}, the method whose losses are sought. Leave it out.")
    return asked


def later_rounds(
    names: Sequence[str], levels: Sequence[float], cells: Sequence[PlannedRun], matched: tuple[str, ...], refine: str | None,
    most: int,
) -> Later:  # fmt: skip
    """What later rounds are asked for. `matched`: the methods whose levels are sought.

    Raises:
        UsageError: there is nothing that could be matched or refined.
    """
    option = "match_loss" if matched else "refine"
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
    some = next(level for level in levels if level > 0)
    templates = (c for c in cells if c.kind == "prune" and c.pattern is None and c.level == some)
    return Later(primary_of(names), matched, refine, most, tuple(templates))
