"""What tests of a store under faults share: a sweep that was recorded, and is played again in milliseconds."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from junkdna_harness.sweep import Store, build_plan, run_sweep
from junkdna_harness.sweep.engines import Event, Finished, Loaded, Work
from junkdna_harness.sweep.engines.local import LocalEngine
from junkdna_harness.sweep.run import SweepOutcome

PLAN = build_plan(tasks="difficulty_tiers_copying_t1", methods="magnitude", sparsity="0.3,0.5", limit=4)


@dataclass(frozen=True)
class Replay:
    """An engine that tells again what a real one told: the results are real, and nothing is computed."""

    events: tuple[Event, ...]

    def run(self, work: Work, tell: Callable[[Event], None]) -> None:
        """Tell what belongs to the cells that are asked for."""
        for event in self.events:
            cell = getattr(event, "cell", None)
            if isinstance(event, Loaded) or cell in work.cells:
                tell(event)


def recorded(folder: Path) -> tuple[Replay, dict[str, bytes]]:
    """A real sweep of `PLAN`, and the files that it leaves."""
    events: list[Event] = []
    run_sweep(PLAN, folder, engine=LocalEngine(workers=1), listener=events.append)
    return Replay(tuple(events)), content(folder)


def play(folder: Path, engine: Replay, heard: Callable[[Event], None] | None = None) -> SweepOutcome:
    """The sweep on `folder`, begun or gone on with."""
    return run_sweep(PLAN, folder, engine=engine, listener=heard)


def content(folder: Path) -> dict[str, bytes]:
    """All files of a store but its lock, by path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock"
    }


def whole(folder: Path) -> set[str]:
    """The ids of the runs that count as finished."""
    store = Store(folder)
    plan = store.plan()
    return set() if plan is None else {plan.run_id(cell) for cell in store.state(plan).whole}


def promised(events: list[Event]) -> list[str]:
    """The ids of the runs that were told to be finished, in order."""
    return [PLAN.run_id(event.cell) for event in events if isinstance(event, Finished)]


@contextmanager
def fault(call: str, number: int, code: int = errno.ENOSPC, once: bool = True) -> Iterator[list[int]]:
    """Let the n-th `os.CALL` fail, and with `once=False` all after it, as on a disk that is full; the list counts calls."""
    real, count = getattr(os, call), [0]

    def failing(*args: object, **kwargs: object) -> object:
        count[0] += 1
        if count[0] == number or (count[0] > number and not once):
            raise OSError(code, os.strerror(code))
        return real(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, call, failing)
        yield count
