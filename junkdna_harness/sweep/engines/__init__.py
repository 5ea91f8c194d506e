"""Where runs are computed. An engine tells an event for each thing that happens; the listener alone writes the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from junkdna_harness.sweep.engines.events import (
    Event,
    Extended,
    Failed,
    Finished,
    Loaded,
    Noted,
    Progress,
    Started,
    Tell,
)
from junkdna_harness.sweep.fingerprint import Fingerprint
from junkdna_harness.sweep.machine import Machine
from junkdna_harness.sweep.plan import Plan, PlannedRun

__all__ = [
    "Engine", "Event", "Extended", "Failed", "Finished", "Loaded", "More", "Noted", "Progress", "Started", "Tell", "Work",
    "describe",
]  # fmt: skip


# The next round of a model's cells, asked for when all that were handed out have ended; none where the model is done.
More = Callable[[int], Sequence[PlannedRun]]


@dataclass(frozen=True)
class Work:
    """What an engine is given: the `cells` of `plan` that are to be run, for the sweep in `folder` (None: not on this disk).

    `known`: model -> the fingerprint of the runs that are there already. A model with another one is refused. `more`: the next
    round of a model, whose weights and requests stay loaded meanwhile; None where there is one round.
    """

    plan: Plan
    cells: Sequence[PlannedRun]
    machine: Machine
    folder: Path | None
    known: Mapping[int, Fingerprint] = field(default_factory=dict)
    more: More | None = None

    def by_model(self) -> dict[int, list[PlannedRun]]:
        """The cells grouped by model, in order."""
        groups: dict[int, list[PlannedRun]] = {}
        for cell in self.cells:
            groups.setdefault(cell.model, []).append(cell)
        return groups


class Engine(Protocol):
    """Runs cells and says what happens; a cell that fails does not stop the others."""

    def run(self, work: Work, tell: Tell) -> None:
        """Return when every cell has finished or failed, and `tell` knows of it.

        Raises:
            UsageError: a model cannot be loaded, or is not that of the runs that are known.
        """
        ...


def describe(error: BaseException) -> str:
    """One line for a failed run."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
