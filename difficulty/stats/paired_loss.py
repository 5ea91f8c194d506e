"""The loss between two runs on the same items: how large, and how sure that it is above or below a limit.

Right-or-wrong metrics: of n items, b were right before and wrong now ("lost"), c the other way round
("gained"); the loss is (b - c) / n. Both tails come from Tango's score statistic, and its distribution is
not assumed normal but summed over the trinomial (b, c) at the constrained maximum-likelihood estimate of
the nuisance parameter, for two reasons. Equal runs have b = c = 0, and an interval from the variance of
the differences would have no width: here the upper bound is that of the rule of three. And the normal
tail is several times too thin at the small levels that a correction for many tiers asks for.
Other metrics: a t interval of the cluster-robust mean difference.

Items of one passage or template are not independent: counts are divided by the design effect, rounded
against the claim that is being tested.

Reference: Tango (1998), Statistics in Medicine 17:891; Lloyd (2008), Biometrics 64:716 (estimated p-values).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from difficulty.stats import clustered_error

_MANY_DISCORDANT = (
    400  # beyond this many the normal tail of the score statistic is as good, and the sum is slow
)
_FEW_CLUSTERS = (
    10  # discordant clusters below which a design effect cannot be estimated, so the worst is taken
)
_BISECTIONS = 30


@dataclass(frozen=True)
class PairedLoss:
    """What one run lost against another on the same items. Positive `loss` = worse, in the metric's own units.

    `lost` and `gained` count items that got worse or better; `binary` says that all values are 0 or 1.
    """

    n_items: int
    n_clusters: int
    before: float
    after: float
    loss: float
    lost: int
    gained: int
    binary: bool
    design_effect: float
    standard_error: float
    bounded: bool = True

    def p_exceeds(self, limit: float) -> float:
        """P-value of "the loss is at most `limit`": small when the loss is shown to exceed it."""
        if self.binary:
            n, b, c = self._counts(against="loss")
            return binary_tail(n, b, c, limit, upper=True)
        return self._t_tail(limit - self.loss)

    def p_below(self, limit: float) -> float:
        """P-value of "the loss is at least `limit`": small when the loss is shown to stay below it."""
        if self.binary:
            n, b, c = self._counts(against="no loss")
            return binary_tail(n, b, c, limit, upper=False)
        return max(self._t_tail(self.loss - limit), self._rare_loss_p(limit))

    def bounds(self, alpha: float = 0.05) -> tuple[float, float]:
        """One-sided lower and upper 1 - `alpha` confidence bounds of the loss (together: 1 - 2 `alpha`)."""
        if self.binary:
            low = _solve(lambda limit: self.p_exceeds(limit) >= alpha, -1.0, max(self.loss, -1.0))
            high = _solve(lambda limit: self.p_below(limit) < alpha, min(self.loss, 1.0), 1.0)
            return low, high
        if self.n_clusters < 2:
            return -math.inf, math.inf
        half = float(stats.t.ppf(1 - alpha, self.n_clusters - 1)) * self.standard_error
        return self.loss - half, max(self.loss + half, self._rare_loss_bound(alpha))

    def items_to_decide(self, limit: float, alpha: float = 0.05, power: float = 0.8) -> int | None:
        """Items at which a loss like this one would be told from `limit`; None when it lies on the limit itself."""
        gap = abs(limit - self.loss)
        if gap == 0:
            return None
        if self.binary and self.lost + self.gained == 0 and limit > 0:
            return math.ceil(self.design_effect * math.log(alpha) / math.log1p(-min(limit, 0.999)))
        if self.binary:
            discordance = (self.lost + self.gained + 1) / (self.n_items + 2)
            variance = max(discordance - self.loss**2, 1 / (self.n_items + 2)) * self.design_effect
        else:
            variance = self.n_items * self.standard_error**2
        z = float(stats.norm.ppf(1 - alpha) + stats.norm.ppf(power))
        wanted = math.ceil(variance * (z / gap) ** 2)
        return None if wanted > 1_000_000 else max(wanted, self.n_items + 1)

    def _counts(self, against: str) -> tuple[int, int, int]:
        """Effective (n, b, c), rounded so that the claim `against` which the test speaks is not helped."""
        if self.design_effect <= 1:
            return self.n_items, self.lost, self.gained
        n, b, c = (x / self.design_effect for x in (self.n_items, self.lost, self.gained))
        if against == "loss":
            return math.ceil(n), math.floor(b), math.ceil(c)
        return max(1, math.floor(n), math.ceil(b) + math.floor(c)), math.ceil(b), math.floor(c)

    def _t_tail(self, distance: float) -> float:
        if self.n_clusters < 2:
            return 1.0
        if self.standard_error == 0:
            return float(distance >= 0)
        return float(stats.t.cdf(distance / self.standard_error, self.n_clusters - 1))

    def _rare_loss_bound(self, alpha: float) -> float:
        """Upper bound of a loss that few items show: the share that got worse, each by at most 1 (scores in [0, 1])."""
        if not self.bounded or self.lost + self.gained >= _FEW_CLUSTERS:
            return -math.inf
        n = self.n_items / self.design_effect
        lost = min(self.lost / self.design_effect, n)
        return 1.0 if lost >= n else float(stats.beta.ppf(1 - alpha, lost + 1, n - lost))

    def _rare_loss_p(self, limit: float) -> float:
        if not self.bounded or self.lost + self.gained >= _FEW_CLUSTERS:
            return 0.0
        n = self.n_items / self.design_effect
        lost = min(self.lost / self.design_effect, n)
        if lost >= n or limit <= 0:
            return 1.0
        return float(stats.beta.sf(min(limit, 1.0), lost + 1, n - lost))


def paired_loss(
    before: ArrayLike,
    after: ArrayLike,
    clusters: Sequence[object] | NDArray[Any] | None = None,
    lower_is_better: bool = False,
) -> PairedLoss:
    """The loss of `after` against `before`, both of shape (n_items,) in the same order.

    `clusters` names the group of each item, shape (n_items,); by default every item is its own.
    """
    x, y = np.asarray(before, dtype=float), np.asarray(after, dtype=float)
    if x.shape != y.shape or x.ndim != 1 or len(x) == 0:
        raise ValueError(f"paired values need equal, non-zero lengths, not {x.shape} and {y.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("paired values must be finite numbers")
    sign = -1.0 if lower_is_better else 1.0
    difference = sign * (x - y)
    codes, n_clusters = cluster_codes(clusters, len(x))
    binary = bool(np.isin(x, (0, 1)).all() and np.isin(y, (0, 1)).all())
    return PairedLoss(
        n_items=len(x),
        n_clusters=n_clusters,
        before=float(x.mean()),
        after=float(y.mean()),
        loss=float(difference.mean()),
        lost=int((difference > 0).sum()),
        gained=int((difference < 0).sum()),
        binary=binary,
        design_effect=_design_effect(difference, codes, n_clusters),
        standard_error=clustered_standard_error(difference, codes),
        bounded=bool(x.min() >= 0 and x.max() <= 1 and y.min() >= 0 and y.max() <= 1),
    )


def cluster_codes(clusters: Sequence[object] | NDArray[Any] | None, n: int) -> tuple[NDArray[np.intp], int]:
    """A number for each of n items' clusters, shape (n,), and how many clusters there are; None: one an item."""
    numbers: dict[object, int] = {}
    if clusters is None or len(set(clusters)) == n:
        return np.arange(n), n
    codes = np.asarray([numbers.setdefault(name, len(numbers)) for name in clusters])
    return codes, len(numbers)


