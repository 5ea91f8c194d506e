"""The power of the tests in `paired_loss.py` where no formula gives it: items in clusters, scores between 0 and 1, unbounded metrics.

The truth is what was seen: clusters are drawn again from those of a comparison, as many as there would be, and the tests are applied to
each draw. Drawn are only clusters that changed; how many of them is binomial. The studentized bootstrap within the tests is replaced by
the expansion that it estimates, P(T <= x) = F_t(x) + g (2 x^2 + 1) phi(x) / (6 sqrt G) with the skewness g of the clusters' losses.
Where hundreds of clusters change, and for unbounded metrics, the t statistic itself is taken as noncentral t with that correction.

Reference: Hall 1992, The Bootstrap and Edgeworth Expansion, section 2.6; Davison & Hinkley 1997, section 4.2 (power by resampling).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from scipy import special

from difficulty.stats.mean import FEW_CLUSTERS
from difficulty.stats.power import Claim
from difficulty.stats.result import Bools, Floats, Ints
from difficulty.stats.tango import binary_tails

_DRAWS = 2000
_MANY = 400  # clusters that change from which on the noncentral t is as good


@dataclass(frozen=True)
class Seen:
    """A comparison's `n_items` items in clusters. `sums` and `sizes` as in `PairedLoss`; `squares`: sum of squared losses of a cluster's items; `falls`,
    `rises`: its items that got worse and better by more than 0.001; `jitter`: the largest change that counts as none.
    """

    n_items: int
    sums: Floats = field(repr=False)
    sizes: Floats = field(repr=False)
    squares: Floats = field(repr=False)
    falls: Floats = field(repr=False)
    rises: Floats = field(repr=False)
    binary: bool
    bounded: bool
    jitter: float

    def chance(self, n: int, limit: float, alpha: float, claim: Claim) -> float:
        """The probability of `claim` with `n` items; `limit` on the scale that is averaged."""
        groups = max(math.floor(n * len(self.sizes) / self.n_items + 1e-9), 1)
        changed = np.flatnonzero(self.squares > 0)
        weighted = self.sizes.sum() != self.n_items
        if not self.bounded or weighted or groups * len(changed) / len(self.sums) > _MANY:
            return self._by_formula(groups, limit, alpha, claim)
        return float(self._decided(groups, changed, limit, alpha, claim).mean())

    def _by_formula(self, groups: int, limit: float, alpha: float, claim: Claim) -> float:
        ratio = self.sums.sum() / self.sizes.sum()
        rest = self.sums - ratio * self.sizes
        spread = float(rest.std(ddof=1)) if len(rest) > 1 else math.inf
        ahead = (limit - ratio) * (1 if claim == "pass" else -1) * float(self.sizes.mean())
        if spread == 0 or groups < 2:
            return float(ahead > 0 and groups > 1)
        skew = float((rest**3).mean() / rest.std() ** 3) * (1 if claim == "pass" else -1)
        at = _critical(groups, skew, alpha)
        distance = ahead * math.sqrt(groups) / spread
        if distance > 35:
            return 1.0
        return float(1 - special.nctdtr(groups - 1, distance, at))

    def _decided(self, groups: int, changed: Ints, limit: float, alpha: float, claim: Claim) -> Bools:
        g = np.random.default_rng(groups)
        many = g.binomial(groups, len(changed) / len(self.sums), _DRAWS)
        owner = np.repeat(np.arange(_DRAWS), many)
        picked = changed[g.integers(0, max(len(changed), 1), int(many.sum()))]
        same = np.delete(np.arange(len(self.sums)), changed)
        others = (groups - many).astype(float)

        def total(values: Floats) -> Floats:
            """The sum over a draw's clusters; those without a change are alike."""
            rest = float(values[same].mean()) if len(same) else 0.0
            found: Floats = np.bincount(owner, weights=values[picked], minlength=_DRAWS) + others * rest
            return found

        s, m, squares, falls, rises = (
            total(x) for x in (self.sums, self.sizes, self.squares, self.falls, self.rises)
        )
        ratio = s / m
        s2, sm, m2 = total(self.sums**2), total(self.sums * self.sizes), total(self.sizes**2)
        variance: Floats = np.maximum(s2 - 2 * ratio * sm + ratio**2 * m2, 0.0)
        error = np.sqrt(groups / max(groups - 1, 1) * variance) / m
        moved = total(((self.falls + self.rises) > 0).astype(float))
        effect = self._effect(error, squares / m - ratio**2, m, m2, moved)
        upper = claim == "fail"
        if self.binary:
            binary: Bools = _binary_p(m, falls, rises, effect, limit, upper) < alpha
            return binary
        s3, s2m = total(self.sums**3), total(self.sums**2 * self.sizes)
        sm2, m3 = total(self.sums * self.sizes**2), total(self.sizes**3)
        third = s3 - 3 * ratio * s2m + 3 * ratio**2 * sm2 - ratio**3 * m3
        about = (limit - ratio, error, variance, third)
        small: Bools = self._score_p(groups, about, (m, falls, rises, effect, moved), limit, upper) < alpha
        return small

    def _effect(self, error: Floats, plain: Floats, m: Floats, m2: Floats, moved: Floats) -> Floats:
        """The design effect as `paired_loss` estimates it."""
        if (self.sizes == 1).all():
            return np.ones(len(m))
        worst = m2 / m
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = error**2 / (plain / (m - 1))
        return np.where((moved < FEW_CLUSTERS) | (plain <= 0), worst, np.clip(ratio, 1.0, worst))

    def _score_p(
        self,
        groups: int,
        about: tuple[Floats, Floats, Floats, Floats],
        counts: tuple[Floats, Floats, Floats, Floats, Floats],
        limit: float,
        upper: bool,
    ) -> Floats:
        ahead, error, variance, third = about
        m, falls, rises, effect, moved = counts
        sign = -1.0 if upper else 1.0
        few = moved < FEW_CLUSTERS
        with np.errstate(divide="ignore", invalid="ignore"):
            x = np.where(error > 0, -sign * ahead / error, np.where(sign * ahead >= 0, -np.inf, np.inf))
            skew = np.where(variance > 0, sign * third / variance**1.5 * math.sqrt(groups), 0.0)
        p: Floats = special.stdtr(max(groups - 1, 1), x)
        p = np.maximum(p, np.where(few, 0.0, _expanded(x, groups, skew)))
        n = m / effect
        worse, better = np.minimum(falls / effect, n), np.minimum(rises / effect, n)
        if not upper:
            return np.maximum(p, np.where(few, self._rare_p(n, worse, limit), 0.0))
        one_sided = special.betainc(np.maximum(falls, 1e-12), rises + 1, 0.5)
        one_sided = np.where(falls > 0, one_sided, 1.0)
        rare = np.minimum(one_sided, self._rare_p(n, better, -limit))
        return np.maximum(p, np.where(few, rare, 0.0))

    def _rare_p(self, n: Floats, seen: Floats, limit: float) -> Floats:
        room = limit - self.jitter
        if room <= 0:
            return np.ones(len(n))
        return np.where(
            seen >= n, 1.0, special.betaincc(seen + 1, np.maximum(n - seen, 1e-9), min(room, 1.0))
        )


