"""Levels that a claim asks for: where the grid is too coarse for it to say at which level a tier gives way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from difficulty.errors import UsageError
from difficulty.runs.identity import Run
from junkdna_harness.sweep.later import Later
from junkdna_harness.sweep.plan import Plan, PlannedRun
from junkdna_harness.sweep.store import Store


@dataclass(frozen=True)
class Refinement:
    """The cells to run next, and sentences on what was asked for and is not added."""

    cells: list[PlannedRun]
    sentences: list[str]


def refine(store: Store, plan: Plan, model: int, later: Later) -> Refinement:
    """The next round of a model: the levels that the claim asks for, as far as the limit allows."""
    name = plan.model_name(next(cell for cell in plan.cells if cell.model == model))
    try:
        asked = _levels_asked(store, name, str(later.refine))
    except UsageError as error:
        return Refinement([], [f"{later.refine} cannot ask for levels of {name!r}: {error}"])
    why = f"refine {later.refine}"
    before = [cell for cell in plan.cells if cell.model == model and (cell.added or {}).get("why") == why]
    left = later.most_levels - len({(cell.method, cell.level) for cell in before})
    number = 1 + max((int((cell.added or {})["round"]) for cell in before), default=0)
    there = {plan.run_id(cell) for cell in plan.cells}
    cells: list[PlannedRun] = []
    refused: list[str] = []
    for method, levels in asked.items():
        templates = [c for c in later.templates if c.model == model and c.method == method]
        if method in later.controls:
            continue  # their levels are sought by loss
        known = [c.level or 0.0 for c in plan.cells if c.model == model and c.method == method]
        for level in _widest_first(levels, known):
            new = [one.at(_named(level), {"why": why, "round": number}) for one in templates]
            new = [cell for cell in new if plan.run_id(cell) not in there]
            if not 0 < level < 1 or not new or left < 1:
                refused.append(f"{method} {level:.10g}")
                continue
            cells += new
            left -= 1
    return Refinement(cells, [] if cells or not refused else [_told(refused, later, left)])


def _levels_asked(store: Store, model: str, claim: str) -> Mapping[str, Sequence[float]]:
    """Method -> levels, by the judge, from the runs that are there."""
    from difficulty.judge.fit import fit
    from difficulty.judge.refine import levels_to_add
    from difficulty.runs.read import read_runs

    found: Mapping[str, Sequence[float]] = levels_to_add(
        fit(read_runs(store.folder), model=model, claims=(claim,))
    )
    return found


def _widest_first(levels: Sequence[float], known: Sequence[float]) -> list[float]:
    """The levels farthest from those that are there first, should the limit not allow for all."""
    return sorted(levels, key=lambda level: (-min(abs(level - other) for other in (0.0, *known)), level))


def _named(level: float) -> float:
    """The level as runs are named."""
    return Run.parse(f"m x {level:.10g}").level or 0.0


def _told(refused: Sequence[str], later: Later, left: int) -> str:
    what = f"{later.refine} still asks for {', '.join(refused)}"
    if left < 1:
        return (
            f"{what}, and the limit of {later.most_levels} levels is reached. Raise it with --refine-levels, or let it be: "
            f"{later.refine} is inconclusive there."
        )
    return f"{what}, which this sweep cannot add: the levels are there already, or are of no pruning method of --methods."
