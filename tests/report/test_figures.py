"""Figures are the same bytes wherever they are finished, and a process that dies takes none with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from junkdna_harness.report import figures
from junkdna_harness.report.figures import Finisher, finish


def figure() -> Figure:
    made = Figure(figsize=(2, 2))
    made.add_subplot().plot([0, 1], [1, 0])
    made.suptitle("two\nlines")
    return made


def test_a_process_beside_gives_the_same_plot_and_its_death_takes_none_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(figures, "_is_our_command", lambda: True)
    here = finish("a", figure())
    assert here.alt == "two lines" and here.png.startswith(b"\x89PNG") and b"<svg" in here.svg
    with Finisher(beside=True) as finisher:
        finisher.add("a", figure())
        assert finisher._pool is not None
        assert finisher.plots() == {"a": here}
        (process,) = finisher._pool._processes.values()
        finisher.add("b", figure())
        os.kill(process.pid, signal.SIGKILL)
        finisher.add("c", figure())
        assert [plot.svg for plot in finisher.plots().values()][1:] == [here.svg] * 2


def test_no_process_is_started_from_a_script_that_would_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    import __main__

    for file, ours in (("train.py", False), (None, False), (str(Path("bin", "junkdna")), True)):
        monkeypatch.setattr(__main__, "__file__", file, raising=False)
        assert figures._is_our_command() is ours


KILLED = """
import os, signal
from junkdna_harness.report import figures

if __name__ == "__main__":
    figures._is_our_command = lambda: True
    finisher = figures.Finisher(beside=True)
    finisher._pool.submit(figures._ready).result()
    print(*finisher._pool._processes, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_process_beside_ends_with_a_caller_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    # The process beside holds the pipe too, so that this returns when both have ended.
    done = subprocess.run([sys.executable, str(script)], stdout=subprocess.PIPE, timeout=30)
    assert done.returncode == -signal.SIGKILL and done.stdout.strip().isdigit()


def test_pixels_are_left_out_where_nobody_wants_them() -> None:
    finisher = Finisher(png=False)
    finisher.add("a", figure())
    (plot,) = finisher.plots().values()
    assert plot.png == b"" and plot.svg == finish("a", figure()).svg
