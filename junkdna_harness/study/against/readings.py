"""What a paper's own curves show once their points have intervals: who lost more where, which rises are no noise, what floors explain.

A pair of series is compared level by level: the second is *shown* to have lost more where the 95 % interval of the difference of
what is left lies above 0 (each level by itself, not corrected for their number).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from junkdna_harness.study.against.bounds import (
    at_floor,
    curve_of,
    difference,
    rise,
    what_is_assumed,
    why_no_interval,
)
from junkdna_harness.study.against.curve import Curve, Level, key
from junkdna_harness.study.against.points import Series
from junkdna_harness.study.against.roles import Pair, controls, pairs, panels, role_of

MORE, LESS, OPEN = "more", "less", "open"
_SAME = 6e-5  # two digitised values that are one: their last digit
_REPEATED = 3  # so many of a series in a row are no accident


@dataclass(frozen=True)
class Order:
    """How the second series of a pair stands to the first, level by level.

    `values`: at how many of the levels it is lower. `states`: level -> more (shown to have lost more), less, or open; empty where there
    are no intervals. `largest`: (level, difference, low, high), the difference that is surest above 0.
    """

    n: int
    values: int
    states: dict[Level, str] = field(default_factory=dict)
    largest: tuple[Level, float, float, float] | None = None

    def levels(self, state: str) -> list[Level]:
        """The levels of a state."""
        return [level for level, found in self.states.items() if found == state]


@dataclass(frozen=True)
class Reading:
    """A pair of a panel: its order as drawn (`raw`), and with floors taken off (`corrected`, None where they are not known)."""

    figure: str
    panel: str
    keeps: str
    loses: str
    what: str
    raw: Order
    corrected: Order | None
    why_not: str
    assumed: str
    control: str

    @property
    def explained(self) -> list[Level]:
        """Levels at which it is shown as drawn, and not with floors taken off."""
        if self.corrected is None:
            return []
        left = self.corrected.states
        return [level for level in self.raw.levels(MORE) if left.get(level) != MORE]


@dataclass(frozen=True)
class Steps:
    """The rises of one series from a level to the next. `beyond`: those above 0 in their whole interval; `floor`: levels at chance.

    `largest`: (from, to, rise, low, high), the largest rise there is, None where there is none; bounds are NaN without an interval.
    """

    figure: str
    panel: str
    series: str
    largest: tuple[Level, Level, float, float, float] | None
    beyond: tuple[tuple[Level, Level, float, float, float], ...]
    floor: tuple[Level, ...]
    why_not: str


def readings(points: Sequence[Series]) -> list[Reading]:
    """The comparisons of all panels."""
    return [_reading(panel, pair) for panel in panels(points) for pair in pairs(panel)]


def _reading(panel: Sequence[Series], pair: Pair) -> Reading:
    both = (pair.keeps, pair.loses)
    raw = order(*(curve_of(one) for one in both))
    chance = [curve_of(one, corrected=True) for one in both]
    with_floor = any(curve.levels for curve in chance) and all(curve.levels for curve in chance)
    reasons = dict.fromkeys(f"{one.name}: {why}" for one in both if (why := why_no_interval(one)))
    assumed = dict.fromkeys(f"{one.name}: {what}" for one in both if (what := what_is_assumed(one)))
    return Reading(
        pair.keeps.figure,
        pair.keeps.panel,
        pair.keeps.name,
        pair.loses.name,
        pair.what,
        raw,
        order(*chance) if with_floor else None,
        "; ".join(reasons),
        "; ".join(assumed),
        ", ".join(controls(panel)) or "none",
    )


def order(keeps: Curve, loses: Curve) -> Order:
    """How `loses` stands to `keeps` at the levels that both have, the dense model left out."""
    there = loses.at()
    common = [
        (k, there[key(one)]) for k, one in enumerate(keeps.levels) if one.sparsity > 0 and key(one) in there
    ]
    lower = sum(bool(loses.kept[b] < keeps.kept[a]) for a, b in common)
    if not (keeps.bounded and loses.bounded):
        return Order(len(common), lower)
    states, largest = {}, None
    for a, b in common:
        d, low, high = difference(
            (keeps.kept[a], keeps.low[a], keeps.high[a]), (loses.kept[b], loses.low[b], loses.high[b])
        )
        if math.isnan(low):
            low, high = -math.inf, math.inf
        states[keeps.levels[a]] = MORE if low > 0 else LESS if high < 0 else OPEN
        if largest is None or low > largest[2]:
            largest = keeps.levels[a], float(d), float(low), float(high)
    return Order(len(common), lower, states, largest)


def steps(points: Sequence[Series]) -> list[Steps]:
    """The rises of all series."""
    return [_steps(series) for series in points]


def _steps(series: Series) -> Steps:
    found = [
        (series.levels[k], series.levels[k + 1], *rise(series, k)) for k in range(len(series.levels) - 1)
    ]
    up = [one for one in found if one[2] > _SAME]
    beyond = tuple(one for one in up if one[3] > 0)
    floors = tuple(level for level, low in zip(series.levels, at_floor(series), strict=True) if low)
    return Steps(
        series.figure,
        series.panel,
        series.name,
        max(up, key=lambda one: one[2], default=None),
        beyond,
        floors,
        why_no_interval(series),
    )


def remarks(points: Sequence[Series]) -> list[str]:
    """What the values themselves give away: a reference that is no dense model, and points that stand twice."""
    return [*_references(points), *_repeated(points)]


def _references(points: Sequence[Series]) -> Iterator[str]:
    """Figures in panels of which no series starts below 100 %."""
    found: dict[tuple[str, Level], list[str]] = {}
    for panel in panels(points):
        first = [(one.levels[0], float(one.kept[0])) for one in panel]
        if len(panel) > 1 and all(level.sparsity > 0 and abs(kept - 1) < _SAME for level, kept in first):
            found.setdefault((panel[0].figure, first[0][0]), []).append(panel[0].panel)
    for (figure, level), names in found.items():
        yield (
            f"{figure}, {', '.join(names)}: all series are exactly 100 % at {level}: that level is their reference, it stands for the dense "
            "model, or scores were rounded."
        )


def _repeated(points: Sequence[Series]) -> Iterator[str]:
    """Series with levels of another kind that hold the same values one after another."""
    told: dict[tuple[str, str, str], list[Series]] = {}
    for one in points:
        told.setdefault(
            (one.name.replace(" ", "").lower(), one.panel.replace(" ", "").lower(), ""), []
        ).append(one)
    for alike in told.values():
        for a, b in ((a, b) for k, a in enumerate(alike) for b in alike[k + 1 :]):
            if role_of(a).pattern == role_of(b).pattern:
                continue
            same = _longest(a, b)
            if same >= _REPEATED:
                yield (
                    f"{a.where} and {b.where}: {same} values in a row are the same to a hundredth of a percent, at other levels."
                )


def _longest(a: Series, b: Series) -> int:
    """How many values of two series, one after another, are the same; those that stand still (0, 100) do not count."""
    still = {k for k, (x, y) in enumerate(pairwise(a.kept)) if abs(x - y) < _SAME}
    best = 0
    for shift in range(-len(b.kept) + 1, len(a.kept)):
        run = 0
        for k, value in enumerate(a.kept):
            j = k - shift
            counts = 0 <= j < len(b.kept) and k not in still and value > 1e-3 and abs(value - 1) > _SAME
            run = run + 1 if counts and abs(value - float(np.asarray(b.kept)[j])) < _SAME else 0
            best = max(best, run)
    return best
