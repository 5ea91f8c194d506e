"""Isotonic regression of many curves at once (Barlow, Bartholomew, Bremner & Brunk 1972, ch. 1)."""

from __future__ import annotations

import numpy as np

from difficulty.stats.result import Floats


def isotonic(values: Floats, increasing: bool = True) -> Floats:
    """Least-squares monotone fit along the last axis, same shape as `values`.

    The max-min formula, fit_k = max_{i<=k} min_{j>=k} mean(values_i .. values_j), is exact and works on all curves
    together; it needs O(levels^2) memory a curve, so it suits tens of levels, not thousands.
    """
    if not increasing:
        return -isotonic(-values)
    n = values.shape[-1]
    sums = np.concatenate([np.zeros((*values.shape[:-1], 1)), np.cumsum(values, axis=-1)], axis=-1)
    fit = np.empty_like(values, dtype=float)
    fit.fill(-np.inf)
    for i in range(n):
        # means of values[i..j] for every j >= i, then the minimum over j >= k for every k >= i
        means = (sums[..., i + 1 :] - sums[..., i : i + 1]) / np.arange(1, n - i + 1)
        lowest = np.minimum.accumulate(means[..., ::-1], axis=-1)[..., ::-1]
        fit[..., i:] = np.maximum(fit[..., i:], lowest)
    return fit


def crossing(levels: Floats, curves: Floats, threshold: float) -> Floats:
    """The level up to which a rising curve stays at or below `threshold`, by linear interpolation; shape (...,).

    `levels` (n,) rise, `curves` (..., n) do not fall along the last axis. A curve that never passes the threshold gives
    the last level (censored); one that starts above it gives the first.
    """
    above = curves > threshold
    passes = above.any(axis=-1)
    first = np.argmax(above, axis=-1)
    after = np.take_along_axis(curves, first[..., None], -1)[..., 0]
    before_at = np.maximum(first - 1, 0)
    before = np.take_along_axis(curves, before_at[..., None], -1)[..., 0]
    gap = np.where(after > before, after - before, 1.0)
    share = np.clip((threshold - before) / gap, 0.0, 1.0)
    found = levels[before_at] + share * (levels[first] - levels[before_at])
    found = np.where(first == 0, levels[0], found)
    result: Floats = np.where(passes, found, levels[-1])
    return result
