"""Differences of two runs on the same items, with errors that know of pairs and clusters."""

from __future__ import annotations

import numpy as np
from scipy import special

from difficulty.stats.bootstrap import cluster_sums
from difficulty.stats.result import Estimate, Floats, Ints


def clustered_error(values: Floats, clusters: Ints) -> tuple[float, int]:
    """Standard error of the mean of `values` with clusters, and their number G: sqrt(G/(G-1) sum_g S_g^2) / n.

    S_g is the sum of deviations in cluster g.
    Reference: Miller 2024, arXiv 2411.00640, eq. 4, with the small-sample factor of CR1.
    """
    _, codes = np.unique(clusters, return_inverse=True)
    groups = int(codes.max()) + 1
    sums = cluster_sums((values - values.mean())[:, None], codes, groups)[:, 0]
    if groups < 2:
        return float("nan"), groups
    return float(np.sqrt(groups / (groups - 1) * (sums**2).sum()) / len(values)), groups


def paired_difference(
    first: Floats, second: Floats, clusters: Ints | None = None, confidence: float = 0.95
) -> Estimate:
    """Mean of `first - second` over items (same order), with a clustered t interval on G - 1 degrees of freedom.

    Raises:
        ValueError: the two differ in length.
    """
    if first.shape != second.shape:
        raise ValueError(f"paired values of lengths {len(first)} and {len(second)} cannot be compared.")
    difference = first - second
    error, groups = clustered_error(difference, np.arange(len(first)) if clusters is None else clusters)
    mean = float(difference.mean())
    half = float(special.stdtrit(max(groups - 1, 1), (1 + confidence) / 2)) * error
    if not error > 0:
        p = float("nan") if np.isnan(error) else float(mean == 0)
    else:
        p = float(2 * special.stdtr(groups - 1, -abs(mean) / error))
    return Estimate(mean, mean - half, mean + half, p, len(first), groups)


def equivalence_p(estimate: float, error: float, delta: float, degrees: float) -> float:
    """TOST: p against |difference| >= delta, the larger of two one-sided t tests (Schuirmann 1987)."""
    if error == 0:
        return float(abs(estimate) >= delta)
    lower = special.stdtr(degrees, -(estimate + delta) / error)
    upper = special.stdtr(degrees, (estimate - delta) / error)
    return float(max(lower, upper))


def noninferiority_p(loss: float, error: float, delta: float, degrees: float) -> float:
    """One-sided p against loss >= delta: small where the loss is shown to be less than delta."""
    if error == 0:
        return float(loss >= delta)
    return float(special.stdtr(degrees, (loss - delta) / error))
