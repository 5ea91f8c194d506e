"""Figures as SVG and PNG: in this process, or in one beside it, so that they are drawn while the rest is computed."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from difficulty.files import write_atomic
from difficulty.visible import visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE = {
    "text.parse_math": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "junkdna",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}


@dataclass(frozen=True)
class Plot:
    """A finished picture. `alt` says in words what it shows; `png` is empty where it was not asked for."""

    name: str
    alt: str
    svg: bytes
    png: bytes


def finish(name: str, figure: Figure, png: bool = True) -> Plot:
    """The figure as a plot, its title being the words for it; the same figure gives the same bytes."""
    import matplotlib
    from matplotlib.text import Text

    for text in figure.findobj(Text):  # an SVG holds them as comments
        text.set_text(visible(text.get_text()))
    title = figure.get_suptitle() or name
    svg, pixels = io.BytesIO(), io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(
            svg, format="svg", transparent=True, metadata={"Date": None, "Creator": "junkdna-harness"}
        )
        if png:
            figure.savefig(pixels, format="png", dpi=150, metadata={"Software": "junkdna-harness"})
    return Plot(name, title.replace("\n", " "), svg.getvalue(), pixels.getvalue())


class Finisher(AbstractContextManager["Finisher"]):
    """Finishes figures.

    `beside`: in a process of its own, which loads matplotlib while the caller does something else. Where no such process can
    be had, or it dies, the figures are finished in this one.
    """

    def __init__(self, png: bool = True, beside: bool = False) -> None:
        self._png = png
        self._given: dict[str, tuple[Figure, Future[Plot] | None]] = {}
        self._pool: ProcessPoolExecutor | None = None
        if beside and _is_our_command() and (os.cpu_count() or 1) > 1:
            with suppress(OSError):  # no semaphores, as in some sandboxes
                self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _begin)
                self._pool.submit(_ready)  # starts it

    def add(self, name: str, figure: Figure) -> None:
        """Take a figure; each has a name of its own."""
        future = None
        if self._pool is not None:
            with suppress(BrokenProcessPool):
                future = self._pool.submit(finish, name, figure, self._png)
        self._given[name] = figure, future

    def plots(self) -> dict[str, Plot]:
        """The plots of all figures that were added, by name."""
        return {name: self._plot(name, *given) for name, given in self._given.items()}

    def _plot(self, name: str, figure: Figure, future: Future[Plot] | None) -> Plot:
        if future is not None:
            with suppress(BrokenProcessPool):
                return future.result()
        return finish(name, figure, self._png)

    def __exit__(self, *error: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def _is_our_command() -> bool:
    """Whether the main module may be imported by a process beside this one: another's script might do all its work again."""
    main = getattr(sys.modules["__main__"], "__file__", None)
    return main is not None and Path(main).stem in ("junkdna", "cli")


def _begin() -> None:
    """A process beside begins: an interrupt is the caller's to answer, and it ends with the caller, also where that is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_caller, daemon=True).start()
    _ready()


def _end_with_caller() -> None:
    caller = multiprocessing.parent_process()
    if caller is not None:
        caller.join()
        os._exit(1)


def _ready() -> None:
    """Load what figures need."""
    import matplotlib.backends.backend_svg
    import matplotlib.figure  # noqa: F401


def write_plots(made: Sequence[Plot], folder: str | Path, prefix: str = "") -> list[Path]:
    """Write each plot as PNG and SVG into `folder`; the paths."""
    paths = []
    for plot in made:
        for ending, data in (("png", plot.png), ("svg", plot.svg)):
            path = Path(folder) / f"{prefix}{plot.name}.{ending}"
            write_atomic(path, data)
            paths.append(path)
    return paths
