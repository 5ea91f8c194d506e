"""How far a run is, on stderr: a bar at a terminal, a line a minute in a pipe or a file.

One mechanism for everything that takes long. It starts no thread (sweeps fork), looks at the clock alone between two redraws, and
never touches stdout, which may be data.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any

from junkdna_harness.presentation.amounts import time_span
from junkdna_harness.presentation.console import console, say

REDRAW = 0.1  # seconds between two redraws of a bar
LINE_EVERY = 60.0  # seconds between two lines in a pipe
EARLY, EARLY_SHARE = (
    3.0,
    0.02,
)  # seconds and share of the work from which the whole is estimated; of slow work ten times the seconds


class Meter:
    """One bar, or its lines. `what` names the work; `total` counts `unit`, None where it is not known yet.

    `estimated`: is told once, in words, how long the whole will take, as soon as that can be measured; not where it takes seconds.
    """

    def __init__(
        self, what: str, total: float | None = None, unit: str = "", estimated: Callable[[str], None] | None = None
    ) -> None:  # fmt: skip
        self.what, self.total, self.unit, self.estimated = what, total, unit, estimated
        self.done = self.worked = 0.0
        self.work: float | None = None  # of all, where parts take unequally long
        self.told = ""
        self._begun: tuple[float, float] | None = None  # when the first part was done, and how much it was
        self._shown = time.monotonic()
        self._bar: Any = None

    def __enter__(self) -> Meter:
        target = console(stderr=True, soft_wrap=True)
        if target.is_terminal and not target.is_dumb_terminal:
            self._bar = _bar(target)
            self._task = self._bar.add_task(self.what, total=self.total, told="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def start(self, what: str, unit: str = "", estimated: Callable[[str], None] | None = None) -> None:
        """Begin another work, whose time is measured anew."""
        self.estimated = estimated
        self.what, self.unit, self.total, self.told, self.done, self.worked = what, unit, None, "", 0.0, 0.0
        self._begun = None

    def move(
        self, done: float, total: float | None = None, what: str | None = None, told: str | None = None
    ) -> None:
        """`done` of `total` are done; `what` is at work, and `told` (a loss, a rate) stands beside."""
        self.done, self.worked = done, done
        self._change(total, what, told)

    def add(self, count: float = 1, work: float | None = None, what: str | None = None) -> None:
        """`count` more are done, which were `work` of all the work, where parts take unequally long."""
        self.done += count
        self.worked += count if work is None else work
        self._change(None, what, None)

    def say(self, text: str) -> None:
        """A line on stderr, above the bar where there is one."""
        if self._bar is None:
            say(text, stderr=True)
        else:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

    @property
    def left(self) -> float | None:
        """Seconds that are left, as measured since the first part was done; None where nothing is known."""
        whole = self.total if self.work is None else self.work
        if self._begun is None or not whole or self.worked <= self._begun[1]:
            return None
        pace = (time.monotonic() - self._begun[0]) / (self.worked - self._begun[1])
        return max(0.0, whole - self.worked) * pace

    def line(self) -> str:
        """Where the work is, in words."""
        unit = f" {self.unit}" if self.unit else ""
        many = f"{self.done:,.0f}" + (f" of {self.total:,.0f}" if self.total else "") + unit
        left = self.left
        return ", ".join(
            filter(None, (many, self.told, "" if left is None else f"about {time_span(left)} left"))
        )

    def _change(self, total: float | None, what: str | None, told: str | None) -> None:
        self.total = self.total if total is None else total
        self.what = self.what if what is None else what
        self.told = self.told if told is None else told
        now = time.monotonic()
        if self._begun is None:
            # The first part tells when work began, not how fast it is: much is read and laid out before it.
            self._begun = (now, self.worked) if self.worked else None
        self._estimate(now)
        every = LINE_EVERY if self._bar is None else REDRAW
        if now - self._shown < every:
            return
        self._shown = now
        if self._bar is None:
            say(f"{self.what}: {self.line()}", stderr=True)
            return
        self._bar.update(
            self._task, description=self.what, completed=self.done, total=self.total, told=self.line()
        )
        self._bar.refresh()

    def _estimate(self, now: float) -> None:
        """Tell how long all will take, once a part is done that says so."""
        left = self.left
        if self._begun is None or left is None or self.estimated is None:
            return
        spent, whole = now - self._begun[0], self.total if self.work is None else self.work
        share = (self.worked - self._begun[1]) / (whole or math.inf)
        if spent < EARLY or (share < EARLY_SHARE and spent < 10 * EARLY):
            return
        tell, self.estimated = self.estimated, None
        tell(f"about {time_span(spent + left)} (an estimate, from the first {time_span(spent)})")


def _bar(target: Any) -> Any:
    from rich.progress import BarColumn, Progress, TextColumn

    # Without a thread of its own; and what is printed on stdout stays there, unless both are one terminal.
    return Progress(
        TextColumn("{task.description}", markup=False), BarColumn(bar_width=20), TextColumn("{task.fields[told]}", markup=False),
        console=target, transient=True, auto_refresh=False, redirect_stdout=sys.stdout.isatty(),
    )  # fmt: skip


class Tqdm:
    """What lm-eval calls `tqdm`, shown as everything else: its bars fill a log with carriage returns, or a screen with one bar per task."""

    def __init__(
        self, iterable: Iterable[Any] | None = None, desc: str | None = None, total: float | None = None, disable: bool | None = False,
        **_: Any,
    ) -> None:  # fmt: skip
        if total is None and hasattr(iterable, "__len__"):
            total = len(iterable)  # type: ignore[arg-type]
        self.iterable, self.disable, self.n = iterable, bool(disable), 0
        self.meter = Meter((desc or "lm_eval").strip().rstrip(":"), total)
        if not self.disable:
            self.meter.__enter__()

    def __iter__(self) -> Iterator[Any]:
        try:
            for one in self.iterable or ():
                yield one
                self.update()
        finally:
            self.close()

    def __enter__(self) -> Tqdm:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def update(self, n: float = 1) -> None:
        """`n` more are done."""
        self.n += int(n)
        if not self.disable:
            self.meter.add(n)

    def close(self) -> None:
        """End the bar."""
        if not self.disable:
            self.disable = True
            self.meter.__exit__(None, None, None)

    def set_description(self, desc: str | None = None, **_: Any) -> None:
        """Name the work."""
        self.meter.what = desc or self.meter.what


def shown_at_a_terminal() -> bool:
    """Whether stderr is a terminal, where a bar may move."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
