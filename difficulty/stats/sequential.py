"""What two runs' paired losses show at any time of an evaluation that is not yet complete.

Scores between 0 and 1: exact bets (`betting.py`). Unbounded metrics (nats, perplexity, bits): no bet is safe, as one item could lose
anything, and the evidence is asymptotic: with t units of linearised losses S_k - R m_k, R = sum S / sum m, of standard deviation s, the
walk Z_t = sum(S_k - L m_k) / s is taken as Gaussian, and mixed over half-normal drifts of scale rho:

    e_t = 2 / sqrt(t rho^2 + 1) exp(rho^2 Z_t^2 / (2 (t rho^2 + 1))) Phi(rho Z_t / sqrt(t rho^2 + 1)).

rho is chosen so that the boundary is tightest at the number of units where a decision is hoped for. Where a few large losses make the
mean and its standard error rise together, Z is not Gaussian at a few hundred units. So T = Z / sqrt t is also taken through Hall's
transformation, ((1 + c T)^3 - 1) / 3c + c / 2 with c = skewness / (3 sqrt t), which takes the skewness out and vanishes as t grows, and
the smaller evidence counts. What no unit has shown yet, nothing can take into account.

Reference: Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas 2024, Annals of Statistics 52:2613, arXiv 2103.06476 (Theorem 2.2, Proposition B.1
for one side, and the choice of rho); Robbins 1970; Hall 1992, JRSS B 54:221 (the transformation).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from difficulty.stats.betting import Evidence, evidence
from difficulty.stats.clusters import Clusters
from difficulty.stats.mean import Scale, shift_of
from difficulty.stats.paired_loss import UNBOUNDED_ITEMS, PairedLoss, paired_loss
from difficulty.stats.result import Floats

TUNED_FOR = 1000  # units at which the asymptotic boundary is tightest unless another number is given
_BISECTIONS = 60


def sequential_evidence(
    before: ArrayLike,
    after: ArrayLike,
    limit: float,
    clusters: Clusters = None,
    lower_is_better: bool = False,
    weights: ArrayLike | None = None,
    scale: Scale = "mean",
    bounded: bool | None = None,
    largest: float | None = None,
    baseline: float | None = None,
    n_best: int = TUNED_FOR,
) -> Evidence:
    """The evidence of the items asked so far, in the order in which they were drawn, whole clusters at a time.

    Arguments as of `paired_loss`; `limit` in the metric's units. `largest`: items (or weight) of the largest cluster that can come,
    which must be known before looking wherever there are clusters or weights. `baseline`: the baseline's perplexity on all items
    that can come, by default on those asked, which makes a limit of it a share. `n_best`: see `asymptotic_evidence`.

    Raises:
        ValueError: as `paired_loss` and `evidence`; or `largest` is not known.
    """
    loss = paired_loss(before, after, clusters, lower_is_better, weights, scale, bounded)
    return evidence_of(loss, limit, largest, baseline, n_best)


def evidence_of(
    loss: PairedLoss,
    limit: float,
    largest: float | None = None,
    baseline: float | None = None,
    n_best: int = TUNED_FOR,
) -> Evidence:
    """`sequential_evidence` of losses that are paired already, of items in the order in which they were drawn."""
    if not loss.bounded:
        shift = shift_of(limit, baseline or loss.before, loss.scale)
        return asymptotic_evidence(loss.sums, loss.sizes, shift, n_best)
    if largest is None:
        if (loss.sizes != 1).any():
            raise ValueError(
                "items of clusters or weights need the size of the largest cluster that can come (largest=)"
            )
        largest = 1.0
    return evidence(loss.sums, loss.sizes, limit, largest)


def asymptotic_evidence(sums: ArrayLike, sizes: ArrayLike, limit: float, n_best: int = TUNED_FOR) -> Evidence:
    """Log e-values that the ratio sum(sums) / sum(sizes) is below, or above, `limit`; none before `UNBOUNDED_ITEMS` units.

    Units that are all equal to the last digit refute every other mean. `n_best`: the number of units at which the boundary at 5 % is
    tightest; to be chosen before looking.
    """
    below, above = asymptotic_path(sums, sizes, limit, n_best)
    return Evidence(float(below[-1]), float(above[-1]), False) if len(below) else Evidence(0.0, 0.0, False)


def asymptotic_path(
    sums: ArrayLike, sizes: ArrayLike, limit: float, n_best: int = TUNED_FOR
) -> tuple[Floats, Floats]:
    """(below, above) after each unit, shape (n_units,) each."""
    ahead, spread, skew = _walk(sums, sizes, limit)
    t = np.arange(1, len(ahead) + 1, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(ahead == 0, 0.0, ahead / spread)
    finite = np.isfinite(z)
    skewless = np.sqrt(t) * _unskewed(np.where(finite, z, 0.0) / np.sqrt(t), skew / (3 * np.sqrt(t)))
    skewless = np.where(finite, skewless, z)
    enough = t >= UNBOUNDED_ITEMS
    rho2 = _rho2(n_best)
    down = np.minimum(_log_e(-z, t, rho2), _log_e(-skewless, t, rho2))
    up = np.minimum(_log_e(z, t, rho2), _log_e(skewless, t, rho2))
    return np.where(enough, down, 0.0), np.where(enough, up, 0.0)


def asymptotic_confidence_sequence(
    sums: ArrayLike, sizes: ArrayLike, alpha: float = 0.05, n_best: int = TUNED_FOR
) -> tuple[float, float]:
    """One-sided lower and upper bounds of sum(sums) / sum(sizes) that hold at all looks together, each asymptotically at `alpha`."""
    m = np.asarray(sizes, dtype=float)
    t = len(m)
    if t < UNBOUNDED_ITEMS:
        return -math.inf, math.inf
    ratio = float(np.asarray(sums, dtype=float).sum() / m.sum())
    _, spread, skew = (float(x[-1]) for x in _walk(sums, sizes, ratio))
    edge = _boundary(t, _rho2(n_best), alpha) / math.sqrt(t)
    unit, c = spread * math.sqrt(t) / float(m.sum()), skew / (3 * math.sqrt(t))
    low, high = max(edge, _skewed(edge, c)), min(-edge, _skewed(-edge, c))
    return ratio - unit * low, ratio - unit * high


def _walk(sums: ArrayLike, sizes: ArrayLike, limit: float) -> tuple[Floats, Floats, Floats]:
    """After each unit: the sum of S - limit m, and the standard deviation and the skewness of the residuals S - R m so far."""
    m = np.asarray(sizes, dtype=float)
    y = np.asarray(sums, dtype=float) - limit * m
    ahead, total, t = np.cumsum(y), np.cumsum(m), np.arange(1, len(y) + 1)
    rest = ahead / total  # R - limit: residuals are y - (R - limit) m
    squares = np.cumsum(y * y) - 2 * rest * np.cumsum(y * m) + rest**2 * np.cumsum(m * m)
    noise = 1e-14 * np.cumsum(y * y)  # what cancellation leaves of equal units
    squares = np.where(squares <= noise, 0.0, squares)
    cubes = np.cumsum(y**3) - 3 * rest * np.cumsum(y**2 * m) + 3 * rest**2 * np.cumsum(y * m**2)
    cubes = cubes - rest**3 * np.cumsum(m**3)
    with np.errstate(divide="ignore", invalid="ignore"):
        skew = np.where(squares > 0, np.sqrt(t) * cubes / squares**1.5, 0.0)
    return ahead, np.sqrt(squares / np.maximum(t - 1, 1)), skew


def _unskewed(x: Floats, c: Floats) -> Floats:
    """Hall's transformation, written without dividing by c."""
    return x + c * x**2 + c**2 * x**3 / 3 + c / 2


