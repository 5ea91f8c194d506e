"""Tango's score statistic for right-or-wrong pairs, and its distribution summed over the trinomial.

Of n pairs b were lost and c gained. The statistic tests "the loss is `limit`"; its tails are summed at the constrained
maximum-likelihood estimate of the nuisance parameter P(gained).

Reference: Tango (1998), Statistics in Medicine 17:891; Lloyd (2008), Biometrics 64:716 (estimated p-values).
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

_MANY_DISCORDANT = (
    400  # beyond this many the normal tail of the score statistic is as good, and the sum is slow
)


def score_statistic(
    n: int, b: ArrayLike, c: ArrayLike, limit: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Tango's z of "the loss is `limit`" for b lost and c gained of n, and the constrained estimate of P(gained)."""
    lost, gained = np.asarray(b, dtype=float), np.asarray(c, dtype=float)
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
    if not -1 < limit < 1:
        return float((limit <= -1) != upper)
    z_seen, p_gained = (float(x) for x in score_statistic(n, b, c, limit))
    p_lost = min(max(p_gained + limit, 0.0), 1.0)
    if n * (p_gained + p_lost) > _MANY_DISCORDANT:
        return float(special.ndtr(-z_seen if upper else z_seen))
    lost = _likely_counts(n, p_lost)[:, None]
    gained = _likely_counts(n, p_gained)[None, :]
    z, _ = score_statistic(n, lost, gained, limit)
    extreme = z >= z_seen - 1e-9 if upper else z <= z_seen + 1e-9
    return float(min(1.0, _trinomial(n, lost, gained, p_lost, p_gained)[extreme].sum()))


def _likely_counts(n: int, p: float) -> NDArray[np.int64]:
    """The counts that a binomial(n, p) takes but for a share below 1e-15."""
    if p <= 0:
        return np.zeros(1, dtype=np.int64)
    spread = 9 * math.sqrt(n * p * (1 - p)) + 12
    return np.arange(max(0, math.floor(n * p - spread)), min(n, math.ceil(n * p + spread)) + 1)


def _trinomial(
    n: int, lost: NDArray[np.int64], gained: NDArray[np.int64], p_lost: float, p_gained: float
) -> NDArray[np.float64]:
    rest = n - lost - gained
    inside = rest >= 0
    rest = np.maximum(rest, 0)
    log_probability = (
        special.gammaln(n + 1)
        - special.gammaln(lost + 1)
        - special.gammaln(gained + 1)
        - special.gammaln(rest + 1)
        + special.xlogy(lost, p_lost)
        + special.xlogy(gained, p_gained)
        + special.xlogy(rest, max(0.0, 1 - p_lost - p_gained))
    )
    return np.where(inside, np.exp(log_probability), 0.0)
