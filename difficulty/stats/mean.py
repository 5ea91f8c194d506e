"""The mean of items with its interval: clustered, weighted, and on the scale that the metric is read on.

One function, `mean_interval`, gives every score with its bounds that is printed. Text metrics are ratios: the items are documents,
`values` their negative log-likelihoods in nats per unit (word, byte, token) and `weights` their units, so that the weighted
mean is the rate R = sum w v / sum w; perplexity is exp(R), bits are R / ln 2. Errors of the ratio are linearised (Taylor):
the error of R is that of the mean of w (v - R) / mean(w) with clusters.

Reference: Miller 2024, arXiv 2411.00640 (clustered errors); Wilson 1927; Cochran 1977, ch. 6 (ratio estimates).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from difficulty.stats.bootstrap import cluster_sums
from difficulty.stats.clusters import Clusters, cluster_codes
from difficulty.stats.result import Floats, Ints

# How the weighted mean of the items is read: as it is, as exp of it, or in units of ln 2.
Scale = Literal["mean", "perplexity", "bits"]
# Clusters that differ from the others below which neither a design effect nor a variance can be estimated: the worst is taken.
FEW_CLUSTERS = 10
JITTER = 1e-3  # a difference up to this tells nothing of how often an item is another as a whole


@dataclass(frozen=True)
class MeanInterval:
    """A mean (or perplexity, or bits) of `n_items` items in `n_clusters` clusters, with its interval `low` to `high`."""

    mean: float
    low: float
    high: float
    n_items: int
    n_clusters: int


def mean_interval(
    values: ArrayLike,
    clusters: Clusters = None,
    weights: ArrayLike | None = None,
    scale: Scale = "mean",
    confidence: float = 0.95,
    bounded: bool | None = None,
) -> MeanInterval:
    """The mean of `values` (n_items,) with its interval; `weights` (n_items,) above 0, by default all equal.

    Right-or-wrong items of equal weight: Wilson's interval on the items divided by the design effect, the worst one where fewer
    than ten clusters hold the rarer answer. Otherwise a cluster-robust t interval on G - 1 degrees of freedom, infinite for a
    single cluster; scores between 0 and 1 of which nearly all are equal have at least the Clopper-Pearson bound of the share
    that is not. On the scale "perplexity" its ends are those of the interval of the log. `bounded` as in `paired_loss`.
    """
    x, w = in_nats_or_units(values, scale), checked_weights(weights, len(np.asarray(values)))
    codes, g = cluster_codes(clusters, len(x))
    mean = weighted_mean(x, w)
    error = clustered_standard_error(x, codes, w)
    unit = scale == "mean" and bounded is not False and bool(x.min() >= 0 and x.max() <= 1)
    if w is None and unit and np.isin(x, (0, 1)).all():
        n = len(x)
        plain = mean * (1 - mean) / n
        worst = _worst_effect(codes, g)
        rarer = len(np.unique(codes[x == float(mean < 0.5)]))
        effect = worst if rarer < FEW_CLUSTERS else min(max(error**2 / plain, 1.0), worst)
        ends = wilson(np.array(mean * n / effect), np.array(n / effect), confidence)
        return MeanInterval(mean, float(ends[0]), float(ends[1]), n, g)
    half = math.inf if g < 2 else float(special.stdtrit(g - 1, (1 + confidence) / 2)) * error
    low, high = mean - half, mean + half
    if unit:
        least, most = _nearly_equal(x, codes, g, w, confidence)
        low, high = max(min(low, least), 0.0), min(max(high, most), 1.0)
    return MeanInterval(read_on(mean, scale), read_on(low, scale), read_on(high, scale), len(x), g)


def _nearly_equal(
    x: Floats, codes: NDArray[np.intp], g: int, w: Floats | None, confidence: float
) -> tuple[float, float]:
    """Bounds of a mean of scores in [0, 1] that all but few clusters share; (1, 0), which bound nothing, where many differ.

    Of the items a share is below the common score, by all of it at most, and a share above: each bounded by Clopper-Pearson.
    """
    values, counts = np.unique(x, return_counts=True)
    common = float(values[counts.argmax()])
    away = np.abs(x - common) > JITTER
    if len(np.unique(codes[away])) >= FEW_CLUSTERS:
        return 1.0, 0.0
    effect = _worst_effect(codes, g) * kish(w)
    n = len(x) / effect

    def share(count: int) -> float:
        seen = min(count / effect, n)
        return 1.0 if seen >= n else float(special.betaincinv(seen + 1, n - seen, (1 + confidence) / 2))

    jitter = float(np.abs(x[~away] - common).max(initial=0.0))
    low = common - share(int((away & (x < common)).sum())) * common - jitter
    high = common + share(int((away & (x > common)).sum())) * (1 - common) + jitter
    return low, high


def _worst_effect(codes: NDArray[np.intp], g: int) -> float:
    """The design effect where items of a cluster always answer alike: sum of squared sizes / n."""
    return float((np.bincount(codes, minlength=g).astype(float) ** 2).sum() / len(codes))


def kish(weights: Floats | None) -> float:
    """Kish's design effect of unequal weights, n sum w^2 / (sum w)^2; 1 for equal ones."""
    return 1.0 if weights is None else float(len(weights) * (weights**2).sum() / weights.sum() ** 2)


