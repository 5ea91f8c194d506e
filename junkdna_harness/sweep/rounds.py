"""Rounds: plan, run, look at what was measured, extend the plan, run, until nothing is to be added.

What comes next is computed from the plan and the stored runs alone, and is written into the plan before it is run: a sweep that is
killed in any round goes on where it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from junkdna_harness.sweep.plan import Plan, PlannedRun
from junkdna_harness.sweep.refining import refine
from junkdna_harness.sweep.store import Store

if TYPE_CHECKING:
    from junkdna_harness.sweep.losses import Losses
    from junkdna_harness.sweep.matching import Matching


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
        from junkdna_harness.sweep.matching import Matching

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
