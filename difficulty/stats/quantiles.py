"""Trimmed means and medians of items in many resamples at once, each resample a row of item counts."""

from __future__ import annotations

import numpy as np

from difficulty.stats.result import Floats

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
    for run in range(n_runs):
        ranked = values[order[:, run], run]
        gaps = np.diff(ranked)
        for start in range(0, n_resamples, step):
            rows = slice(start, start + step)
            below = np.cumsum(counts[rows][:, order[:, run]], axis=1)
            total = below[:, -1]
            medians[rows, run] = _medians(below, total, ranked)
            low, high = trim * total, (1 - trim) * total
            kept = np.clip(below, low[:, None], high[:, None])
            # Abel's summation: sum x_i (kept_i - kept_{i-1})
            sums = ranked[-1] * high - ranked[0] * low - kept[:, :-1] @ gaps
            means[rows, run] = sums / (high - low)
    return means, medians


def _medians(below: Floats, total: Floats, ranked: Floats) -> Floats:
    """The mean of the lower and the upper median, as numpy.median has it."""
    last = len(ranked) - 1
    lower = np.minimum((below < total[:, None] / 2 - 1e-9).sum(axis=1), last)
    upper = np.minimum((below <= total[:, None] / 2 + 1e-9).sum(axis=1), last)
    middle: Floats = (ranked[lower] + ranked[upper]) / 2
    return middle
