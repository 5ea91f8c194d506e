"""A picture: panels of one kind with one heading, drawn all in one figure, or each in one of its own."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from junkdna_harness.report.style import SCREEN, Theme, file_part, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LETTER, _KEY = 0.075, 0.6  # inches in a legend: of a letter, of the line before them
_ROW = 0.19  # inches of a row of a legend
_EDGE, _NUMBERED, _LABELLED = (
    0.1,
    0.34,
    0.48,
)  # inches about axes: above and right; below with numbers; with a label too
# Entries that are no series; they come last in a legend.
DENSE, CHANCE, MATCHED, SEEDS = "dense", "chance", "matched loss", "seeds"
_LAST = (DENSE, MATCHED, SEEDS, CHANCE)


@dataclass(frozen=True)
class Panel:
    """One panel: its title, and what draws it into axes of its own. `file`: what its file's name ends in, else the title."""

    title: str
    draw: Callable[[Axes], None]
    file: str = ""


@dataclass(frozen=True)
class Picture:
    """`heading`: what is shown; `counted`: of which model, on how many items. `size` of one panel, inches.

    `label`: of the vertical axis, which `share` says that all have; it then stands at the first panel of a row. `note`: above
    the legend. `left`: inches that numbers and label take at the left of a panel that stands alone, where they are known; a
    panel is then laid out without drawing it twice.
    """

    name: str
    heading: str
    counted: str
    panels: tuple[Panel, ...]
    size: tuple[float, float]
    label: str = ""
    share: bool = True
    note: str = ""
    left: float | None = None

    @property
    def alt(self) -> str:
        """The picture in words."""
        return f"{self.heading}. {self.counted}" if self.counted else self.heading

    def whole(self, theme: Theme = SCREEN) -> Figure:
        """All panels in one figure, under the heading."""
        import matplotlib
        from matplotlib.figure import Figure

        width, height = self.size
        across = _across(len(self.panels), width)
        down = -(-len(self.panels) // across)
        with matplotlib.rc_context(dict(theme.style)):
            figure = Figure(figsize=(max(6.0, across * width + 0.6), down * height + 1.1))
            grid = figure.subplots(down, across, sharey=self.share, squeeze=False)
            for axes in grid.flat[len(self.panels) :]:
                axes.remove()
            for k, (axes, panel) in enumerate(zip(grid.flat, self.panels, strict=False)):
                panel.draw(axes)
                axes.set_title(panel.title)
                if k % across == 0:
                    axes.set_ylabel(self.label)
            _legend(figure, self.note)
            letters = int(figure.get_figwidth() * 12.5)
            lines = [*_even(self.heading, letters), *_even(self.counted, letters)]
            figure.suptitle("\n".join(lines), fontsize=10)
        return figure

    def apart(self, theme: Theme = SCREEN) -> Iterator[tuple[str, str, Figure]]:
        """(end of its file's name, title, figure) of each panel; no figure has a title."""
        import matplotlib
        from matplotlib.figure import Figure

        width, height = self.size
        if theme.width is not None:
            width, height = theme.width, height * min(1.0, theme.width / width)
        seen: set[str] = set()
        for number, panel in enumerate(self.panels, 1):
            ending = file_part(panel.file or panel.title) if len(self.panels) > 1 else ""
            if ending in seen or (not ending and len(self.panels) > 1):
                ending += f"_{number}"
            seen.add(ending)
            # Without a layout engine from the start: one that is taken off leaves another, for which matplotlib draws all twice.
            style = {**theme.style, "figure.constrained_layout.use": self.left is None}
            with matplotlib.rc_context(style):
                figure = Figure(figsize=(width, height))
                axes = figure.add_subplot()
                panel.draw(axes)
                axes.set_ylabel(self.label)
                rows = _legend(figure, self.note, grow=True)
                if self.left is not None:
                    _place(axes, self.left, rows)
            yield ending, panel.title, figure


def _even(text: str, most: int) -> list[str]:
    """`text` in as few lines as fit, all about as long."""
    lines = -(-len(text) // most)
    return textwrap.wrap(text, min(most, len(text) // lines + 12)) if text else []


def _across(count: int, width: float) -> int:
    """Panels in a row: at most three, two where they are wide, four small ones where there are four."""
    if count == 4:
        return 2 if width > 3.2 else 4
    return min(count, 2 if width > 4.5 else 3)


def _place(axes: Axes, left: float, rows: int) -> None:
    """The axes within their figure, above `rows` of a legend."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    width, height = figure.get_size_inches()
    bottom = _ROW * rows + (_LABELLED if axes.get_xlabel() else _NUMBERED)
    axes.set_position(
        (left / width, bottom / height, 1 - (left + _EDGE) / width, 1 - (bottom + _EDGE) / height)
    )


def _legend(figure: Figure, note: str, grow: bool = False) -> int:
    """What the lines of all panels mean, each once, below them; the rows that it takes. `grow`: the figure gets higher by it."""
    known: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            known.setdefault(label, handle)
    labels = sorted(known, key=lambda label: _LAST.index(label) + 1 if label in _LAST else 0)
    if not labels:
        return 0
    width, height = figure.get_size_inches()
    widest = _KEY + _LETTER * max(map(len, labels))
    columns = max(1, min(len(labels), int(width / widest)))
    rows = -(-len(labels) // columns) + bool(note)
    if grow:
        figure.set_size_inches(width, height + _ROW * rows)
    figure.legend(
        [known[label] for label in labels],
        labels,
        loc="lower center" if figure.get_layout_engine() is None else "outside lower center",
        ncols=columns,
        title=note or None,
        title_fontsize=8 if grow else 8.5,
        handlelength=2.6,
        columnspacing=1.0,
        borderpad=0.1,
    )
    return rows


def counted(model: str, n_items: int, n_families: int) -> str:
    """Of what a picture is."""
    return (
        f"{shorten(model, 60)}, {n_items:,} items, {n_families} {'family' if n_families == 1 else 'families'}"
    )
