"""The number in one cell of a table: a mean with its 95 % interval, and what is left of the dense score."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from difficulty.stats import wilson
from difficulty.stats.paired_loss import cluster_codes, clustered_standard_error, paired_loss


@dataclass(frozen=True)
class Score:
    """Mean of `n_items` items in `n_clusters` clusters, with the 95 % interval `low` to `high`.

    `retention` is score / dense score; `corrected` the same with the chance level taken off both; each is
    None where there is no dense run or its score is not clearly above chance (then nothing can be seen to
    fall). `p_loss` is the two-sided p-value of the paired difference to dense.
    """

    mean: float
    low: float
    high: float
    n_items: int
    n_clusters: int
    chance: float = 0.0
    retention: float | None = None
    corrected: float | None = None
    loss: float | None = None
    p_loss: float | None = None

    @property
    def half_width(self) -> float:
        """Half the width of the interval: what is printed behind ±."""
        return (self.high - self.low) / 2


def score(
    values: ArrayLike,
    clusters: Sequence[object] | NDArray[Any] | None = None,
    chance: float = 0.0,
    dense: ArrayLike | None = None,
    lower_is_better: bool = False,
) -> Score:
    """The score of items of shape (n_items,), and against `dense` (the same items, same order) if given.

    Right-or-wrong items: Wilson's interval on the items divided by the design effect; otherwise a
    cluster-robust t interval.
    """
    x = np.asarray(values, dtype=float)
    low, high, n_clusters = mean_interval(x, clusters)
    mean = float(x.mean())
    if dense is None:
        return Score(mean, low, high, len(x), n_clusters, chance)
    reference = np.asarray(dense, dtype=float)
    loss = paired_loss(reference, x, clusters, lower_is_better)
    dense_low = mean_interval(reference, clusters)[0]
    retention = corrected = None
    if lower_is_better:
        retention = float(reference.mean()) / mean if mean > 0 else None
    elif dense_low > chance:
        retention = mean / float(reference.mean())
        corrected = (mean - chance) / (float(reference.mean()) - chance)
    p = min(1.0, 2 * min(loss.p_exceeds(0.0), loss.p_below(0.0)))
    return Score(mean, low, high, len(x), n_clusters, chance, retention, corrected, loss.loss, p)


def mean_interval(
    x: NDArray[np.float64], clusters: Sequence[object] | NDArray[Any] | None = None
) -> tuple[float, float, int]:
    """(low, high, number of clusters): 95 % interval of the mean of x, shape (n_items,).

    Reference: Wilson (1927); Miller (2024), arXiv 2411.00640, for the clustered error.
    """
    n = len(x)
    codes, g = cluster_codes(clusters, n)
    mean = float(x.mean())
    variance = clustered_standard_error(x, codes) ** 2
    if not np.isin(x, (0, 1)).all():
        if g < 2:
            return -math.inf, math.inf, g
        half = float(stats.t.ppf(0.975, g - 1)) * math.sqrt(variance)
        return mean - half, mean + half, g
    plain = mean * (1 - mean) / n
    worst = float((np.bincount(codes, minlength=g).astype(float) ** 2).sum() / n)
    effect = min(max(variance / plain, 1.0), worst) if plain > 0 else worst
    low, high = wilson(np.array(mean * n / effect), np.array(n / effect))
    return float(low), float(high), g