def _binary_p(n: Floats, lost: Floats, gained: Floats, effect: Floats, limit: float, upper: bool) -> Floats:
    """Tango's tails on effective counts, rounded as `PairedLoss` does."""
    pairs, b, c = n / effect, lost / effect, gained / effect
    if upper:
        counts = np.stack([np.ceil(pairs), np.floor(b), np.ceil(c)])
    else:
        b, c = np.ceil(b), np.floor(c)
        counts = np.stack([np.maximum(np.maximum(np.floor(pairs), 1), b + c), b, c])
    different, which = np.unique(counts.astype(np.int64), axis=1, return_inverse=True)
    p: Floats = binary_tails(different[0], different[1], different[2], limit, upper)[which.ravel()]
    return p


def _expanded(x: Floats, groups: int, skew: Floats | float) -> Floats:
    """P(T <= x) of the t statistic of `groups` clusters with this skewness."""
    with np.errstate(invalid="ignore"):
        density = np.where(np.isfinite(x), np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi) * (2 * x**2 + 1), 0.0)
    found: Floats = special.stdtr(max(groups - 1, 1), x) + skew * density / (6 * math.sqrt(groups))
    return found


def _critical(groups: int, skew: float, alpha: float) -> float:
    """How far (in standard errors, positive) a mean must lie from its limit for the larger of the two p-values to reach `alpha`."""
    low, high = 0.0, 60.0
    for _ in range(60):
        middle = (low + high) / 2
        at = np.array([-middle])
        p = max(float(special.stdtr(groups - 1, -middle)), float(_expanded(at, groups, skew)[0]))
        low, high = (middle, high) if p >= alpha else (low, middle)
    return high
