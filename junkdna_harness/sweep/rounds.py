"""Rounds: plan, run, look at what was measured, extend the plan, run, until nothing is to be added.

What comes next is computed from the plan and the stored runs alone, and is written into the plan before it is run: a sweep that is
killed in any round goes on where it was.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from junkdna_harness.sweep.losses import Losses
from junkdna_harness.sweep.matching import Matching
from junkdna_harness.sweep.matching import most_runs as most_matched
from junkdna_harness.sweep.plan import Plan, PlannedRun
from junkdna_harness.sweep.refining import refine
from junkdna_harness.sweep.search import MOST_TRIED
from junkdna_harness.sweep.store import Store


@dataclass(frozen=True)
class Round:
    """A plan that has grown by `cells`, `why`, and sentences for the user; the search of the model has ended without cells."""

    plan: Plan
    cells: tuple[PlannedRun, ...] = ()
    why: str = ""
    sentences: tuple[str, ...] = ()


@dataclass
class Rounds:
    """The rounds of one start of a sweep."""

    store: Store
    _losses: dict[int, Losses] = field(default_factory=dict)
    _repeated: set[str] = field(default_factory=set)
    _refined: set[int] = field(default_factory=set)  # models whose claim asks for no more

    def next(self, plan: Plan, model: int) -> Round:
        """The next round of a model, all of whose planned runs have ended."""
        later, sentences = plan.later, []
        if later is None:
            return Round(plan)
        if later.refine is not None and model not in self._refined:
            asked = refine(self.store, plan, model, later)
            if asked.cells:
                return _grown(plan, asked.cells)
            self._refined.add(model)
            sentences += asked.sentences
        if later.controls:
            matching = Matching(self.store, plan, model, later, self._losses)
            if again := self._to_repeat(plan, matching):
                names = ", ".join(plan.run_id(cell) for cell in again)
                return Round(plan, again, f"once more, for the search goes by it: {names}", tuple(sentences))
            if cells := matching.next_cells():
                return replace(_grown(plan, cells), sentences=tuple(sentences))
            sentences += matching.sentences()
            plan = _with_matches(plan, matching)
        return Round(plan, sentences=tuple(sentences))

    def _to_repeat(self, plan: Plan, matching: Matching) -> tuple[PlannedRun, ...]:
        """Runs of controls that failed, each once: a worker that was lost must not pass for a model that is broken."""
        again = tuple(cell for cell in matching.failed() if plan.run_id(cell) not in self._repeated)
        self._repeated |= {plan.run_id(cell) for cell in again}
        return again


def _grown(plan: Plan, cells: list[PlannedRun]) -> Round:
    grown = replace(plan, cells=(*plan.cells, *cells))
    grown.check()
    added = cells[0].added or {}
    names = ", ".join(dict.fromkeys(f"{cell.method} {cell.level:.10g}" for cell in cells))
    return Round(grown, tuple(cells), f"{added.get('why')}, round {added.get('round')}: {names}")


def _with_matches(plan: Plan, matching: Matching) -> Plan:
    """The plan with what was found for a model in the place of what was known of the same levels before."""
    found = matching.matches()
    asked = [(m["model"], m["method"], m["matched_to"]) for m in found]
    kept = [m for m in plan.matches if (m["model"], m["method"], m["matched_to"]) not in asked]
    return replace(plan, matches=(*kept, *found))


def outlook(plan: Plan) -> tuple[int, list[str]]:
    """The most runs that later rounds add to a plan, and sentences on what they do."""
    later, most, said = plan.later, 0, []
    if later is None:
        return 0, []
    if later.refine is not None:
        draws = Counter((c.model, c.method) for c in later.templates if c.method not in later.controls)
        most += later.most_levels * max(draws.values()) * len(plan.models)
        said.append(
            f"then, where {later.refine} cannot resolve a level, levels between: at most {later.most_levels} for each model"
        )
    if later.controls:
        more = later.most_levels if later.refine is not None else 0
        most += most_matched(plan, later, more)
        said.append(
            f"then, for each level of {later.primary}, the sparsities of {', '.join(later.controls)} with the same loss on the "
            f"calibration half: at most {MOST_TRIED} evaluations for each, shared where they can be"
        )
    return most, [*said, f"later rounds: at most {most} more runs"]
