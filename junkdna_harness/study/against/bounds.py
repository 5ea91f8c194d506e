"""Intervals of what is left of a dense score, from a curve's values and the number of items behind them.

Both scores are taken as independent samples of the items: they are not, since both models answer the same items and mostly alike,
so that the intervals are too wide rather than too narrow. Nothing is in them of how far two trainings lie apart, which the
figures do not show. Method: MOVER, for a ratio (Donner & Zou 2012, Stat Methods Med Res 21:347) and a difference (Newcombe 1998,
Stat Med 17:873), on Wilson's intervals of shares and Fisher's of correlations.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtri

from difficulty.stats.mean import wilson
from junkdna_harness.study.against.curve import Curve, Floats, no_curve
from junkdna_harness.study.against.known import (
    CORRELATION,
    SHARE,
    WHY_NOT,
    Task,
    dense_of,
    task_of,
)
from junkdna_harness.study.against.points import Series

_Z = float(ndtri(0.975))


def curve_of(series: Series, corrected: bool = False) -> Curve:
    """A series as a curve, with intervals where they can be had; `corrected`: with its floor taken off both scores.

    Points at level 0, which are the dense model itself, have no width. Without a dense score and a floor a corrected curve is empty.
    """
    task = task_of(series)
    dense, n = dense_of(series, task), _items(series, task)
    none = np.full(len(series.levels), math.nan)
    if corrected and (task is None or (task.floor and (dense is None or dense.low <= task.floor))):
        return no_curve(series.name)
    floor = task.floor if corrected and task is not None else 0.0
    guess = 0.0 if corrected else None if task is None or dense is None else task.floor / dense.middle
    if corrected and dense is not None:
        kept = (series.kept * dense.middle - floor) / (dense.middle - floor)
    else:
        kept = series.kept
    if why_no_interval(series) or dense is None or n is None or task is None:
        return Curve(series.name, series.levels, kept, none, none, guess)
    ends = [ratio(series.kept * d, d, n, task.kind, floor) for d in {dense.low, dense.high}]
    low, high = np.min([end[0] for end in ends], axis=0), np.max([end[1] for end in ends], axis=0)
    itself = np.array([level.sparsity == 0 for level in series.levels])
    low, high = np.where(itself, kept, low), np.where(itself, kept, high)
    return Curve(series.name, series.levels, kept, low, high, guess)


def why_no_interval(series: Series) -> str:
    """Why the points of a series have no interval; empty where they have one."""
    task = task_of(series)
    if task is None:
        return "the task is none that is known"
    if task.kind in WHY_NOT:
        return WHY_NOT[task.kind]
    if _items(series, task) is None:
        return "the number of evaluation items is not known"
    return "" if dense_of(series, task) is not None else "the dense score is not known"


def what_is_assumed(series: Series) -> str:
    """What an interval rests on that nobody told; empty where all of it was told."""
    task = task_of(series)
    dense = dense_of(series, task)
    found = []
    if task is not None and series.n is None and task.n_source.startswith("assumed"):
        found.append(f"items {task.n}")
    if dense is not None and dense.assumed:
        found.append(f"dense {dense.low:.3g} to {dense.high:.3g}")
    return ", ".join(found)


def _items(series: Series, task: Task | None) -> int | None:
    return series.n if series.n is not None else None if task is None else task.n


def score_bounds(score: Floats, n: int, kind: str) -> tuple[Floats, Floats]:
    """The 95 % interval of scores on `n` items: Wilson's of a share, Fisher's of a correlation."""
    if kind == CORRELATION:
        z = np.arctanh(np.clip(score, -1 + 1e-9, 1 - 1e-9))
        half = _Z / math.sqrt(n - 3)
        return np.tanh(z - half), np.tanh(z + half)
    assert kind == SHARE
    share = np.clip(score, 0.0, 1.0)  # digitised points may lie a hair outside
    return wilson(share * n, np.full(len(share), float(n)))


def ratio(score: Floats, dense: float, n: int, kind: str, floor: float = 0.0) -> tuple[Floats, Floats]:
    """The 95 % interval of (score - floor) / (dense - floor), shape as `score`; (-inf, inf) where dense may be at the floor."""
    low, high = (bound - floor for bound in score_bounds(score, n, kind))
    below, above = (float(bound[0]) - floor for bound in score_bounds(np.array([dense]), n, kind))
    p, d = np.clip(score, None, 1.0) - floor, dense - floor
    if below <= 0:
        return np.full(len(p), -math.inf), np.full(len(p), math.inf)
    left = np.maximum((p * d) ** 2 - low * above * (2 * p - low) * (2 * d - above), 0.0)
    right = np.maximum((p * d) ** 2 - high * below * (2 * p - high) * (2 * d - below), 0.0)
    return (p * d - np.sqrt(left)) / (above * (2 * d - above)), (p * d + np.sqrt(right)) / (
        below * (2 * d - below)
    )


def difference(a: tuple[float, float, float], b: tuple[float, float, float]) -> tuple[float, float, float]:
    """a - b with its 95 % interval, each given as (estimate, low, high)."""
    d = a[0] - b[0]
    return d, d - math.hypot(a[0] - a[1], b[2] - b[0]), d + math.hypot(a[2] - a[0], b[0] - b[1])


def rise(series: Series, k: int) -> tuple[float, float, float]:
    """How much more is left at level k + 1 than at level k, with its interval; NaN bounds where there is none."""
    kept = series.kept
    seen = float(kept[k + 1] - kept[k])
    task = task_of(series)
    dense, n = dense_of(series, task), _items(series, task)
    if why_no_interval(series) or dense is None or n is None or task is None:
        return seen, math.nan, math.nan
    found = []
    for d in {dense.low, dense.high}:
        scores = kept[[k, k + 1]] * d
        low, high = score_bounds(scores, n, task.kind)
        points = [
            (float(s), float(a), float(b))
            for s, a, b in zip(np.clip(scores, None, 1.0), low, high, strict=True)
        ]
        found.append(tuple(bound / d for bound in difference(points[1], points[0])))
    return seen, min(one[1] for one in found), max(one[2] for one in found)


def at_floor(series: Series) -> list[bool]:
    """At each level, whether the score may be that of the commonest answer or less; all False where that cannot be told."""
    curve = curve_of(series, corrected=True)
    if not curve.levels:
        return [False] * len(series.levels)
    bounds = np.where(np.isfinite(curve.low), curve.low, curve.kept)
    return [bool(one <= 1e-3) for one in bounds]
