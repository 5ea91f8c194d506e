"""Run a plan into a folder: what is finished is skipped, what is damaged is repaired, what fails is recorded."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from difficulty.errors import UsageError
from difficulty.runs.dtypes import Agreement
from difficulty.runs.looks import added_after_look, log_added
from difficulty.runs.store import read_manifest
from junkdna_harness.models.option_lengths import OPTION_LENGTHS, note_on_lengths
from junkdna_harness.sweep.engines import (
    Engine,
    Event,
    Extended,
    Failed,
    Finished,
    Loaded,
    Noted,
    Started,
    Tell,
    Work,
)
from junkdna_harness.sweep.engines.local import LocalEngine
from junkdna_harness.sweep.fingerprint import Fingerprint, glance
from junkdna_harness.sweep.machine import Machine
from junkdna_harness.sweep.plan import Plan, PlannedRun
from junkdna_harness.sweep.reachable import check_models, check_space, check_tasks
from junkdna_harness.sweep.rounds import Rounds
from junkdna_harness.sweep.store import Store

# Why a finished run must be evaluated again, from the run and its manifest; None where it stands.
Outdated = Callable[[PlannedRun, Mapping[str, Any]], str | None]


@dataclass
class SweepOutcome:
    """What a sweep did: cells run now, cells that were there already, failures by run id, and where time went.

    `failed_tasks`: run id -> task -> why it has no score in a run that is otherwise there. `notes`: sentences on what was
    repaired, differs from when the folder was begun, or was asked for without effect.
    """

    folder: Path
    plan: Plan
    finished: list[PlannedRun] = field(default_factory=list)
    skipped: list[PlannedRun] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    failed_tasks: dict[str, dict[str, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 when every cell of the plan has a run with all of its tasks, else 1."""
        return 1 if self.failed or self.failed_tasks else 0

    def __repr__(self) -> str:
        counts = {"done": len(self.finished), "done before": len(self.skipped), "failed": len(self.failed)}
        told = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        failed = [f"{run}: {why}" for run, why in self.failed.items()]
        tasks = [f"{run}, {task}: {why}" for run, of in self.failed_tasks.items() for task, why in of.items()]
        return "\n".join((f"runs: {told}; in {self.folder}", *failed, *tasks, *self.notes))


def run_sweep(
    plan: Plan,
    output: str | Path,
    machine: Machine | None = None,
    engine: Engine | None = None,
    extend: bool = False,
    listener: Tell | None = None,
    outdated: Outdated | None = None,
    like: Mapping[int, Fingerprint] | None = None,
    begin: Callable[[], None] | None = None,
) -> SweepOutcome:
    """What was done; `listener` hears every event, after the store holds what it says.

    `outdated` names finished runs that no longer stand and are evaluated again. `like` are the fingerprints that models must
    have where the folder holds no run of them yet, e.g. those of another sweep of the same study. `begin` is called when the
    first model is loaded and nothing is evaluated yet. Until then nothing is written, so that what is refused holds nobody up.

    Raises:
        UsageError: the plan cannot be run (unknown tasks are named before any model is loaded), or the folder
            belongs to another plan, to another model or other items under the same names, to another sweep that is
            running, or cannot be written.
    """
    store = Store(output)
    with store.locked():
        plan = store.joined(plan, extend)
        outcome = SweepOutcome(store.folder, plan)
        sweep = _Sweep(store, plan, outcome, listener, dict(like or {}), begin)
        for text in plan.notes:
            sweep.note(text)
        waiting = sweep.look(outdated)
        models = {cell.model for cell in waiting}
        if models:
            check_tasks(plan)
            if not getattr(engine, "elsewhere", False):
                for _ in check_models(plan, sorted(models)):
                    pass
            check_space(plan, len(waiting), store.folder)
        if done := set(range(len(plan.models))) - models:
            if len(done) == len(plan.models) or plan.later is not None:
                sweep.commit()
            for model in sorted(done):
                waiting += sweep.more(model)  # of a sweep that was stopped between two rounds
        if waiting:
            sweep.carry_out(waiting, machine or Machine(), engine or LocalEngine())
    return outcome


