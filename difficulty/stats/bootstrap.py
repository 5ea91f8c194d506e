"""Cluster bootstrap, vectorised over resamples: a resample is a row of cluster counts, a mean is a matrix product."""

from __future__ import annotations

import numpy as np
from scipy import special

from difficulty.stats.result import Estimate, Floats, Ints

_CHUNK = 4_000_000  # random cluster numbers drawn at once: 32 MB
_ROUNDING = 1e-9  # resamples that differ by less are equal: they say nothing of an error


def resample_counts(n_clusters: int, n_resamples: int, rng: np.random.Generator) -> Floats:
    """How often each cluster is in each resample, shape (1 + n_resamples, n_clusters); row 0 is the sample itself.

    Rows after the first are multinomial: n_clusters draws with replacement.
    Reference: Efron & Tibshirani 1993, ch. 6; clusters as in Field & Welsh 2007.
    """
    counts = np.ones((1 + n_resamples, n_clusters))
    step = max(1, _CHUNK // n_clusters)
    for start in range(0, n_resamples, step):
        rows = min(step, n_resamples - start)
        drawn = rng.integers(0, n_clusters, size=(rows, n_clusters))
        drawn += np.arange(rows)[:, None] * n_clusters
        counts[1 + start : 1 + start + rows] = np.bincount(
            drawn.ravel(), minlength=rows * n_clusters
        ).reshape(rows, n_clusters)
    return counts


def cluster_sums(values: Floats, clusters: Ints, n_clusters: int) -> Floats:
    """Sums of `values` (n_items, n_runs) within clusters 0 .. n_clusters - 1, shape (n_clusters, n_runs)."""
    order = np.argsort(clusters, kind="stable")
    present, starts = np.unique(clusters[order], return_index=True)
    sums = np.zeros((n_clusters, values.shape[1]))
    sums[present] = np.add.reduceat(values[order], starts, axis=0)
    return sums


def weighted_means(counts: Floats, sums: Floats, sizes: Floats) -> Floats:
    """Item means in each resample, shape (resamples, n_runs): counts @ sums / counts @ sizes.

    `sums` (n_clusters, n_runs) and `sizes` (n_clusters,) are sums of values and numbers of items. A resample without
    any item of the cell repeats the sample's own mean.
    """
    totals = counts @ sizes
    with np.errstate(invalid="ignore", divide="ignore"):
        means: Floats = (counts @ sums) / totals[:, None]
    means[totals == 0] = means[0]
    return means


def expanded_level(confidence: float, n_clusters: int) -> float:
    """The tail probability to cut from a bootstrap distribution of `n_clusters` clusters.

    Percentile intervals are too short in small samples by sqrt((n - 1) / n) and by normal in place of t quantiles; this
    cuts less: Phi(sqrt(n / (n - 1)) * t_{n-1}^{-1}(alpha / 2)).
    Reference: Hesterberg 2015, "What teachers should know about the bootstrap", section 5.3 (expanded percentile).
    """
    degrees = max(n_clusters - 1, 1)
    quantile = special.stdtrit(degrees, (1 - confidence) / 2)
    return float(special.ndtr(quantile * np.sqrt((degrees + 1) / degrees)))


def interval(draws: Floats, n_clusters: int, confidence: float = 0.95) -> tuple[Floats, Floats]:
    """Expanded percentile interval of `draws` (1 + n_resamples, ...), over the first axis without row 0."""
    tail = expanded_level(confidence, n_clusters)
    # what np.quantile gives; sorting whole rows is faster than its search for single places
    ranked = np.sort(np.moveaxis(np.asarray(draws[1:], dtype=float), 0, -1), axis=-1)
    low, high = (_quantile(ranked, share) for share in (tail, 1 - tail))
    return low, high


def _quantile(ranked: Floats, share: float) -> Floats:
    """The quantile along the last axis, by linear interpolation; NaN where there is a NaN, which is sorted last."""
    place = share * (ranked.shape[-1] - 1)
    below = int(place)
    above = min(below + 1, ranked.shape[-1] - 1)
    found: Floats = ranked[..., below] + (place - below) * (ranked[..., above] - ranked[..., below])
    return np.where(np.isnan(ranked[..., -1]), np.nan, found)


def p_value(draws: Floats, n_clusters: int, null: float = 0.0) -> float:
    """Two-sided p against `null`, by inverting the expanded percentile interval.

    The share of resamples beyond `null` is turned into a normal quantile, shrunk by sqrt((n - 1) / n), and referred to t
    with n - 1 degrees of freedom. Where no resample lies beyond `null` their number says only that p is small; then it is
    that of the t statistic with the resamples' standard error, so that p does not end at 1 / n_resamples. Resamples that are
    all equal have no standard error, and p is that of their number.
    """
    resamples = draws[1:]
    under = float(np.sum(resamples < null) + 0.5 * np.sum(resamples == null))
    below = (under + 0.5) / (len(resamples) + 1)
    degrees = max(n_clusters - 1, 1)
    shrink = np.sqrt(degrees / (degrees + 1))
    z = special.ndtri(min(below, 1 - below))
    spread = float(resamples.std())
    moves = spread > _ROUNDING * max(1.0, abs(float(draws[0])))
    if under in (0.0, float(len(resamples))) and moves:
        z = min(z, -abs(float(draws[0]) - null) / spread)
    return float(min(1.0, 2 * special.stdtr(degrees, z * shrink)))


def summarise(
    draws: Floats, n_items: int, n_clusters: int, confidence: float = 0.95, null: float = 0.0
) -> Estimate:
    """`draws` (1 + n_resamples,) of a statistic, the sample's own value first, as an `Estimate`."""
    low, high = interval(draws, n_clusters, confidence)
    return Estimate(
        float(draws[0]), float(low), float(high), p_value(draws, n_clusters, null), n_items, n_clusters
    )
