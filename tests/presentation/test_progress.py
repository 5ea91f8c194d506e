"""Progress: a line a minute in a pipe, a bar at a terminal, and never a character on stdout."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from junkdna_harness.presentation import progress
from junkdna_harness.presentation.progress import Meter, Tqdm

WORK = """
import sys
from junkdna_harness.presentation import progress
progress.REDRAW = progress.LINE_EVERY = 0.0
with progress.Meter("embedded wanda 0.5", 4, "requests") as meter:
    for step in range(4):
        meter.add()
        meter.move(meter.done, told="loss 0.25")
        print('{"step": %d}' % step)
    meter.say("a line above")
"""
DATA = "".join(f'{{"step": {step}}}\n' for step in range(4))


def test_in_a_pipe_there_are_lines_and_no_carriage_returns() -> None:
    run = subprocess.run([sys.executable, "-c", WORK], capture_output=True, check=True, text=True)
    assert run.stdout == DATA
    assert "\r" not in run.stderr
    lines = run.stderr.splitlines()
    assert lines[-1] == "a line above"
    assert lines[-2].startswith("embedded wanda 0.5: 4 of 4 requests, loss 0.25, about 1 s left")


def test_at_a_terminal_there_is_a_bar_and_data_in_a_pipe_stay_data() -> None:
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    run = subprocess.run(
        [sys.executable, "-c", WORK],
        stdout=subprocess.PIPE, stderr=theirs, stdin=theirs, check=True, text=True, env=environment,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while chunk := _read(ours):
        shown += chunk
    os.close(ours)
    assert run.stdout == DATA
    assert b"embedded wanda 0.5" in shown
    assert "━".encode() in shown
    assert b"4 of 4 requests, loss 0.25" in shown
    assert b"a line above" in shown


def _read(ours: int) -> bytes:
    try:
        return os.read(ours, 65536)
    except OSError:  # the other end is closed, and all is read
        return b""


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(progress, "time", found)
    return found


def test_a_line_a_minute_with_the_time_that_is_left(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Meter("run", 1000, "requests") as meter:
        for _ in range(1000):
            meter.add()
            clock.now += 0.18
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert len(lines) == 2  # in three minutes; the end is told by whoever began
    assert lines[0] == "run: 335 of 1,000 requests, about 2 min left"


def test_the_whole_is_estimated_once_and_early(clock: Clock) -> None:
    told: list[str] = []
    with Meter("run", 1000, "requests", told.append) as meter:
        clock.now += 50.0  # loading is no work
        for _ in range(200):
            meter.add()
            clock.now += 0.5
    assert told == ["about 8 min (an estimate, from the first 10 s)"]


def test_work_of_seconds_is_not_estimated(clock: Clock) -> None:
    told: list[str] = []
    with Meter("run", 10, "requests", told.append) as meter:
        for _ in range(10):
            meter.add()
            clock.now += 0.2
    assert told == []


def test_a_training_that_goes_on_is_not_timed_by_the_steps_it_had(clock: Clock) -> None:
    with Meter("run", 100, "steps") as meter:
        meter.move(90)
        clock.now += 10.0
        meter.move(91)
        assert meter.left == 90.0


def test_bars_of_lm_eval_are_shown_as_ours(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(Tqdm(range(3), desc="Building")) == [0, 1, 2]
    with Tqdm(total=10, desc="Running") as bar:
        clock.now += 70.0
        bar.update(5)
        bar.update(1)
    assert bar.n == 6
    assert capsys.readouterr().err == "Running: 5 of 10\n"
