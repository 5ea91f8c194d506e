"""The loss between two runs on the same items: how large, and how sure that it is above or below a limit.

Right-or-wrong metrics: of n items, b were right before and wrong now ("lost"), c the other way round
("gained"); the loss is (b - c) / n. Both tails come from Tango's score statistic, and its distribution is
not assumed normal but summed over the trinomial (b, c) at the constrained maximum-likelihood estimate of
the nuisance parameter (`tango.py`), for two reasons. Equal runs have b = c = 0, and an interval from the
variance of the differences would have no width: here the upper bound is that of the rule of three. And the
normal tail is several times too thin at the small levels that a correction for many tiers asks for.

Other metrics: the wider one of a t interval of the cluster-robust (weighted) mean difference and of the studentized
bootstrap (`studentized.py`), as few items can carry much of the loss. Scores between 0 and 1 of which few changed have the
Clopper-Pearson bound of the share that did. Unbounded metrics (perplexity, bits, BLEU up to 100) have no such bound: the gate
asks for `UNBOUNDED_ITEMS` of them. Perplexity is exp of a weighted mean of nats, so the paired difference D of those means is the log of the ratio of the two perplexities: a loss of L on
a baseline of P is D = log(1 + L / P), with P taken as it was observed.

Items of one passage or template are not independent: counts are divided by the design effect, rounded
against the claim that is being tested. Differences below 1e-6 are rounding of the machine and count as none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from difficulty.stats.bootstrap import cluster_sums
from difficulty.stats.clusters import Clusters, cluster_codes
from difficulty.stats.mean import (
    FEW_CLUSTERS,
    JITTER,
    Scale,
    checked_weights,
    clustered_standard_error,
    in_nats_or_units,
    kish,
    read_on,
    shift_of,
    weighted_mean,
)
from difficulty.stats.power import MOST_ITEMS, Claim, crossing, items_for
from difficulty.stats.resampled_power import Seen
from difficulty.stats.result import Bools, Estimate, Floats
from difficulty.stats.studentized import t_draws
from difficulty.stats.tango import binary_tail

SAME = 1e-6  # a difference up to this, relative to values beyond 1, is the rounding of a machine
_BISECTIONS = 30
_TO = 0.005  # a number of items that comes from draws is found to this share of it
UNBOUNDED_ITEMS = 200  # fewer items (or clusters) of an unbounded metric cannot show that a loss is small
_ENOUGH_TO_RESAMPLE = 20  # with fewer clusters resamples are too much alike, and t alone is used


@dataclass(frozen=True)
class PairedLoss:
    """What one run lost against another on the same items. Positive `loss` = worse, in the metric's own units.

    `before`, `after`: the (weighted) means, as perplexity or bits on these scales. `lost` and `gained` count items that got
    worse or better; `binary` says that all values are 0 or 1, `bounded` that they lie between. `shift` with `standard_error`:
    the loss on the scale that is averaged (nats for perplexity). `moved`, `fell` and `rose` count items that changed, got worse
    and got better by more than 0.001, in `moved_clusters` clusters; no other item changed by more than `jitter`.
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
    rose: int
    moved_clusters: int
    jitter: float
    # Each cluster's sum of (weighted) losses, and of weights: what is resampled.
    sums: Floats = field(repr=False, compare=False)
    sizes: Floats = field(repr=False, compare=False)
    # Each cluster's sum of squared losses (without weights), and its items that got worse and better by more than 0.001.
    squares: Floats = field(repr=False, compare=False)
    falls: Floats = field(repr=False, compare=False)
    rises: Floats = field(repr=False, compare=False)

    @property
    def too_few(self) -> bool:
        """Whether the metric is unbounded and has fewer than `UNBOUNDED_ITEMS` items, or clusters of them."""
        return not self.bounded and self.n_clusters < UNBOUNDED_ITEMS

    def p_exceeds(self, limit: float) -> float:
        """P-value of "the loss is at most `limit`": small when the loss is shown to exceed it."""
        if self.binary:
            n, b, c = self._counts(against="loss")
            return binary_tail(n, b, c, limit, upper=True)
        p = self._t_tail(self._shift_of(limit) - self.shift, above=True)
        if not self._few_moved:
            return p
        one_sided = _sign_p(self.fell, self.fell + self.rose)
        return max(p, min(one_sided, self._rare_p(self.rose, -limit)))

    def p_exceeds_for_most(self, limit: float) -> float:
        """P-value of "the loss is at most `limit`" where an unbounded metric has too few items for its mean alone.

        Two things must be shown, and the larger p counts: that the mean exceeds the limit (`p_exceeds`; losses that are all
        equal are taken as they are), and that most clusters do, each by itself (the exact sign test). One item that carries a
        whole loss shows the first at most.
        """
        shift = self._shift_of(limit)
        over = int((self.sums > shift * self.sizes).sum())
        sign = _sign_p(over, self.n_clusters)
        if self.standard_error == 0 and self.n_clusters > 1:
            return sign if self.shift > shift else 1.0
        return max(self.p_exceeds(limit), sign)

    def p_below(self, limit: float) -> float:
        """P-value of "the loss is at least `limit`": small when the loss is shown to stay below it."""
        if self.binary:
            n, b, c = self._counts(against="no loss")
            return binary_tail(n, b, c, limit, upper=False)
        p = self._t_tail(self._shift_of(limit) - self.shift, above=False)
        return max(p, self._rare_p(self.fell, limit)) if self._few_moved else p

    def bounds(self, alpha: float = 0.05) -> tuple[float, float]:
        """One-sided lower and upper 1 - `alpha` confidence bounds of the loss (together: 1 - 2 `alpha`)."""
        if self.binary:
            low = _solve(lambda limit: self.p_exceeds(limit) >= alpha, -1.0, max(self.loss, -1.0))
            high = _solve(lambda limit: self.p_below(limit) < alpha, min(self.loss, 1.0), 1.0)
            return low, high
        if self.n_clusters < 2 or (self.standard_error == 0 and self.too_few):
            return -math.inf, math.inf
        half = float(special.stdtrit(self.n_clusters - 1, 1 - alpha)) * self.standard_error
        down = up = half
        if len(self._draws):
            at = math.floor(alpha * (len(self._draws) + 1) + 1e-9)
            down = max(half, self.standard_error * float(self._draws[-at]) if at else math.inf)
            up = max(half, -self.standard_error * float(self._draws[at - 1]) if at else math.inf)
        low, high = self._loss_of(self.shift - down), self._loss_of(self.shift + up)
        if self._few_moved:
            one_sided = _sign_p(self.fell, self.fell + self.rose)
            low = low if one_sided < alpha else min(low, -self._rare_bound(self.rose, alpha))
            high = max(high, self._rare_bound(self.fell, alpha))
        return low, high

    def interval(self, alpha: float = 0.025) -> Estimate:
        """The loss with a two-sided 1 - 2 `alpha` interval and p against 0; with the runs exchanged, the same with other signs."""
        low, high = self.bounds(alpha)
        turned = replace(
            self, lost=self.gained, gained=self.lost, fell=self.rose, rose=self.fell, loss=-self.loss, shift=-self.shift,
            sums=-self.sums, falls=self.rises, rises=self.falls,
        )  # fmt: skip
        turned.__dict__["_draws"] = -self._draws[::-1]  # the same resamples
        p = self.p_exceeds(0.0)
        if self.scale != "perplexity":
            low, high = (-turned.bounds(alpha)[1], high) if self.binary else (low, -turned.bounds(alpha)[0])
        p = min(1.0, 2 * min(p, turned.p_exceeds(0.0)))
        return Estimate(self.loss, low, high, p, self.n_items, self.n_clusters)

    def items_to_decide(self, limit: float, alpha: float = 0.05, power: float = 0.8) -> int | None:
        """Items at which a loss like this one would be told from `limit` with probability `power`, and with any larger number.

        None where it lies on the limit itself, or a million items would not do. Right-or-wrong items: the exact power of the test
        (`power.py`); others and clusters: by drawing those that were seen again (`resampled_power.py`).
        """
        key = (limit, alpha, power)
        if key not in self._advice:
            found = self.items_needed(*key)
            self._advice[key] = None if found is None else max(found, self.n_items + 1)
        return self._advice[key]

    def items_needed(self, limit: float, alpha: float = 0.05, power: float = 0.8) -> int | None:
        """The same, were nothing known of the items that have been asked: it may be less than their number."""
        shift = self._shift_of(limit)
        gap = abs(shift - self.shift)
        if gap == 0 or not math.isfinite(gap):
            return None
        claim: Claim = "pass" if self.shift < shift else "fail"
        least = 1 if self.bounded else math.ceil(UNBOUNDED_ITEMS * self.n_items / self.n_clusters)
        if self.binary and self.n_clusters == self.n_items:
            n = self.n_items
            wanted = items_for(power, self.lost / n, self.gained / n, limit, alpha, claim)
            return None if wanted is None else max(wanted, least)
        z = float(special.ndtri(1 - alpha) + special.ndtri(power))
        spread = self.n_items * self.standard_error**2 if self.n_clusters > 1 else 0.0
        rare = self.design_effect * math.log(alpha) / math.log1p(-gap) if self.bounded and gap < 1 else 1.0
        start = max(spread * (z / gap) ** 2, rare)
        if start > 2 * MOST_ITEMS:
            return None
        seen = Seen(
            self.n_items, self.sums, self.sizes, self.squares, self.falls, self.rises, self.binary, self.bounded, self.jitter
        )  # fmt: skip
        found = crossing(lambda n: seen.chance(n, shift, alpha, claim), power, math.ceil(start), _TO)
        return None if found is None or found > MOST_ITEMS else max(found, least)

    @cached_property
    def _advice(self) -> dict[tuple[float, float, float], int | None]:
        return {}

    def _shift_of(self, limit: float) -> float:
        return shift_of(limit, self.before, self.scale)

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

    def _t_tail(self, distance: float, above: bool) -> float:
        """P(a loss so far above, or below, one that lies `distance` further up): by t, and by resampling."""
        if self.n_clusters < 2 or (self.standard_error == 0 and self.too_few):
            return 1.0
        if self.standard_error == 0:
            return float(distance >= 0 if above else distance <= 0)
        t = -distance / self.standard_error
        p = float(special.stdtr(self.n_clusters - 1, -t if above else t))
        if not len(self._draws):
            return p
        below = int(np.searchsorted(self._draws, t, side="left" if above else "right"))
        beyond = len(self._draws) - below if above else below
        return max(p, (1 + beyond) / (len(self._draws) + 1))

    @cached_property
    def _draws(self) -> Floats:
        """Sorted t statistics of resampled clusters; none where t alone is used."""
        if self._few_moved or self.n_clusters < _ENOUGH_TO_RESAMPLE or not self.standard_error > 0:
            return np.empty(0)
        return t_draws(self.sums, self.sizes)

    @property
    def _few_moved(self) -> bool:
        return self.bounded and self.moved_clusters < FEW_CLUSTERS

    def _rare_bound(self, changed: int, alpha: float) -> float:
        """Upper bound of a loss (gain) that few items show: the share that fell (rose), each by at most 1, and the jitter."""
        n = self.n_items / self.design_effect
        seen = min(changed / self.design_effect, n)
        share = 1.0 if seen >= n else float(special.betaincinv(seen + 1, n - seen, 1 - alpha))
        return min(share + self.jitter, 1.0)

    def _rare_p(self, changed: int, limit: float) -> float:
        """P-value of "the loss (gain) is at least `limit`", from the same bound."""
        n = self.n_items / self.design_effect
        seen = min(changed / self.design_effect, n)
        limit -= self.jitter
        if seen >= n or limit <= 0:
            return 1.0
        return float(special.betaincc(seen + 1, n - seen, min(limit, 1.0)))


