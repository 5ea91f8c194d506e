"""Run a plan into a folder: what is finished is skipped, what fails is recorded, everything else is carried out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from junkdna_harness.sweep.engines import Engine, Event
from junkdna_harness.sweep.machine import Machine
from junkdna_harness.sweep.plan import Cell, Plan
from junkdna_harness.sweep.store import Store


@dataclass
class SweepOutcome:
    """What a sweep did: cells run now, cells that were there already, failures by run id, and where time went."""

    folder: Path
    plan: Plan
    finished: list[Cell] = field(default_factory=list)
    skipped: list[Cell] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 when every cell of the plan has a run, else 1."""
        return 1 if self.failed else 0


Listener = Callable[[Event], None]


def run_sweep(
    plan: Plan,
    output: str | Path,
    machine: Machine | None = None,
    engine: Engine | None = None,
    extend: bool = False,
    listener: Listener | None = None,
) -> SweepOutcome:
    """What was done; `listener` hears every event, after the store holds what it says.

    Raises:
        UsageError: the plan cannot be run (unknown tasks are named before any model is loaded), or the folder
            belongs to another plan, to another sweep that is running, or cannot be written.
    """
    from junkdna_harness.sweep.engines.local import LocalEngine

    store = Store(output)
    with store.locked():
        plan = store.adopt(plan, extend)
        done = store.finished(plan)
        outcome = SweepOutcome(store.folder, plan, skipped=done)
        waiting = [cell for cell in plan.cells if cell not in done]
        if waiting:
            check_tasks(plan)
            _carry_out(store, plan, waiting, machine, engine or LocalEngine(), outcome, listener)
    return outcome


def check_tasks(plan: Plan) -> None:
    """Name unknown tasks.

    Raises:
        UsageError: names all of them.
    """
    from junkdna_harness.harness.tasks import find_tasks

    find_tasks(plan.settings.tasks, plan.settings.include_path, plan.models[0])


def _carry_out(
    store: Store,
    plan: Plan,
    cells: Sequence[Cell],
    machine: Machine | None,
    engine: Engine,
    outcome: SweepOutcome,
    listener: Listener | None,
) -> None:
    started = time.perf_counter()

    def tell(event: Event) -> None:
        if event.kind == "ready":
            facts: dict[str, Any] = event.facts
            store.write_suite(facts["model"], facts["items"], facts["tasks"])
            for name, seconds in facts["seconds"].items():
                outcome.seconds[name] = outcome.seconds.get(name, 0.0) + seconds
        elif event.kind == "finished":
            assert event.cell is not None and event.result is not None
            result = event.result
            store.write_run(plan, event.cell, result.samples, result.responses, result.manifest)
            outcome.finished.append(event.cell)
            for name, seconds in result.manifest["seconds"].items():
                outcome.seconds[name] = outcome.seconds.get(name, 0.0) + seconds
        elif event.kind == "failed":
            assert event.cell is not None
            store.write_failure(plan, event.cell, event.error)
            outcome.failed[plan.run_id(event.cell)] = event.error
        if listener:
            listener(event)

    engine.run(plan, cells, machine or Machine(), store.folder, tell)
    outcome.seconds["wall"] = time.perf_counter() - started
    unheard = [
        cell for cell in cells if cell not in outcome.finished and plan.run_id(cell) not in outcome.failed
    ]
    for cell in unheard:
        outcome.failed[plan.run_id(cell)] = "it was never run"