def _skewed(x: float, c: float) -> float:
    """Its inverse."""
    if abs(c) < 1e-9:
        return x
    return (float(np.cbrt(1 + 3 * c * (x - c / 2))) - 1) / c


def _rho2(n_best: int) -> float:
    """The mixture's variance for which the one-sided boundary at 5 % is tightest at `n_best` units (arXiv 2103.06476, B.1)."""
    level = -2 * math.log(2 * 0.05)
    return (level + math.log(level + 1)) / n_best


def _log_e(z: Floats, t: Floats, rho2: float) -> Floats:
    scale = t * rho2 + 1
    with np.errstate(invalid="ignore"):
        log_e = (
            math.log(2)
            - np.log(scale) / 2
            + rho2 * z**2 / (2 * scale)
            + special.log_ndtr(z * np.sqrt(rho2 / scale))
        )
    return np.where(z == -np.inf, -np.inf, log_e)


def _boundary(t: int, rho2: float, alpha: float) -> float:
    """The z at which the evidence after t units reaches 1 / alpha."""
    at = np.array([t], dtype=float)
    low, high = 0.0, 10.0 * math.sqrt(t) + 10.0
    while float(_log_e(np.array([high]), at, rho2)[0]) < -math.log(alpha):
        high *= 2
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (
            (low, middle)
            if float(_log_e(np.array([middle]), at, rho2)[0]) >= -math.log(alpha)
            else (middle, high)
        )
    return high
