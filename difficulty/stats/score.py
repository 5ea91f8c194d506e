"""The number in one cell of a table: a mean with its 95 % interval, and what is left of the dense score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from difficulty.stats.clusters import Clusters
from difficulty.stats.mean import Scale, mean_interval
from difficulty.stats.paired_loss import paired_loss


@dataclass(frozen=True)
class Score:
    """Mean of `n_items` items in `n_clusters` clusters, with the 95 % interval `low` to `high`.

    `retention` is score / dense score; `corrected` the same with the chance level taken off both; each is
    None where there is no dense run or its score is not clearly above chance (then nothing can be seen to
    fall). `loss` is the paired difference to dense, above 0 where it is worse.
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


def score(
    values: ArrayLike,
    clusters: Clusters = None,
    chance: float = 0.0,
    dense: ArrayLike | None = None,
    lower_is_better: bool = False,
    weights: ArrayLike | None = None,
    scale: Scale = "mean",
    bounded: bool | None = None,
) -> Score:
    """The score of items of shape (n_items,), and against `dense` (the same items, same order) if given.

    `weights` (n_items,), `scale` and `bounded` as in `mean_interval`; where lower is better, retention is dense score / score.
    """
    x = np.asarray(values, dtype=float)
    own = mean_interval(x, clusters, weights, scale, bounded=bounded)
    plain = (own.mean, own.low, own.high, own.n_items, own.n_clusters, chance)
    if dense is None:
        return Score(*plain)
    reference = mean_interval(dense, clusters, weights, scale, bounded=bounded)
    loss = paired_loss(dense, x, clusters, lower_is_better, weights, scale, bounded).loss
    retention = corrected = None
    if lower_is_better:
        retention = reference.mean / own.mean if own.mean > 0 else None
    elif reference.low > chance:
        retention = own.mean / reference.mean
        corrected = (own.mean - chance) / (reference.mean - chance)
    return Score(*plain, retention, corrected, loss)
