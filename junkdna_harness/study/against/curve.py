"""A curve of what is left of the dense score as weights are removed: the paper's or ours, with the interval of each point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
WIDE = 0.15  # of the weights: levels further apart leave open where between them something happens; N:M of 8 are 0.125 apart


@dataclass(frozen=True, order=True)
class Level:
    """The share of weights removed, and the pattern N:M (N kept of M) where it is one."""

    sparsity: float
    pattern: str = ""

    def __str__(self) -> str:
        return self.pattern or f"{100 * self.sparsity:.4g} %"


@dataclass(frozen=True)
class Curve:
    """What is left of the dense score at rising levels; shares, 1 for the dense model.

    `kept`, `low` and `high` have shape (n_levels,); bounds are 95 %, NaN where there is none. `floor`: what guessing leaves.
    """

    label: str
    levels: tuple[Level, ...]
    kept: Floats = field(repr=False)
    low: Floats = field(repr=False)
    high: Floats = field(repr=False)
    floor: float | None = None

    @property
    def x(self) -> Floats:
        """The share of weights removed at each level."""
        return np.array([level.sparsity for level in self.levels])

    @property
    def bounded(self) -> bool:
        """Whether every point below dense has an interval."""
        return bool(len(self.levels)) and bool(np.isfinite(self.low).all() and np.isfinite(self.high).all())

    def at(self) -> Mapping[Level, int]:
        """The place of each level, by what is compared: the pattern, or the share to a thousandth."""
        return {key(level): k for k, level in enumerate(self.levels)}


def no_curve(label: str) -> Curve:
    """A curve without a level."""
    none = np.array([], dtype=float)
    return Curve(label, (), none, none, none)


def key(level: Level) -> Level:
    """A level as it is compared: patterns by their name, shares to a thousandth, for a measured share is rarely a round one."""
    return Level(round(level.sparsity, 3), level.pattern)


@dataclass(frozen=True)
class Passing:
    """The level at which a curve first falls to a mark, as a share of weights removed, between `low` and `high`.

    `at` None: it is not reached up to `last`, the highest level there is. `low` and `high` are those of the bounds of the
    points, infinite where the upper bounds do not reach the mark; None where points have no bounds.
    """

    at: float | None
    last: float
    low: float | None = None
    high: float | None = None


def passing(curve: Curve, mark: float) -> Passing:
    """Where `curve` first falls to `mark`, between two levels in a straight line; the dense model, before all levels, is at 1.

    Where the two levels lie further apart than `WIDE`, its interval holds both: nobody knows what is between them.
    """
    last = float(curve.x[-1])
    at, gap = _first(curve.x, curve.kept, mark)
    if not curve.bounded:
        return Passing(at, last)
    (low, _), (high, _) = _first(curve.x, curve.low, mark), _first(curve.x, curve.high, mark)
    low, high = np.inf if low is None else low, np.inf if high is None else high
    if gap is not None and gap[1] - gap[0] > WIDE:
        low, high = min(low, gap[0]), max(high, gap[1])
    return Passing(at, last, low, high)


def _first(x: Floats, y: Floats, mark: float) -> tuple[float | None, tuple[float, float] | None]:
    """The first x at which y is `mark` or less, from (0, 1) on, and the two levels around it; None where there is none."""
    if len(x) and x[0] > 0:
        x, y = np.concatenate([[0.0], x]), np.concatenate([[1.0], y])
    below = np.flatnonzero(y <= mark)
    if not len(below):
        return None, None
    k = int(below[0])
    if k == 0:
        return float(x[0]), (float(x[0]), float(x[0]))
    at = float(x[k - 1] + (y[k - 1] - mark) / (y[k - 1] - y[k]) * (x[k] - x[k - 1]))
    return at, (float(x[k - 1]), float(x[k]))
