"""The paper's panels with our curves over them: the paper's dashed and hollow, ours in full lines and filled, one colour per series."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from junkdna_harness.report.picture import CHANCE, Picture
from junkdna_harness.report.picture import Panel as Axis
from junkdna_harness.report.style import GREY, MARKERS, NAMES, shorten
from junkdna_harness.study.against.compare import SCALES, Beside, Drawn, Panel
from junkdna_harness.study.against.curve import Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIZE = (3.9, 3.0)
_LONGEST = 52  # characters of an entry of a legend
_LABELS = {SCALES[0]: "% of the dense score", SCALES[1]: "% of the dense score above chance"}


def pictures(beside: Beside) -> list[Picture]:
    """A picture of every figure as drawn, and one with chance taken off where chance is known."""
    found = []
    for figure, panels in groupby(beside.panels, key=lambda panel: panel.figure):
        drawn = list(panels)
        for scale in SCALES:
            axes = tuple(
                Axis(shorten(panel.name, 40), partial(_panel, panel, scale))
                for panel in drawn
                if any(one.paper[scale].levels for one in panel.drawn)
            )
            if axes and (scale == SCALES[0] or _differs(drawn)):
                heading = f"{figure}: the paper dashed and hollow, {beside.model} in full lines; bars 95 %"
                heading += "" if scale == SCALES[0] else "; what guessing gives taken off all scores"
                found.append(Picture(figure, heading, "", axes, _SIZE, _LABELS[scale]))
    return found


def _differs(panels: Sequence[Panel]) -> bool:
    """Whether taking chance off changes any curve of some panels."""
    return any(curve.floor for panel in panels for one in panel.drawn for curve in _all(one, SCALES[0]))


def _all(one: Drawn, scale: str) -> list[Curve]:
    return [one.paper[scale], *(c.raw if scale == SCALES[0] else c.corrected for c in one.ours)]


def _panel(panel: Panel, scale: str, axes: Axes) -> None:
    patterns: dict[float, str] = {}
    top = 1.05
    for k, one in enumerate(panel.drawn):
        colour, marker = NAMES[k % len(NAMES)], MARKERS[k % len(MARKERS)]
        for number, curve in enumerate(_all(one, scale)):
            if not curve.levels:
                continue
            patterns |= {level.sparsity: level.pattern for level in curve.levels}
            top = max(top, float(np.nanmax(np.where(np.isfinite(curve.high), curve.high, curve.kept))))
            style = ("--", "-", ":")[min(number, 2)]
            _line(axes, curve, colour, marker, style, shorten(curve.label, _LONGEST), hollow=number == 0)
            if curve.floor:
                axes.axhline(100 * curve.floor, color=colour, linewidth=0.7, linestyle=style, alpha=0.45)
    if scale == SCALES[0] and any(curve.floor for one in panel.drawn for curve in _all(one, scale)):
        axes.plot([], [], color=GREY, linewidth=0.7, label=CHANCE)
    axes.set_ylim(-5 if scale == SCALES[0] else -25, 100 * min(top, 1.35) + 5)
    axes.set_xlim(0, 100)
    axes.set_xlabel("% of weights removed")
    if all(patterns.values()):
        at = sorted(patterns)
        axes.set_xticks([100 * x for x in at], [patterns[x] for x in at])
        axes.set_xlabel("N:M, N weights kept")


def _line(axes: Axes, curve: Curve, colour: str, marker: str, style: str, label: str, hollow: bool) -> None:
    bars = None
    if curve.bounded:
        bars = 100 * np.clip(np.array([curve.kept - curve.low, curve.high - curve.kept]), 0.0, 10.0)
    axes.errorbar(
        100 * curve.x, 100 * curve.kept, yerr=bars, color=colour, marker=marker, linestyle=style, label=label, markersize=4.5,
        markerfacecolor="white" if hollow else colour, linewidth=1.2, elinewidth=0.8, capsize=1.5,
    )  # fmt: skip
