"""The loss between two runs on the same items: how large, and how sure that it is above or below a limit.

Right-or-wrong metrics: of n items, b were right before and wrong now ("lost"), c the other way round
("gained"); the loss is (b - c) / n. Both tails come from Tango's score statistic, and its distribution is
not assumed normal but summed over the trinomial (b, c) at the constrained maximum-likelihood estimate of
the nuisance parameter (`tango.py`), for two reasons. Equal runs have b = c = 0, and an interval from the
variance of the differences would have no width: here the upper bound is that of the rule of three. And the
normal tail is several times too thin at the small levels that a correction for many tiers asks for.

Other metrics: a t interval of the cluster-robust (weighted) mean difference. Perplexity is exp of a weighted mean
of nats, so the paired difference D of those means is the log of the ratio of the two perplexities: a loss of L on
a baseline of P is D = log(1 + L / P), with P taken as it was observed.

Items of one passage or template are not independent: counts are divided by the design effect, rounded
against the claim that is being tested. Differences below 1e-6 are rounding of the machine and count as none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from difficulty.stats.clusters import Clusters, cluster_codes
from difficulty.stats.mean import (
    Scale,
    checked_weights,
    clustered_standard_error,
    in_nats_or_units,
    read_on,
    weighted_mean,
)
from difficulty.stats.result import Bools, Floats
from difficulty.stats.tango import binary_tail

SAME = 1e-6  # a difference up to this, relative to values beyond 1, is the rounding of a machine
_JITTER = 1e-3  # a difference up to this tells nothing of how often an item is lost as a whole
# Clusters with a difference below which neither a design effect nor a variance can be estimated: the worst is taken.
_FEW_CLUSTERS = 10
_BISECTIONS = 30


@dataclass(frozen=True)
class PairedLoss:
    """What one run lost against another on the same items. Positive `loss` = worse, in the metric's own units.

    `before`, `after`: the (weighted) means, as perplexity or bits on these scales. `lost` and `gained` count items that got
    worse or better; `binary` says that all values are 0 or 1, `bounded` that they lie between. `shift` with `standard_error`:
    the loss on the scale that is averaged (nats for perplexity). `moved` and `fell` count items that changed, and got worse,
    by more than 0.001; no other item changed by more than `jitter`.
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
    bounded: bool
    scale: Scale
    shift: float
    moved: int
    fell: int
    jitter: float

    def p_exceeds(self, limit: float) -> float:
        """P-value of "the loss is at most `limit`": small when the loss is shown to exceed it."""
        if self.binary:
            n, b, c = self._counts(against="loss")
            return binary_tail(n, b, c, limit, upper=True)
        return self._t_tail(self._shift_of(limit) - self.shift)

    def p_below(self, limit: float) -> float:
        """P-value of "the loss is at least `limit`": small when the loss is shown to stay below it."""
        if self.binary:
            n, b, c = self._counts(against="no loss")
            return binary_tail(n, b, c, limit, upper=False)
        return max(self._t_tail(self.shift - self._shift_of(limit)), self._rare_loss_p(limit))

    def bounds(self, alpha: float = 0.05) -> tuple[float, float]:
        """One-sided lower and upper 1 - `alpha` confidence bounds of the loss (together: 1 - 2 `alpha`)."""
        if self.binary:
            low = _solve(lambda limit: self.p_exceeds(limit) >= alpha, -1.0, max(self.loss, -1.0))
            high = _solve(lambda limit: self.p_below(limit) < alpha, min(self.loss, 1.0), 1.0)
            return low, high
        if self.n_clusters < 2:
            return -math.inf, math.inf
        half = float(stats.t.ppf(1 - alpha, self.n_clusters - 1)) * self.standard_error
        low, high = self._loss_of(self.shift - half), self._loss_of(self.shift + half)
        return low, max(high, self._rare_loss_bound(alpha))

    def items_to_decide(self, limit: float, alpha: float = 0.05, power: float = 0.8) -> int | None:
        """Items at which a loss like this one would be told from `limit`; None when it lies on the limit itself."""
        gap = abs(self._shift_of(limit) - self.shift)
        if gap == 0 or not math.isfinite(gap):
            return None
        if self.bounded and self.moved == 0 and limit > self.jitter:
            share = min(limit - self.jitter, 0.999)
            return math.ceil(self.design_effect * math.log(alpha) / math.log1p(-share))
        if self.binary:
            discordance = (self.lost + self.gained + 1) / (self.n_items + 2)
            variance = max(discordance - self.loss**2, 1 / (self.n_items + 2)) * self.design_effect
        else:
            variance = self.n_items * self.standard_error**2
        if not math.isfinite(variance):
            return None
        z = float(stats.norm.ppf(1 - alpha) + stats.norm.ppf(power))
        wanted = math.ceil(variance * (z / gap) ** 2)
        return None if wanted > 1_000_000 else max(wanted, self.n_items + 1)

    def _shift_of(self, limit: float) -> float:
        """A loss in the metric's units on the scale that is averaged: log(1 + L / P) for perplexity."""
        if self.scale != "perplexity":
            return limit
        return math.log1p(limit / self.before) if limit > -self.before else -math.inf

    def _loss_of(self, shift: float) -> float:
        if self.scale != "perplexity":
            return shift
        return self.before * math.expm1(shift) if shift < 709 else math.inf

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
        """Upper bound of a loss that few items show: the share that fell, each by at most 1, and the jitter of the rest."""
        if not self.bounded or self.moved >= _FEW_CLUSTERS:
            return -math.inf
        n = self.n_items / self.design_effect
        fell = min(self.fell / self.design_effect, n)
        share = 1.0 if fell >= n else float(stats.beta.ppf(1 - alpha, fell + 1, n - fell))
        return min(share + self.jitter, 1.0)

    def _rare_loss_p(self, limit: float) -> float:
        if not self.bounded or self.moved >= _FEW_CLUSTERS:
            return 0.0
        n = self.n_items / self.design_effect
        fell = min(self.fell / self.design_effect, n)
        limit -= self.jitter
        if fell >= n or limit <= 0:
            return 1.0
        return float(stats.beta.sf(min(limit, 1.0), fell + 1, n - fell))