def wilson(successes: Floats, n: Floats, confidence: float = 0.95) -> tuple[Floats, Floats]:
    """Wilson score interval of a proportion (Wilson 1927); `successes` may be fractional means times n."""
    z = special.ndtri((1 + confidence) / 2)
    p = successes / n
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return np.maximum(centre - half, 0.0), np.minimum(centre + half, 1.0)


def clustered_error(values: Floats, clusters: Ints, weights: Floats | None = None) -> tuple[float, int]:
    """Standard error of the mean of `values` with clusters, and their number G: sqrt(G/(G-1) sum_g S_g^2) / n.

    S_g is the sum of deviations in cluster g. With `weights`, S_g = sum w (v - R) and n = sum w: the linearised error of the
    ratio R.
    Reference: Miller 2024, arXiv 2411.00640, eq. 4, with the small-sample factor of CR1.
    """
    _, codes = np.unique(clusters, return_inverse=True)
    groups = int(codes.max()) + 1
    if groups < 2:
        return float("nan"), groups
    w = np.ones(len(values)) if weights is None else weights
    deviations = w * (values - weighted_mean(values, weights))
    sums = cluster_sums(deviations[:, None], codes, groups)[:, 0]
    return float(np.sqrt(groups / (groups - 1) * (sums**2).sum()) / w.sum()), groups


def clustered_standard_error(values: Floats, codes: NDArray[np.intp], weights: Floats | None = None) -> float:
    """Cluster-robust standard error of the (weighted) mean; infinite for a single cluster."""
    error, n_clusters = clustered_error(values, codes.astype(np.int64), weights)
    return error if n_clusters > 1 else math.inf


def weighted_mean(values: Floats, weights: Floats | None) -> float:
    """sum w v / sum w, the plain mean without weights."""
    return float(values.mean()) if weights is None else float((weights * values).sum() / weights.sum())


def checked_weights(weights: ArrayLike | None, n: int) -> Floats | None:
    """Weights of n items as an array; None where all are equal, since they then change nothing.

    Raises:
        ValueError: another number of weights, or one that is not a number above 0.
    """
    if weights is None:
        return None
    w = np.asarray(weights, dtype=float)
    if w.shape != (n,) or not (np.isfinite(w).all() and (w > 0).all()):
        raise ValueError(
            f"weights must be {n} numbers above 0, not {w.shape} between {w.min()} and {w.max()}"
        )
    return None if (w == w[0]).all() else w


def in_nats_or_units(values: ArrayLike, scale: Scale) -> Floats:
    """Items on the scale on which they are averaged: bits are nats / ln 2, everything else is averaged as it is."""
    x = np.asarray(values, dtype=float)
    return x / math.log(2) if scale == "bits" else x


def shift_of(loss: float, before: float, scale: Scale) -> float:
    """A loss in the metric's units on the scale that is averaged: log(1 + loss / P) for a perplexity that was P = `before`."""
    if scale != "perplexity":
        return loss
    return math.log1p(loss / before) if loss > -before else -math.inf


def read_on(mean: float, scale: Scale) -> float:
    """What is printed for a mean of `in_nats_or_units`: exp of it for perplexity (infinite beyond any number)."""
    if scale != "perplexity":
        return mean
    return math.exp(mean) if mean < 709 else math.inf
