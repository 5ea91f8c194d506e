"""Tango's score statistic for right-or-wrong pairs, and its distribution summed over the trinomial.

Of n pairs b were lost and c gained. The statistic tests "the loss is `limit`"; its tails are summed at the constrained
maximum-likelihood estimate of the nuisance parameter P(gained).

Reference: Tango (1998), Statistics in Medicine 17:891; Lloyd (2008), Biometrics 64:716 (estimated p-values).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

_MANY_DISCORDANT = (
    400  # beyond this many the normal tail of the score statistic is as good, and the sum is slow
)
_TIE = 1e-9  # statistics that differ by less are equal
_AT_ONCE = 256  # outcomes whose tails are summed together
_GRID = 4000  # outcomes up to which looking at all of them is faster than a search


def score_statistic(
    n: ArrayLike, b: ArrayLike, c: ArrayLike, limit: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Tango's z of "the loss is `limit`" for b lost and c gained of n, and the constrained estimate of P(gained)."""
    lost, gained = np.asarray(b, dtype=float), np.asarray(c, dtype=float)
    n = np.asarray(n, dtype=float)
    half = -lost - gained + (2 * n - lost + gained) * limit
    root = np.sqrt(np.maximum(half**2 + 8 * n * gained * limit * (1 - limit), 0))
    p_gained = np.clip((root - half) / (4 * n), max(0.0, -limit), (1 - limit) / 2)
    variance = n * np.maximum(2 * p_gained + limit * (1 - limit), 0)
    distance = lost - gained - n * limit
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(np.abs(distance) < 1e-9, 0.0, distance / np.sqrt(variance))
    return z, p_gained


@lru_cache(maxsize=65536)
def binary_tail(n: int, b: int, c: int, limit: float, upper: bool) -> float:
    """P(a score statistic at least as extreme), of n pairs with b lost and c gained, were the loss `limit`.

    `upper`: evidence that the loss is larger than `limit`; otherwise that it is smaller.
    """
    return float(binary_tails(n, np.array([b]), np.array([c]), limit, upper)[0])


def binary_tails(n: ArrayLike, b: ArrayLike, c: ArrayLike, limit: float, upper: bool) -> NDArray[np.float64]:
    """`binary_tail` of many outcomes (b, c) of n pairs, shape (n_outcomes,)."""
    lost, gained = np.asarray(b), np.asarray(c)
    pairs = np.broadcast_to(np.asarray(n), lost.shape)
    if not -1 < limit < 1:
        return np.full(lost.shape, float((limit <= -1) != upper))
    z, p_gained = score_statistic(pairs, lost, gained, limit)
    p_lost = np.clip(p_gained + limit, 0.0, 1.0)
    tails: NDArray[np.float64] = special.ndtr(-z if upper else z)
    few = np.flatnonzero(pairs * (p_gained + p_lost) <= _MANY_DISCORDANT)
    if len(few) <= _AT_ONCE:
        parts = [few] if len(few) else []
    else:  # alike ones together
        parts = np.array_split(
            few[np.argsort(pairs[few] * p_gained[few], kind="stable")], len(few) // _AT_ONCE + 1
        )
    for part in parts:
        tails[part] = _summed(pairs[part], z[part], p_lost[part], p_gained[part], limit, upper)
    return tails


def _summed(
    n: NDArray[np.int64],
    z: NDArray[np.float64],
    p_lost: NDArray[np.float64],
    p_gained: NDArray[np.float64],
    limit: float,
    upper: bool,
) -> NDArray[np.float64]:
    """Tails of the trinomial: over the counts c, P(c) x P(as few (many) b as make the statistic as extreme | c).

    The statistic rises with b (Barnard's convexity; Sidik 2003, Computational Statistics & Data Analysis 42:271), so that for each c
    the extreme b are those up to (from) an edge, which is found by bisection, and their probability is a binomial's.
    """
    n, seen = n[:, None], z[:, None]
    c = np.minimum(_likely_counts(n, p_gained[:, None])[None, :], n)
    inside = np.concatenate([np.ones((len(n), 1), dtype=bool), c[:, 1:] > c[:, :-1]], axis=1)
    low = _edges(n, c, _likely_counts(n, p_lost[:, None]), seen, limit, upper)
    share = np.clip(p_lost / np.maximum(1 - p_gained, 1e-300), 0.0, 1.0)[:, None]
    given = special.bdtrc(low - 1.0, n - c, share) if upper else special.bdtr(low - 1.0, n - c, share)
    given = np.where(low == 0, float(upper), given)  # all b, or none
    chance = np.where(inside, _binomial(n, c, p_gained[:, None]), 0.0)
    total: NDArray[np.float64] = np.minimum((chance * given).sum(axis=1), 1.0)
    return total


def _edges(
    n: NDArray[np.int64],
    c: NDArray[np.int64],
    lost: NDArray[np.int64],
    seen: NDArray[np.float64],
    limit: float,
    upper: bool,
) -> NDArray[np.int64]:
    """For each c the b from which on outcomes are as extreme as `seen` (upper), or no longer so; beyond the likely `lost` it matters not."""
    low: NDArray[np.int64] = np.minimum(np.full(c.shape, lost[0]), n - c)
    high: NDArray[np.int64] = np.minimum(lost[-1] + 1, n - c + 1)
    if c.size * len(lost) <= _GRID:  # all at once, in place of a search of seven steps
        b = np.minimum(lost, (n - c)[..., None])
        value, _ = score_statistic(n[..., None], b, c[..., None], limit)
        before = (value < seen[..., None] - _TIE) if upper else (value <= seen[..., None] + _TIE)
        edge: NDArray[np.int64] = low + np.minimum(before.sum(axis=-1), high - low)
        return edge
    while (low < high).any():
        middle = (low + high) // 2
        value, _ = score_statistic(n, middle, c, limit)
        before = (value < seen - _TIE) if upper else (value <= seen + _TIE)
        before &= low < high
        low, high = np.where(before, middle + 1, low), np.where(before, high, middle)
    return low


def _likely_counts(n: NDArray[np.int64], p: NDArray[np.float64]) -> NDArray[np.int64]:
    """The counts that any of these binomials (n, p) takes but for a share below 1e-15."""
    spread = np.where(p > 0, 9 * np.sqrt(n * p * (1 - p)) + 12, 0)
    first, last = np.floor((n * p - spread).min()), np.ceil((n * p + spread).max())
    return np.arange(max(0, int(first)), min(int(n.max()), int(last)) + 1)


def _binomial(n: NDArray[np.int64], k: NDArray[np.int64], p: NDArray[np.float64]) -> NDArray[np.float64]:
    log_probability = (
        special.gammaln(n + 1)
        - special.gammaln(k + 1)
        - special.gammaln(n - k + 1)
        + special.xlogy(k, p)
        + special.xlog1py(n - k, -p)
    )
    found: NDArray[np.float64] = np.exp(log_probability)
    return found