def clustered_standard_error(difference: NDArray[np.float64], codes: NDArray[np.intp]) -> float:
    """Cluster-robust standard error of the mean; infinite for a single cluster."""
    error, n_clusters = clustered_error(difference, codes.astype(np.int64))
    return error if n_clusters > 1 else math.inf


def _design_effect(difference: NDArray[np.float64], codes: NDArray[np.intp], n_clusters: int) -> float:
    """By how much clustering inflates the variance, at least 1; the largest possible where few clusters differ."""
    n = len(difference)
    if n_clusters == n:
        return 1.0
    sizes = np.bincount(codes, minlength=n_clusters)
    worst = float((sizes.astype(float) ** 2).sum() / n)
    if len(np.unique(codes[difference != 0])) < _FEW_CLUSTERS:
        return worst
    plain = float(difference.std(ddof=1)) / math.sqrt(n)
    return float(np.clip((clustered_standard_error(difference, codes) / plain) ** 2, 1.0, worst))


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
        return float(stats.norm.sf(z_seen) if upper else stats.norm.cdf(z_seen))
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


def _solve(above: object, low: float, high: float) -> float:
    """The limit in [low, high] from which `above` is true, by bisection."""
    assert callable(above)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if above(middle):
            high = middle
        else:
            low = middle
    return high
