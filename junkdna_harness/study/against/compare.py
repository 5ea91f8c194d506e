"""`against`: a finished study beside the points of a paper, all that its page, tables and pictures show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from junkdna_harness.study.against.agree import (
    LEAST_LEVELS,
    MARKS,
    Agreement,
    First,
    agreement,
    first,
    order_agreement,
)
from junkdna_harness.study.against.bounds import curve_of
from junkdna_harness.study.against.curve import Curve
from junkdna_harness.study.against.ours import Ours, read_study
from junkdna_harness.study.against.panels import Counterpart, counterparts
from junkdna_harness.study.against.points import Series, read_points
from junkdna_harness.study.against.readings import Reading, Steps, readings, remarks, steps
from junkdna_harness.study.against.roles import pairs, panels
from junkdna_harness.study.against.setups import setups

SCALES = ("as drawn", "chance off")


@dataclass(frozen=True)
class Drawn:
    """One series of the paper and ours beside it: `paper` and each counterpart as drawn and with chance taken off.

    `compared`: the nearest counterpart with enough levels in common, else the one with most; `agreements`: scale -> what came out. `missing`: why there is none.
    """

    series: Series
    paper: Mapping[str, Curve]
    ours: tuple[Counterpart, ...] = ()
    compared: Counterpart | None = None
    agreements: Mapping[str, Agreement] = field(default_factory=dict)
    missing: str = ""


@dataclass(frozen=True)
class Ordered:
    """At one mark and on one scale: which of a pair falls first, in the paper and with us, and whether that agrees."""

    keeps: str
    loses: str
    scale: str
    mark: float
    paper: First
    ours: First
    verdict: str
    reason: str


@dataclass(frozen=True)
class Panel:
    """A panel of the paper with ours over it."""

    figure: str
    name: str
    drawn: tuple[Drawn, ...]
    orders: tuple[Ordered, ...]


@dataclass(frozen=True)
class Beside:
    """One model (or trainings of one) beside the paper. `setups`: how each figure was made, and ours, see `setups`."""

    model: str
    panels: tuple[Panel, ...]
    setups: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Comparison:
    """`source`: the file of points. `readings`, `steps`, `remarks`: what the paper's curves show by themselves."""

    source: Path
    folder: Path
    points: tuple[Series, ...] = field(repr=False)
    readings: tuple[Reading, ...]
    steps: tuple[Steps, ...]
    remarks: tuple[str, ...]
    beside: tuple[Beside, ...]


def compare(folder: Path, source: Path) -> Comparison:
    """Read both and compare them.

    Raises:
        UsageError: the file cannot be understood, or the folder holds no finished study.
    """
    points = read_points(source)
    found = tuple(_beside(ours, points) for ours in read_study(folder))
    return Comparison(
        source,
        folder,
        tuple(points),
        tuple(readings(points)),
        tuple(steps(points)),
        tuple(remarks(points)),
        found,
    )


def _beside(ours: Ours, points: Sequence[Series]) -> Beside:
    name = ours.name if len(ours.models) == 1 else f"{ours.name} ({len(ours.models)} trainings)"
    return Beside(name, tuple(_panel(ours, panel) for panel in panels(points)), setups(ours, points))


def _panel(ours: Ours, panel: Sequence[Series]) -> Panel:
    drawn = tuple(_drawn(ours, panel, series) for series in panel)
    by_name = {one.series.name: one for one in drawn}
    orders = [
        order
        for pair in pairs(panel)
        for order in _orders(by_name[pair.keeps.name], by_name[pair.loses.name])
    ]
    return Panel(panel[0].figure, panel[0].panel, drawn, tuple(orders))


def _drawn(ours: Ours, panel: Sequence[Series], series: Series) -> Drawn:
    paper = dict(zip(SCALES, (curve_of(series), curve_of(series, corrected=True)), strict=True))
    found = counterparts(ours, panel, series)
    if isinstance(found, str):
        return Drawn(series, paper, missing=found)
    agreed = [
        {s: agreement(paper[s], c) for s, c in _scales(one).items() if paper[s].levels} for one in found
    ]
    levels = [min(one[SCALES[0]].n, LEAST_LEVELS) for one in agreed]
    best = levels.index(max(levels))  # the nearest to the paper of those that can be judged
    return Drawn(series, paper, tuple(found), found[best], agreed[best])


def _scales(one: Counterpart) -> dict[str, Curve]:
    return dict(zip(SCALES, (one.raw, one.corrected), strict=True))


def _orders(keeps: Drawn, loses: Drawn) -> list[Ordered]:
    """The order of a pair at each mark and scale, where ours has both of the same treatment."""
    a, b = keeps.compared, loses.compared
    if a is None or b is None or a.trained != b.trained:
        return []
    found = []
    for scale in SCALES:
        if not (keeps.paper[scale].levels and loses.paper[scale].levels):
            continue
        for mark in MARKS:
            theirs = first(keeps.paper[scale], loses.paper[scale], mark)
            mine = first(_scales(a)[scale], _scales(b)[scale], mark)
            verdict, reason = order_agreement(theirs, mine)
            found.append(
                Ordered(keeps.series.name, loses.series.name, scale, mark, theirs, mine, verdict, reason)
            )
    return found