def paired_loss(
    before: ArrayLike,
    after: ArrayLike,
    clusters: Clusters = None,
    lower_is_better: bool = False,
    weights: ArrayLike | None = None,
    scale: Scale = "mean",
    bounded: bool | None = None,
) -> PairedLoss:
    """The loss of `after` against `before`, both of shape (n_items,) in the same order.

    `clusters` names the group of each item, shape (n_items,); by default every item is its own. `weights` (n_items,), above
    0, by default equal. On the scales "perplexity" and "bits" the values are negative log-likelihoods in nats per unit of
    weight, and lower is better. `bounded`: False for a metric that can leave [0, 1] although no item here does (a loss in nats);
    by default the values decide.

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
    unit = unit and bounded is not False
    binary = unit and w is None and bool(np.isin(x, (0, 1)).all() and np.isin(y, (0, 1)).all())
    moved: Bools = np.abs(difference) > JITTER
    first, second = weighted_mean(x, w), weighted_mean(y, w)
    shift = weighted_mean(difference, w)
    fell, rose = difference > JITTER, difference < -JITTER
    columns = (difference if w is None else w * difference, difference**2, fell, rose)
    sums, squares, falls, rises = cluster_sums(np.stack(columns, axis=1), codes, n_clusters).T
    return PairedLoss(
        n_items=len(x),
        n_clusters=n_clusters,
        before=read_on(first, scale),
        after=read_on(second, scale),
        loss=shift if scale != "perplexity" else read_on(second, scale) - read_on(first, scale),
        lost=int((difference > 0).sum()),
        gained=int((difference < 0).sum()),
        binary=binary,
        design_effect=_design_effect(difference, codes, n_clusters, moved) * kish(w),
        standard_error=clustered_standard_error(difference, codes, w),
        bounded=unit,
        scale=scale,
        shift=shift,
        moved=int(moved.sum()),
        fell=int(fell.sum()),
        rose=int(rose.sum()),
        moved_clusters=len(np.unique(codes[moved])),
        jitter=float(np.abs(difference[~moved]).max(initial=0.0)),
        sums=sums,
        sizes=np.bincount(codes, weights=w, minlength=n_clusters).astype(float),
        squares=squares,
        falls=falls,
        rises=rises,
    )


def _design_effect(difference: Floats, codes: NDArray[np.intp], n_clusters: int, moved: Bools) -> float:
    """By how much clustering inflates the variance, at least 1; the largest possible where few clusters differ."""
    n = len(difference)
    if n_clusters == n:
        return 1.0
    sizes = np.bincount(codes, minlength=n_clusters)
    worst = float((sizes.astype(float) ** 2).sum() / n)
    if len(np.unique(codes[moved])) < FEW_CLUSTERS:
        return worst
    plain = float(difference.std(ddof=1)) / math.sqrt(n)
    if plain == 0:
        return worst
    return float(np.clip((clustered_standard_error(difference, codes) / plain) ** 2, 1.0, worst))


def _sign_p(over: int, n: int) -> float:
    """P(at least `over` of n) where each is as likely above as below: the exact sign test, one-sided."""
    return float(special.betainc(over, n - over + 1, 0.5))


def _solve(above: Callable[[float], bool], low: float, high: float) -> float:
    """The limit in [low, high] from which `above` is true, by bisection."""
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if above(middle):
            high = middle
        else:
            low = middle
    return high