@dataclass
class _Sweep:
    """One start of a sweep on a folder that is held."""

    store: Store
    plan: Plan
    outcome: SweepOutcome
    listener: Tell | None
    known: dict[int, Fingerprint]
    begin: Callable[[], None] | None = None
    committed: bool = False  # the folder holds the plan
    begun: set[int] = field(default_factory=set)
    asked: dict[str, None] = field(default_factory=dict)  # of the engine, in all rounds: run ids

    def __post_init__(self) -> None:
        self.rounds = Rounds(self.store)

    def commit(self) -> None:
        """Write the plan, now that what it asks for is known to be there.

        Raises:
            UsageError: the folder cannot be written.
        """
        if self.committed:
            return
        self.store.adopt(self.plan)
        for text in added_after_look(self.store.folder):
            self.note(text)
        if self.begin:
            self.begin()
        self.committed = True

    def look(self, outdated: Outdated | None) -> list[PlannedRun]:
        """The cells that are to be run, after telling what is damaged or differs."""
        plan, store = self.plan, self.store
        state = store.state(plan)
        again = dict(state.damaged)
        for cell in state.whole:
            manifest = read_manifest(store.folder, plan.file_name(cell))
            if outdated and (why := outdated(cell, manifest)):
                again[plan.run_id(cell)] = why
            elif failed := manifest.get("failed_tasks"):
                self.outcome.failed_tasks[plan.run_id(cell)] = dict(failed)
        whole = tuple(cell for cell in state.whole if plan.run_id(cell) not in again)
        for run, why in again.items():
            self.note(f"run {run!r} is evaluated again: {why}.")
        for model in range(len(plan.models)):
            if (taken := store.fingerprint(plan, model, whole)) is None:
                continue
            self.known[model] = taken
            self.begun.add(model)
            if problem := store.suite_problem(model):
                first = next(cell for cell in whole if cell.model == model)
                whole = tuple(cell for cell in whole if cell is not first)
                self.begun.discard(model)
                self.note(
                    f"run {plan.run_id(first)!r} is evaluated again, to write what its runs share: {problem}."
                )
        self.outcome.skipped = list(whole)
        there = {plan.run_id(cell) for cell in whole}  # cells have no hash
        waiting = [cell for cell in plan.cells if plan.run_id(cell) not in there]
        self._glance({cell.model for cell in waiting})
        return waiting

    def _glance(self, loaded: set[int]) -> None:
        """Say where the files of a model that is not loaded now are not those that its runs were made with."""
        for model, taken in self.known.items():
            if model in loaded or taken.files is None:
                continue
            if glance(self.plan.models[model]) != taken.files:
                name = self.plan.models[model]["pretrained"]
                self.note(
                    f"the files of model {name!r} have changed since its runs in this folder were made, which are of the model "
                    "as it was. Sweep the present one into another folder."
                )

    def note(self, text: str) -> None:
        """Tell something that is no failure."""
        if text not in self.outcome.notes:
            self.outcome.notes.append(text)
            if self.listener:
                self.listener(Noted(text))

    def carry_out(self, cells: list[PlannedRun], machine: Machine, engine: Engine) -> None:
        """Run `cells`, and record what becomes of them."""
        started = time.perf_counter()
        more = self.more if self.plan.later is not None else None
        work = Work(self.plan, cells, machine, self.store.folder, self.known.copy(), more)
        self._ask(cells)
        engine.run(work, self.hear)
        self.outcome.seconds["wall"] = time.perf_counter() - started
        heard = {self.plan.run_id(cell) for cell in self.outcome.finished} | self.outcome.failed.keys()
        for run in self.asked:
            if run not in heard:
                self.outcome.failed[run] = "it was never run"

    def more(self, model: int) -> list[PlannedRun]:
        """The next round of a model, which is in the folder's plan before any of it is run; empty where it is done."""
        step = self.rounds.next(self.plan, model)
        for sentence in step.sentences:
            self.note(sentence)
        if step.plan != self.plan:
            new = [step.plan.run_id(cell) for cell in step.cells]
            log_added(self.store.folder, new, str((step.cells[0].added or {}).get("why")) if new else None)
            self.store.write_plan(step.plan)
            self.plan = self.outcome.plan = step.plan
        cells = list(step.cells)
        if cells and self.listener:
            self.listener(Extended(step.plan, step.cells, step.why))
        self._ask(cells)
        return cells

    def _ask(self, cells: list[PlannedRun]) -> None:
        self.asked |= dict.fromkeys(map(self.plan.run_id, cells))

    def hear(self, event: Event) -> None:
        """Store what an event brings, then pass it on.

        Raises:
            UsageError: the model that was loaded is not that of the runs that are there, or the folder cannot be written.
        """
        if isinstance(event, (Started, Finished, Failed)):
            self.commit()
        plan, store, outcome = self.plan, self.store, self.outcome
        if isinstance(event, Loaded):
            self._take(event)
        elif isinstance(event, Started):
            store.discard(plan, event.cell)  # damaged or outdated, where there is one
        elif isinstance(event, Finished):
            manifest = event.result.manifest
            store.write_run(plan, event.cell, event.result)
            outcome.finished.append(event.cell)
            outcome.failed.pop(plan.run_id(event.cell), None)
            if failed := manifest.get("failed_tasks"):
                outcome.failed_tasks[plan.run_id(event.cell)] = dict(failed)
            if lengths := manifest["manifest"].get(OPTION_LENGTHS):
                which = f"{manifest['model']}: " if len(plan.models) > 1 else ""
                self.note(which + note_on_lengths(lengths))
            if found := Agreement.of(manifest):
                self.note(found.sentence(plan.run_id(event.cell)))
            self._add(manifest["seconds"])
        elif isinstance(event, Failed):
            store.discard(plan, event.cell)
            store.write_failure(plan, event.cell, event.error)
            outcome.failed[plan.run_id(event.cell)] = event.error
        if self.listener:
            self.listener(event)

    def _take(self, event: Loaded) -> None:
        for note in event.notes:
            self.note(note)
        known = self.known.get(event.model)
        if known is not None:
            name = str(self.plan.models[event.model]["pretrained"])
            if refusal := known.refusal(event.fingerprint, name):
                raise UsageError(refusal)
            for note in known.notes(event.fingerprint):
                self.note(note)
        self.commit()
        taken = event.fingerprint if known is None else known.joined(event.fingerprint)
        if event.model not in self.begun or taken != known:
            self.store.write_suite(event.model, event.items, event.tasks, taken)
            self.begun.add(event.model)
        self.known[event.model] = taken
        self._add(event.seconds)

    def _add(self, seconds: Mapping[str, float]) -> None:
        for name, value in seconds.items():
            self.outcome.seconds[name] = self.outcome.seconds.get(name, 0.0) + value
