"""The distribution of a mean's t statistic without normal items: the studentized bootstrap, by clusters.

The mean of items with a long tail is not normal at a few hundred items: where losses are skewed to the right, a sample that
missed the large ones has both a small mean and a small standard error, and the t interval says too often that the loss is
small. Resampling whole clusters and dividing each mean's deviation by the standard error of the *same* resample shows how far
the t statistic really strays.

Reference: Davison & Hinkley 1997, Bootstrap Methods and their Application, section 5.2.1 (and 3.8 for clusters).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from difficulty.stats.result import Floats

RESAMPLES = (
    4999  # with 4,999 the tails of 5 % and 2.5 % are whole numbers of draws, and p reaches down to 0.0002
)
_DRAWS = 10_000_000  # clusters drawn in all: beyond 2,000 clusters fewer resamples are taken, at least 999
_AT_ONCE = 1_000_000
_KEPT = (
    2 * _DRAWS
)  # draws of one number of clusters that are kept, a byte each: a table compares many runs on the same items


def t_draws(sums: Floats, sizes: Floats, seed: int = 0) -> Floats:
    """Sorted t statistics (R* - R) / se* of resampled clusters, R = sum(sums) / sum(sizes); shape (n_resamples,).

    `sums` and `sizes` (n_clusters,): each cluster's sum of (weighted) values, and of weights or items. se* is the
    cluster-robust standard error of the resample (`clustered_error`). A resample whose clusters are all alike has none: its t
    is infinite on the side of its mean, 0 where that is R itself. The same `seed` gives the same draws.

    Raises:
        ValueError: fewer than two clusters, or two arrays of different length.
    """
    if sums.shape != sizes.shape or len(sums) < 2:
        raise ValueError(f"{sums.shape} sums and {sizes.shape} sizes: two or more clusters are needed.")
    n = len(sums)
    mean = sums.sum() / sizes.sum()
    columns = np.stack([sums, sizes, sums * sums, sums * sizes, sizes * sizes], axis=1)
    totals = np.concatenate([counts.astype(float) @ columns for counts in _counts(n, seed)])
    s, w, ss, sw, ww = totals.T
    means = s / w
    squares = ss - 2 * means * sw + means**2 * ww  # of the residuals s - R* w of each cluster
    # What is left of equal residuals is rounding, which no t may be divided by.
    squares[squares < 1e-12 * (ss + means**2 * ww)] = 0.0
    distance = means - mean
    distance[np.abs(distance) <= 1e-12 * (np.abs(means) + abs(mean))] = 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        t = distance / (np.sqrt(n / (n - 1) * squares) / w)
    found: Floats = np.sort(np.nan_to_num(t, nan=0.0, posinf=np.inf, neginf=-np.inf))
    return found


def _counts(n: int, seed: int) -> Iterator[NDArray[np.unsignedinteger]]:
    """How often each of `n` clusters is in each resample, in pieces of shape (some resamples, n)."""
    return iter(_kept_counts(n, seed)) if n * _resamples(n) <= _KEPT else _drawn_counts(n, seed)


@lru_cache(maxsize=8)
def _kept_counts(n: int, seed: int) -> tuple[NDArray[np.unsignedinteger], ...]:
    return tuple(_drawn_counts(n, seed))


def _drawn_counts(n: int, seed: int) -> Iterator[NDArray[np.unsignedinteger]]:
    rng, resamples, step = np.random.default_rng(seed), _resamples(n), max(1, _AT_ONCE // n)
    for at in range(0, resamples, step):
        some = min(step, resamples - at)
        drawn = rng.integers(n, size=(some, n), dtype=np.int32)
        drawn += (np.arange(some, dtype=np.int32) * n)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=some * n).reshape(some, n)
        yield counts.astype(np.min_scalar_type(int(counts.max())))


def _resamples(n: int) -> int:
    return min(RESAMPLES, max(999, _DRAWS // n // 1000 * 1000 - 1))
