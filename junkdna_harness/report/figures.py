"""Pictures as SVG, PNG and PDF: finished in this process, or in one beside it, so that they are drawn while the rest is computed."""

from __future__ import annotations

import io
import multiprocessing
import os
import re
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from difficulty.files import write_atomic
from difficulty.visible import visible
from junkdna_harness.report.style import FALLBACK, ON_PAGE, SCREEN, STYLE, Theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from junkdna_harness.report.picture import Picture

FORMATS = ("png", "svg", "pdf")
_SAVED: Mapping[str, dict[str, Any]] = {
    "svg": {"metadata": {"Date": None, "Creator": "junkdna-harness"}, "transparent": True},
    "pdf": {"metadata": {"CreationDate": None, "Creator": "junkdna-harness"}},
    "png": {"metadata": {"Software": "junkdna-harness"}, "dpi": 150},
}


@dataclass(frozen=True)
class Plot:
    """A finished picture. `alt` says in words what it shows; a format that was not asked for is empty.

    `panels`: its panels, each a plot of its own whose `alt` is the panel's title; empty where they were not asked for.
    """

    name: str
    alt: str
    svg: bytes = b""
    png: bytes = b""
    pdf: bytes = b""
    panels: tuple[Plot, ...] = ()


def finish(
    name: str,
    figure: Figure,
    formats: Sequence[str] = FORMATS,
    alt: str | None = None,
    style: Mapping[str, Any] = STYLE,
) -> Plot:
    """The figure as a plot, its title being the words for it unless `alt` is; the same figure gives the same bytes."""
    import matplotlib
    from matplotlib.text import Text

    for text in figure.findobj(Text):  # an SVG holds them as comments
        text.set_text(visible(text.get_text()))
    made = {}
    with matplotlib.rc_context(dict(style)):
        for ending in formats:
            data = io.BytesIO()
            figure.savefig(data, format=ending, **_SAVED[ending])
            made[ending] = data.getvalue()
            if ending == "svg" and style["svg.fonttype"] == "none":
                made[ending] = _FONT.sub(rb"\1" + FALLBACK, made[ending])
    words = (figure.get_suptitle() or name) if alt is None else alt
    return Plot(
        name,
        words.replace("\n", " "),
        made.get("svg", b""),
        made.get("png", b""),
        made.get("pdf", b""),
    )


_FONT = re.compile(rb"""(<text style="font[^">]*)'DejaVu Sans'""")
_Asked = tuple[str, "Figure", Sequence[str], str, Mapping[str, Any]]
_Job = tuple[_Asked, "Future[Plot] | None"]


class Finisher(AbstractContextManager["Finisher"]):
    """Finishes pictures as files (`files`: whole, or panel by panel where the `theme` says so) and panel by panel for a `page`.

    `beside`: in a process of its own, which loads matplotlib while the caller does something else. Where no such process can
    be had, or it dies, the figures are finished in this one.
    """

    def __init__(
        self, files: bool = True, page: bool = True, theme: Theme = SCREEN, beside: bool = False
    ) -> None:
        self._whole = files and not theme.apart
        self._panels: Sequence[str] = FORMATS if files and theme.apart else ("svg",) if page else ()
        self._panel_style = theme.style if files and theme.apart else {**theme.style, **ON_PAGE}
        self._theme = theme
        self._given: dict[str, tuple[str, _Job | None, list[_Job]]] = {}
        self._pool: ProcessPoolExecutor | None = None
        if beside and _is_our_command() and (os.cpu_count() or 1) > 1:
            with suppress(OSError):  # no semaphores, as in some sandboxes
                self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _begin)
                self._pool.submit(_ready)  # starts it

    def add(self, name: str, picture: Picture) -> None:
        """Take a picture; each has a name of its own."""
        whole = (
            self._start((name, picture.whole(self._theme), FORMATS, picture.alt, self._theme.style))
            if self._whole
            else None
        )
        panels = []
        if self._panels:
            for ending, title, figure in picture.apart(self._theme):
                panels.append(self._start((name + ending, figure, self._panels, title, self._panel_style)))
        self._given[name] = picture.alt, whole, panels

    def _start(self, asked: _Asked) -> _Job:
        if self._pool is not None:
            with suppress(BrokenProcessPool):
                return asked, self._pool.submit(finish, *asked)
        return asked, None

    def plots(self) -> dict[str, Plot]:
        """The plots of all pictures that were added, by name."""
        found = {}
        for name, (alt, whole, panels) in self._given.items():
            made = Plot(name, alt) if whole is None else _end(whole)
            found[name] = replace(made, panels=tuple(_end(panel) for panel in panels))
        return found

    def __exit__(self, *error: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def _end(job: _Job) -> Plot:
    asked, future = job
    if future is not None:
        with suppress(BrokenProcessPool):
            return future.result()
    return finish(*asked)


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
    """Write each plot, or its panels where only they were made as files, as PNG, SVG and PDF into `folder`; the paths."""
    paths = []
    for plot in made:
        for one in [plot] if plot.svg else plot.panels:
            for ending, data in (("png", one.png), ("svg", one.svg), ("pdf", one.pdf)):
                if data:
                    path = Path(folder) / f"{prefix}{one.name}.{ending}"
                    write_atomic(path, data)
                    paths.append(path)
    return paths
