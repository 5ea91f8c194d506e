"""Trimmed means and medians of items in many resamples at once, each resample a row of item counts."""

from __future__ import annotations

from typing import Any

import numpy as np

from difficulty.stats.result import Floats, Ints

_CHUNK = 4_000_000  # numbers held at once: 32 MB


def trimmed_means_and_medians(counts: Floats, values: Floats, trim: float = 0.1) -> tuple[Floats, Floats]:
    """The trimmed mean and the median of each column of `values` (n_items, n_runs) in each resample; (n_resamples, n_runs) both.

    `counts` (n_resamples, n_items): how often an item is in a resample. A share `trim` of the items is cut at each end; an item
    that the cut goes through counts with the part that is left, so that the mean is continuous in the counts and equals
    scipy.stats.trim_mean where `trim` times the number of items is whole. The median is that of the repeated items.
    Reference: Stigler 1973, Annals of Statistics 1:472 (trimmed means); Koenker 2005, ch. 1 (weighted quantiles).
    """
    n_resamples, n_items = counts.shape
    n_runs = values.shape[1]
    order = np.argsort(values, axis=0, kind="stable")
    means, medians = np.empty((n_resamples, n_runs)), np.empty((n_resamples, n_runs))
    step = max(1, _CHUNK // n_items)
    for start in range(0, n_resamples, step):
        rows = slice(start, start + step)
        # Items down, resamples across, in the smallest whole numbers: what is added and compared are whole rows.
        by_item = np.ascontiguousarray(counts[rows].T).astype(_whole(float(counts[rows].sum(axis=1).max())))
        total = by_item.sum(axis=0, dtype=by_item.dtype)
        low, high = trim * total, (1 - trim) * total
        for run in range(n_runs):
            ranked = values[order[:, run], run]
            below = by_item[order[:, run]]
            for item in range(1, n_items):
                below[item] += below[item - 1]
            medians[rows, run] = _medians(below, total, ranked)
            kept = below[:-1].astype(float)
            np.clip(kept, low, high, out=kept)
            # Abel's summation: sum x_i (kept_i - kept_{i-1})
            sums = ranked[-1] * high - ranked[0] * low - np.diff(ranked) @ kept
            means[rows, run] = sums / (high - low)
    return means, medians


def _whole(largest: float) -> type[np.signedinteger[Any]]:
    """The smallest whole numbers that hold `largest` and one more."""
    return np.int16 if largest + 1 < 2**15 else np.int64


def _medians(below: Ints, total: Ints, ranked: Floats) -> Floats:
    """The mean of the lower and the upper median, as numpy.median has it; `below` is (n_items, n_resamples)."""
    last = len(ranked) - 1
    counted = np.uint16 if last < 2**16 - 1 else np.intp
    lower = (below < (total + 1) // 2).view(np.uint8).sum(axis=0, dtype=counted)  # below half of them
    upper = (below <= total // 2).view(np.uint8).sum(axis=0, dtype=counted)  # at most half
    middle: Floats = (ranked[np.minimum(lower, last)] + ranked[np.minimum(upper, last)]) / 2
    return middle
