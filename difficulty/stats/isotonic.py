"""Isotonic regression of many curves at once (Barlow, Bartholomew, Bremner & Brunk 1972, ch. 1)."""

from __future__ import annotations

import numpy as np

from difficulty.stats.result import Floats

ROUNDING = 1e-9  # a threshold that is passed by less has not been passed
_MANY_LEVELS = 12
_CHUNK = 32_768  # numbers that are worked on at once: 256 kB, which stays near the processor
_AT_ONCE = 64  # curves fitted in one call: their sums lose at most six bits


def isotonic(values: Floats, increasing: bool = True) -> Floats:
    """Least-squares monotone fit along the last axis, same shape as `values`.

    The max-min formula, fit_k = max_{i<=k} min_{j>=k} mean(values_i .. values_j), is exact and works on all curves
    together; its time goes by the square of the levels, so that many levels are fitted by SciPy (PAVA), some curves at a time.
    """
    if not increasing:
        return -isotonic(-values)
    n = values.shape[-1]
    if n > _MANY_LEVELS:
        return _pava(values)
    sums = np.concatenate([np.zeros((*values.shape[:-1], 1)), np.cumsum(values, axis=-1)], axis=-1)
    fit = np.empty_like(values, dtype=float)
    fit.fill(-np.inf)
    for i in range(n):
        # means of values[i..j] for every j >= i, then the minimum over j >= k for every k >= i
        means = (sums[..., i + 1 :] - sums[..., i : i + 1]) / np.arange(1, n - i + 1)
        lowest = np.minimum.accumulate(means[..., ::-1], axis=-1)[..., ::-1]
        fit[..., i:] = np.maximum(fit[..., i:], lowest)
    return fit


def _pava(values: Floats) -> Floats:
    """Curves laid end to end, each lifted above the one before it, are one curve whose fit falls apart into theirs."""
    from scipy.optimize import isotonic_regression

    curves = values.reshape(-1, values.shape[-1]).astype(float)
    fit = np.full_like(curves, np.nan)
    known = np.flatnonzero(~np.isnan(curves).any(axis=1))
    for start in range(0, len(known), _AT_ONCE):
        at = known[start : start + _AT_ONCE]
        some = curves[at]
        # whole powers of two, so that lifting rounds little
        lift = np.exp2(np.ceil(np.log2(2 * np.ptp(some) + 1e-300)))
        lifted = some + lift * np.arange(len(some))[:, None]
        rows = np.asarray(isotonic_regression(lifted.ravel()).x).reshape(some.shape)
        fit[at] = rows - lift * np.arange(len(some))[:, None]
    return fit.reshape(values.shape)


def crossing(levels: Floats, values: Floats, threshold: float) -> Floats:
    """The level up to which the isotonic fit of a curve stays at or below `threshold`, by linear interpolation; shape (...,).

    `levels` (n,) rise, `values` (..., n) are the curves as measured. A fit that never passes the threshold gives the last level
    (censored); one that starts above it gives the first; one with a NaN gives NaN. Only the fit around the crossing is computed, in time that goes by
    the number of levels: with c_k = sum_{i<=k} (values_i - threshold), the fit at k lies above the threshold where
    min_{i<k} c_i < min_{j>=k} c_j (the switch relation of isotonic fits: Groeneboom & Jongbloed 2014, section 3.2). There a
    block of equal values starts, so that the fit is the least mean from k on, and before it the greatest mean up to k - 1.
    """
    n = values.shape[-1]
    curves = values.reshape(-1, n)
    found = np.empty(len(curves))
    step = max(1, _CHUNK // n)
    for start in range(0, len(curves), step):
        found[start : start + step] = _crossing(levels, curves[start : start + step], threshold)
    return found.reshape(values.shape[:-1])


def _crossing(levels: Floats, values: Floats, threshold: float) -> Floats:
    n = values.shape[-1]
    excess = np.cumsum(values - threshold, axis=-1)
    before = np.concatenate([np.zeros((*values.shape[:-1], 1)), excess[..., :-1]], axis=-1)
    lowest_before = np.minimum.accumulate(before, axis=-1)
    lowest_after = np.minimum.accumulate(excess[..., ::-1], axis=-1)[..., ::-1]
    above = lowest_after - lowest_before > ROUNDING  # .8 - .75 has not passed .05
    passes, first = above.any(axis=-1), np.argmax(above, axis=-1)
    at = first[..., None]
    start = np.take_along_axis(before, at, -1)  # the sum of what lies before the crossing
    k = np.arange(n)
    with np.errstate(invalid="ignore", divide="ignore"):
        from_here = np.where(k >= at, (excess - start) / (k - at + 1), np.inf).min(axis=-1)
        up_to_here = np.where(k < at, (start - before) / (at - k), -np.inf).max(axis=-1)
    share = np.where(first > 0, -up_to_here / np.where(first > 0, from_here - up_to_here, 1.0), 0.0)
    previous = levels[np.maximum(first - 1, 0)]
    found = previous + np.clip(share, 0.0, 1.0) * (levels[first] - previous)
    within = np.where(passes, np.where(first == 0, levels[0], found), levels[-1])
    result: Floats = np.where(np.isnan(excess[..., -1]), np.nan, within)
    return result
