"""Where runs are computed. An engine tells an event for each thing that happens; the listener alone writes the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from junkdna_harness.sweep.engines.events import (
    Event,
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
    "Engine", "Event", "Failed", "Finished", "Loaded", "Noted", "Progress", "Started", "Tell", "Work", "describe",
]  # fmt: skip


@dataclass(frozen=True)
class Work:
    """What an engine is given: the `cells` of `plan` that are to be run, for the sweep in `folder` (None: not on this disk).

    `known`: model -> the fingerprint of the runs that are there already. A model with another one is refused.
    """

    plan: Plan
    cells: Sequence[PlannedRun]
    machine: Machine
    folder: Path | None
    known: Mapping[int, Fingerprint] = field(default_factory=dict)

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
