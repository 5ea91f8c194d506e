"""Does a score sink over many versions of a model? Evidence that may be looked at after every version.

All versions answer the same items, and each step may be smaller than any limit. Let s_k be what unit k (an item, or a cluster of
items) has lost since the start, and f_k = 1 + lambda s_k / m with the largest unit's size m. Where no net loss is expected and
units change independently of each other, the product of all f_k has an expectation of at most 1 at every version, however an
item's outcomes hang together over time: it is an e-value for every bet lambda, and so is its mean over a grid of bets (Waudby-Smith
& Ramdas 2020, arXiv 2010.09686). That an alarm at 1 / alpha is rarely false at *any* version takes more:

- **Right-or-wrong items.** When an item changes back, its f_k is 1 again, so that noise which comes and goes costs nothing. But where
  changes hit items at random, some hit changed ones and take their variance away, and the product would grow without any drift. If
  each changed item is as likely lost as gained, any right one as likely lost as another, and any wrong one gained, the growth that
  K changed items of a group cause is expected to be `K lambda / 2m (mean of 1 / f_k over right items - over wrong ones)`, with f_k
  before the step. Where that is above 0 it is taken off the logarithm. What is left is a nonnegative supermartingale then, and Ville's
  inequality bounds the chance that it ever reaches 1 / alpha by alpha. The product over consecutive versions, of 1 + lambda (loss at
  each step), is one too; but every flip there and back costs it lambda^2. Every 32 versions the evidence so far is kept, as a factor,
  and s_k is counted anew from the version reached, as noise is dearer the more was lost. (A right-or-wrong item that is lost must be
  gained before it is lost again, so that the product of its factors is at most 1 + lambda (net loss), and what was said of every
  version still holds. It would not for clusters: with these the start stays.)
- **Other scores**: the e-value of version t counts 1 / (t (t + 1)), which sums to 1 over all versions. Scores without a limit have
  the normal mixture of their cluster-robust t statistic in place of the product, which is an e-value in large samples alone.

`benchmarks/gate_trend.py` simulates both with and without drift.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from difficulty.stats.bootstrap import cluster_sums
from difficulty.stats.clusters import Clusters, cluster_codes
from difficulty.stats.mean import FEW_CLUSTERS
from difficulty.stats.result import Floats

# From few items that all lose, to many of which half a percent more lose than gain.
BETS: Floats = np.array([0.9 * 0.5**n for n in range(8)], dtype=np.float64)
STRETCH = 32  # versions after which the start is moved; between 16 and 32 as good, more or fewer see a long, slow loss later
_MIXTURE = (
    10.0  # variance of the alternative's t statistic; near the best where an alarm is raised, at t of 4
)
LARGE_SAMPLE = 200  # units of a score without a limit


def drift_evidence(
    outcomes: Floats,
    units: Clusters = None,
    groups: NDArray[np.intp] | None = None,
    tolerance: float = 0.0,
    weights: Floats | None = None,
    bounded: bool | None = None,
) -> Floats:
    """Log e-value against "no net loss of more than `tolerance` per version" after each version, shape (versions - 1,).

    `outcomes`: shape (versions, items), higher is better, the start first. `units`: the cluster of each item, by default itself.
    `groups`: a number per item; changes are taken to hit items of one group alike. `weights` (items,): scores are weighted means.
    `bounded`: False for scores that can leave [0, 1] although none here does.

    Of fewer than 200 units of a score without a limit nothing is said: log e-values of 0.

    Raises:
        ValueError: an outcome is not finite, or shapes differ.
    """
    values = np.asarray(outcomes, dtype=float)
    if values.ndim != 2 or values.shape[1] == 0 or not np.isfinite(values).all():
        raise ValueError(f"outcomes of shape (versions, items), all finite, not {values.shape}")
    codes, n_units = cluster_codes(units, values.shape[1])
    groups = np.zeros(values.shape[1], dtype=np.intp) if groups is None else groups
    unit = bounded is not False and weights is None and values.min() >= 0 and values.max() <= 1
    looks = np.arange(1, len(values))
    if not unit:
        found = [
            _large_sample(values[0] - now, codes, n_units, tolerance * t, weights)
            for t, now in zip(looks, values[1:], strict=True)
        ]
        return np.asarray(found) - np.log(looks * (looks + 1.0))
    sizes = np.bincount(codes, minlength=n_units).astype(float)
    if np.isin(values, (0, 1)).all():
        return _right_or_wrong(values > 0.5, codes, sizes, groups, tolerance)
    bets = _bets(sizes, tolerance)
    found = [
        _mean_of_bets(np.log(_factors(values[0] - now, codes, sizes, tolerance * t, bets)).sum(axis=1))
        for t, now in zip(looks, values[1:], strict=True)
    ]
    return np.asarray(found) - np.log(looks * (looks + 1.0))


def _right_or_wrong(
    right: NDArray[np.bool_],
    codes: NDArray[np.intp],
    sizes: Floats,
    groups: NDArray[np.intp],
    tolerance: float,
) -> Floats:
    """Log e-values of right-or-wrong items, less the growth that is expected without drift."""
    n_groups = int(groups.max()) + 1
    found, price = [], np.zeros(len(BETS))
    start, bets = right[0], _bets(sizes, tolerance)
    factors = _factors(np.zeros(right.shape[1]), codes, sizes, 0.0, bets)
    for t in range(1, len(right)):
        before, now = right[t - 1], right[t]
        changed = np.bincount(groups[before != now], minlength=n_groups)
        for group in np.flatnonzero(changed):
            inside = groups == group
            price += changed[group] * _expected_growth(1 / factors[:, codes[inside]], before[inside], bets)
        behind = (t - 1) % STRETCH + 1 if sizes.max() == 1 else t
        factors = _factors(start.astype(float) - now, codes, sizes, tolerance * behind, bets)
        logs = np.log(factors).sum(axis=1)
        found.append(_mean_of_bets(logs - price))
        if behind == STRETCH and sizes.max() == 1:
            price -= logs
            start = now
            factors = np.ones_like(factors)
    return np.asarray(found)


def _expected_growth(inverse: Floats, right: NDArray[np.bool_], bets: Floats) -> Floats:
    """By how much one changed item moves the log of the product if it is lost or gained with equal chance, shape (bets,); not below 0."""
    if right.all() or not right.any():
        return np.zeros(len(bets))
    growth: Floats = bets / 2 * (inverse[:, right].mean(axis=1) - inverse[:, ~right].mean(axis=1))
    return np.maximum(growth, 0.0)


def _bets(sizes: Floats, tolerance: float) -> Floats:
    """What one lost item adds to a factor. Half as much with a tolerance, as a factor loses by that too and must stay above 0."""
    bets: Floats = BETS / (float(sizes.max()) * (2 if tolerance else 1))
    return bets


def _factors(lost: Floats, codes: NDArray[np.intp], sizes: Floats, limit: float, bets: Floats) -> Floats:
    """f_k of each bet and unit, shape (bets, units), for losses against `limit` per item (of 1 at most, the largest loss)."""
    sums = np.bincount(codes, weights=lost, minlength=len(sizes))
    factors: Floats = 1 + bets[:, None] * (sums - min(limit, 1.0) * sizes)
    return factors


def _mean_of_bets(logs: Floats) -> float:
    top = float(logs.max())
    return top + math.log(float(np.exp(logs - top).mean()))


def _large_sample(
    lost: Floats, codes: NDArray[np.intp], n_units: int, limit: float, weights: Floats | None
) -> float:
    """Log e-value of "the mean loss is at most `limit`" in large samples: a half-normal mixture over the t statistic's mean."""
    w = np.ones(len(lost)) if weights is None else weights
    sums = cluster_sums((w * (lost - limit))[:, None], codes, n_units)[:, 0]
    moved = int((np.abs(sums - np.median(sums)) > 0).sum())
    if n_units < LARGE_SAMPLE or moved < FEW_CLUSTERS:
        return 0.0
    t = float(sums.mean() / (sums.std(ddof=1) / math.sqrt(n_units)))
    share = _MIXTURE / (1 + _MIXTURE)
    below = math.erfc(-t * math.sqrt(share) / math.sqrt(2)) / 2
    return math.log(2) + t * t * share / 2 - math.log1p(_MIXTURE) / 2 + math.log(max(below, 1e-300))
