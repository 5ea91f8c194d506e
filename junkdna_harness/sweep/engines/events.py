"""What an engine tells while it works: one small class for each thing that happens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from junkdna_harness.sweep.fingerprint import Fingerprint
from junkdna_harness.sweep.plan import Plan, PlannedRun

if TYPE_CHECKING:
    from junkdna_harness.sweep.evaluated import Evaluated
    from junkdna_harness.sweep.session import Session


@dataclass(frozen=True)
class Loaded:
    """A model and its tasks are loaded; told by each process that loads one, before its first run is stored.

    `items` is parquet, `tasks` lm-eval's facts, `seconds` by what took them, `requests` those of one run; `notes` are sentences
    on what was seen while it was loaded.
    """

    model: int
    items: bytes
    tasks: Mapping[str, Any]
    fingerprint: Fingerprint
    seconds: Mapping[str, float]
    requests: int
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, session: Session) -> Loaded:
        """The event that a session is open."""
        seconds = {"load": session.seconds_loading, "build": session.seconds_building}
        return cls(
            session.model,
            session.items,
            session.tasks,
            session.fingerprint,
            seconds,
            session.suite.n_requests,
            session.notes,
        )


@dataclass(frozen=True)
class Started:
    """A run has begun."""

    cell: PlannedRun


@dataclass(frozen=True)
class Progress:
    """`count` more requests are answered."""

    count: int


@dataclass(frozen=True)
class Finished:
    """A run has ended well."""

    cell: PlannedRun
    result: Evaluated


@dataclass(frozen=True)
class Failed:
    """A run could not be made or evaluated; `error` is one line."""

    cell: PlannedRun
    error: str


@dataclass(frozen=True)
class Noted:
    """Something that a person should know, in a sentence; told by the sweep itself, not by engines."""

    text: str


@dataclass(frozen=True)
class Extended:
    """The plan has grown by `cells`, which are run next; `why` is a sentence. Told by the sweep itself."""

    plan: Plan
    cells: tuple[PlannedRun, ...]
    why: str


Event = Loaded | Started | Progress | Finished | Failed | Noted | Extended
Tell = Callable[[Event], None]
