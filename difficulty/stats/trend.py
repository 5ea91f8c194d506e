"""Tests of ordered alternatives: Page, Jonckheere-Terpstra, Kendall's tau of a curve, and shuffled tier labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from difficulty.stats.result import Floats, Ints


@dataclass(frozen=True)
class Trend:
    """`statistic` with its mean and variance under the null; `z`, and `p` two-sided by the normal approximation."""

    statistic: float
    mean: float
    variance: float
    z: float
    p: float
    n: int


def _trend(statistic: float, mean: float, variance: float, n: int) -> Trend:
    z = (statistic - mean) / np.sqrt(variance) if variance > 0 else 0.0
    return Trend(statistic, mean, variance, float(z), float(2 * special.ndtr(-abs(z))), n)


def page(rows: Floats) -> Trend:
    """Page's L: do the values within each row rise along the columns? Shape (n_rows, n_columns); z > 0 = they rise.

    L = sum_j j R_j with mid-ranks in the rows; under exchange within rows E L = n k (k + 1)^2 / 4 and
    Var L = sum_rows [sum_j (j - mean)^2] [sum_j (r_ij - mean)^2] / (k - 1), which counts ties.
    Reference: Page 1963, JASA 58:216; the conditional variance as for any linear rank statistic (Hajek & Sidak 1967).
    """
    n, k = rows.shape
    ranks = _mid_ranks(rows)
    columns = np.arange(1, k + 1)
    spread = ((ranks - (k + 1) / 2) ** 2).sum()
    variance = spread * ((columns - (k + 1) / 2) ** 2).sum() / (k - 1)
    return _trend(float((ranks @ columns).sum()), n * k * (k + 1) ** 2 / 4, float(variance), n)


def _mid_ranks(rows: Floats) -> Floats:
    """Ranks 1 .. k within rows, ties sharing their mean rank; by counting, as there are few columns."""
    ranks = np.empty(rows.shape)
    for j in range(rows.shape[1]):
        value = rows[:, j : j + 1]
        ranks[:, j] = (rows < value).sum(axis=1) + ((rows == value).sum(axis=1) + 1) / 2
    return ranks


def jonckheere_terpstra(values: Floats, groups: Ints) -> Trend:
    """Do independent values rise with the group number? z > 0 = they rise.

    J = sum over pairs of groups of the Mann-Whitney count, ties one half; variance with ties in values.
    Reference: Jonckheere 1954, Biometrika 41:133; Hollander & Wolfe 1999, eq. 6.19.
    """
    n = len(values)
    _, codes = np.unique(groups, return_inverse=True)
    sizes = np.bincount(codes).astype(float)
    statistic = 0.0
    for low in range(len(sizes)):
        below = np.sort(values[codes == low])
        higher = values[codes > low]
        left = np.searchsorted(below, higher, side="left")
        right = np.searchsorted(below, higher, side="right")
        statistic += float((left + right).sum()) / 2
    ties = np.unique(values, return_counts=True)[1].astype(float)
    return _trend(statistic, (n**2 - (sizes**2).sum()) / 4, _jt_variance(n, sizes, ties), n)


def _jt_variance(n: int, sizes: Floats, ties: Floats) -> float:
    """The variance of J given the group sizes and the sizes of the groups of tied values."""
    first = n * (n - 1) * (2 * n + 5)
    first -= (sizes * (sizes - 1) * (2 * sizes + 5)).sum() + (ties * (ties - 1) * (2 * ties + 5)).sum()
    variance = first / 72
    if n > 2:
        three = (sizes * (sizes - 1) * (sizes - 2)).sum() * (ties * (ties - 1) * (ties - 2)).sum()
        variance += three / (36 * n * (n - 1) * (n - 2))
    variance += (sizes * (sizes - 1)).sum() * (ties * (ties - 1)).sum() / (8 * n * (n - 1))
    return float(variance)


def kendall_tau(levels: Floats, scores: Floats) -> float:
    """Kendall's tau-b between levels and mean scores: -1 where every higher level scores lower; 0 for a flat curve."""
    rises = np.sign(np.subtract.outer(levels, levels)) * np.sign(np.subtract.outer(scores, scores))
    untied = [np.count_nonzero(np.subtract.outer(v, v)) for v in (levels, scores)]
    return float(rises.sum() / np.sqrt(untied[0] * untied[1])) if all(untied) else 0.0


def shuffled_slope(
    sums: Floats, sizes: Floats, tiers: Ints, n_shuffles: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Slope of the tier means on the tier number, and its two-sided permutation p: cluster labels are shuffled.

    `sums` and `sizes` (n_clusters,): a cluster's summed values and number of items; `tiers` (n_clusters,): its tier.
    p = (1 + number of shuffles at least as steep) / (1 + n_shuffles) (Phipson & Smyth 2010).
    """
    numbers, codes = np.unique(tiers, return_inverse=True)
    centred = numbers - numbers.mean()
    weights = centred / (centred**2).sum()
    labels = np.empty((1 + n_shuffles, len(codes)), dtype=np.int64)
    labels[0] = codes
    labels[1:] = rng.permuted(np.broadcast_to(codes, (n_shuffles, len(codes))), axis=1)
    slopes = np.zeros(1 + n_shuffles)
    for code, weight in enumerate(weights):
        member = labels == code
        slopes += weight * (member @ sums) / (member @ sizes)
    beyond = np.abs(slopes[1:]) >= abs(slopes[0]) * (1 - 1e-12)
    return float(slopes[0]), float((1 + beyond.sum()) / (1 + n_shuffles))