def paired_loss(
    before: ArrayLike,
    after: ArrayLike,
    clusters: Clusters = None,
    lower_is_better: bool = False,
    weights: ArrayLike | None = None,
    scale: Scale = "mean",
) -> PairedLoss:
    """The loss of `after` against `before`, both of shape (n_items,) in the same order.

    `clusters` names the group of each item, shape (n_items,); by default every item is its own. `weights` (n_items,), above
    0, by default equal. On the scales "perplexity" and "bits" the values are negative log-likelihoods in nats per unit of
    weight, and lower is better.

    Raises:
        ValueError: lengths differ, a value is not finite, or higher is said to be better for perplexity or bits.
    """
    x, y = in_nats_or_units(before, scale), in_nats_or_units(after, scale)
    if x.shape != y.shape or x.ndim != 1 or len(x) == 0:
        raise ValueError(f"paired values need equal, non-zero lengths, not {x.shape} and {y.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("paired values must be finite numbers")
    if scale != "mean" and not lower_is_better:
        raise ValueError(f"lower is better on the scale {scale!r}")
    y = np.where(np.abs(x - y) <= SAME * np.maximum(1.0, np.abs(x)), x, y)
    difference = (y - x) if lower_is_better else (x - y)
    w = checked_weights(weights, len(x))
    codes, n_clusters = cluster_codes(clusters, len(x))
    unit = scale == "mean" and bool(min(x.min(), y.min()) >= 0 and max(x.max(), y.max()) <= 1)
    binary = unit and w is None and bool(np.isin(x, (0, 1)).all() and np.isin(y, (0, 1)).all())
    moved: Bools = np.abs(difference) > _JITTER
    first, second = weighted_mean(x, w), weighted_mean(y, w)
    shift = weighted_mean(difference, w)
    return PairedLoss(
        n_items=len(x),
        n_clusters=n_clusters,
        before=read_on(first, scale),
        after=read_on(second, scale),
        loss=shift if scale != "perplexity" else read_on(second, scale) - read_on(first, scale),
        lost=int((difference > 0).sum()),
        gained=int((difference < 0).sum()),
        binary=binary,
        design_effect=_design_effect(difference, codes, n_clusters, moved) * _unequal(w),
        standard_error=clustered_standard_error(difference, codes, w),
        bounded=unit,
        scale=scale,
        shift=shift,
        moved=int(moved.sum()),
        fell=int((difference > _JITTER).sum()),
        jitter=float(np.abs(difference[~moved]).max(initial=0.0)),
    )


def _design_effect(difference: Floats, codes: NDArray[np.intp], n_clusters: int, moved: Bools) -> float:
    """By how much clustering inflates the variance, at least 1; the largest possible where few clusters differ."""
    n = len(difference)
    if n_clusters == n:
        return 1.0
    sizes = np.bincount(codes, minlength=n_clusters)
    worst = float((sizes.astype(float) ** 2).sum() / n)
    if len(np.unique(codes[moved])) < _FEW_CLUSTERS:
        return worst
    plain = float(difference.std(ddof=1)) / math.sqrt(n)
    if plain == 0:
        return worst
    return float(np.clip((clustered_standard_error(difference, codes) / plain) ** 2, 1.0, worst))


def _unequal(weights: Floats | None) -> float:
    """Kish's design effect of unequal weights, n sum w^2 / (sum w)^2; 1 for equal ones."""
    return 1.0 if weights is None else float(len(weights) * (weights**2).sum() / weights.sum() ** 2)


def _solve(above: Callable[[float], bool], low: float, high: float) -> float:
    """The limit in [low, high] from which `above` is true, by bisection."""
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if above(middle):
            high = middle
        else:
            low = middle
    return high
