"""Where cells run. An engine tells an event for each thing that happens; the listener alone writes the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from junkdna_harness.sweep.machine import Machine
from junkdna_harness.sweep.plan import Cell, Plan

if TYPE_CHECKING:
    from junkdna_harness.sweep.session import Finished, Session


@dataclass(frozen=True)
class Event:
    """What happened: `ready` (a model is loaded; `facts` are its shared tables and times), `started`, `progress`
    (`count` more requests answered), `finished` (`result`) or `failed` (`error`)."""

    kind: Literal["ready", "started", "progress", "finished", "failed"]
    cell: Cell | None = None
    count: int = 0
    result: Finished | None = None
    error: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


Tell = Callable[[Event], None]


class Engine(Protocol):
    """Runs cells and says what happens; a cell that fails does not stop the others."""

    def run(self, plan: Plan, cells: Sequence[Cell], machine: Machine, scratch: Path, tell: Tell) -> None:
        """Return when every cell has finished or failed, and `tell` knows of it."""
        ...


def ready(session: Session, model: int) -> Event:
    """The event that a model and its tasks are loaded."""
    items, tasks = session.shared()
    seconds = {"load": session.seconds_loading, "build": session.seconds_building}
    facts = {
        "model": model,
        "items": items,
        "tasks": tasks,
        "seconds": seconds,
        "requests": session.suite.n_requests,
    }
    return Event("ready", facts=facts)


def by_model(cells: Sequence[Cell]) -> dict[int, list[Cell]]:
    """Cells grouped by model, in order."""
    groups: dict[int, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.model, []).append(cell)
    return groups


def describe(error: BaseException) -> str:
    """One line for a failed run."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
