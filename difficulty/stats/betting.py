"""Evidence on a mean loss that may be looked at as often as one likes: bets against "the mean is at least (at most) the limit".

Units (items, or whole clusters of them) come in random order. Of cluster k the losses sum up to S_k over m_k items, no more than M
of them, and each loss lies in [lowest, 1]. Where the mean loss E[S] / E[m] is at least the limit L, the wealth of one who bets

    prod_k (1 + f (L m_k - S_k) / (M (1 - L))),   0 < f < 1,

grows at no unit in expectation and never falls below 0: it is an e-process, and by Ville's inequality it ever reaches 1 / alpha with
probability alpha at most, whatever the rule by which one stops. The other side bets on (S_k - L m_k) / (M (L - lowest)). The stakes f
are mixed over a grid that is fixed (grid Kelly): the largest wins soonest where nothing changes, the small ones where many items
change both ways. Stakes halve and so do their weights, as if they had been drawn evenly from (0, 1). They depend on nothing, not even on L,
so that each factor is monotone in L, and the limits that are not refuted are an interval: a confidence sequence, by bisection.

For right-or-wrong pairs the wealth depends on three counts alone, and for all losses it is a product over units, so that logs of the
wealth of each stake can be added up batch by batch (`Bets.log_wealth`).

Reference: Waudby-Smith & Ramdas 2024, JRSS B 86:1, arXiv 2010.09686 (sections 4 and 5, one-sided; the mixture of fixed bets is their
grid Kelly); Ville 1939; Ramdas & Wang 2024, arXiv 2410.23614 (1 / e is a p-value at any time).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from difficulty.stats.result import Floats

# The largest stake is not 1: a single item that lost everything would take all of it. With 127/128 and half of the weight, a limit of 0.02
# needs 179 items where nothing changes (149 at least, by a test of a fixed number of items), and a tenth fewer where 1 in 200 does.
STAKES: Floats = 127 / 128 * 0.5 ** np.arange(12, dtype=np.float64)
WEIGHTS: Floats = STAKES / STAKES.sum()
_BISECTIONS = 50
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Evidence:
    """Logs of two e-values: `below` against "the mean loss is at least the limit", `above` against "it is at most the limit".

    `exact`: that they hold for any number of units; otherwise they are asymptotic.
    """

    below: float
    above: float
    exact: bool = True

    @property
    def p_below(self) -> float:
        """P-value at any time of "the loss is at least the limit": small when the loss is shown to stay below it."""
        return math.exp(-max(self.below, 0.0))

    @property
    def p_exceeds(self) -> float:
        """P-value at any time of "the loss is at most the limit": small when the loss is shown to exceed it."""
        return math.exp(-max(self.above, 0.0))

    def or_earlier(self, other: Evidence) -> Evidence:
        """The larger of each side's evidence at two looks: by Ville's inequality the largest of all looks counts."""
        return Evidence(
            max(self.below, other.below), max(self.above, other.above), self.exact and other.exact
        )


@dataclass(frozen=True)
class Bets:
    """The bets against one limit. `largest`: the size of the largest cluster that can come; `lowest`: the least loss of an item."""

    limit: float
    largest: float = 1.0
    lowest: float = -1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.limit) and self.largest > 0 and self.lowest < 1):
            raise ValueError(
                f"a bet needs a finite limit, a largest cluster above 0 and a lowest loss below 1, not {self}"
            )

    def log_wealth(self, sums: ArrayLike, sizes: ArrayLike) -> Floats:
        """Logs of each stake's wealth after these units, shape (2, n_stakes): bets on "below", on "above". Batches add up."""
        total: Floats = self._log_factors(*self._checked(sums, sizes)).sum(axis=-1)
        return total

    def evidence(self, log_wealth: Floats) -> Evidence:
        """What the bets say together."""
        below, above = self._mixed(log_wealth)
        return Evidence(float(below), float(above))

    def path(self, sums: ArrayLike, sizes: ArrayLike) -> tuple[Floats, Floats]:
        """(below, above) after each unit, shape (n_units,) each."""
        return self._mixed(np.cumsum(self._log_factors(*self._checked(sums, sizes)), axis=-1))

    def of_counts(self, n: ArrayLike, lost: ArrayLike, gained: ArrayLike) -> tuple[Floats, Floats]:
        """(below, above) for right-or-wrong items of which these were lost and gained; the shapes are broadcast."""
        kinds = self._log_factors(np.array([1.0, 0.0, max(-1.0, self.lowest)]), np.ones(3))
        b, c = np.asarray(lost, dtype=float), np.asarray(gained, dtype=float)
        counts = np.stack(np.broadcast_arrays(b, np.asarray(n, dtype=float) - b - c, c))
        with np.errstate(invalid="ignore"):
            terms = np.where(counts == 0, 0.0, kinds.reshape(2, -1, 3, *[1] * (counts.ndim - 1)) * counts)
        return self._mixed(terms.sum(axis=2))

    def _checked(self, sums: ArrayLike, sizes: ArrayLike) -> tuple[Floats, Floats]:
        s, m = np.asarray(sums, dtype=float), np.asarray(sizes, dtype=float)
        room = _ROUNDING * np.maximum(m, 1.0)
        if s.shape != m.shape or s.ndim != 1 or not (np.isfinite(s).all() and (m > 0).all()):
            raise ValueError(
                f"units need one finite sum and one size above 0 each, not {s.shape} and {m.shape}"
            )
        if (m > self.largest * (1 + _ROUNDING)).any():
            raise ValueError(
                f"a cluster of {m.max():g} is larger than the largest that can come, {self.largest:g}"
            )
        if (s > m + room).any() or (s < self.lowest * m - room).any():
            raise ValueError(f"a unit lost more than 1 or less than {self.lowest:g} per item")
        return np.clip(s, self.lowest * m, m), m

    def _log_factors(self, sums: Floats, sizes: Floats) -> Floats:
        """Shape (2, n_stakes, n_units). A limit that no mean can pass is refuted by the first unit that is not at the end itself."""
        sides = []
        for ahead, room in (
            (self.limit * sizes - sums, 1 - self.limit),
            (sums - self.limit * sizes, self.limit - self.lowest),
        ):
            if room > 0:
                sides.append(np.log1p(np.multiply.outer(STAKES, ahead / (self.largest * room))))
            else:
                sides.append(np.broadcast_to(np.where(ahead > 0, np.inf, 0.0), (len(STAKES), len(ahead))))
        return np.stack(sides)

    def _mixed(self, log_wealth: Floats) -> tuple[Floats, Floats]:
        """Log of the weighted mean over the stakes, which are the second axis."""
        weights = np.log(WEIGHTS).reshape(-1, *[1] * (log_wealth.ndim - 2))
        values = log_wealth + weights
        top = values.max(axis=1, keepdims=True)
        with np.errstate(invalid="ignore"):
            spread = np.where(np.isinf(values), np.isinf(top), np.exp(values - top)).sum(axis=1)
        mixed: Floats = top[:, 0] + np.log(spread)
        return mixed[0], mixed[1]


def evidence(
    sums: ArrayLike, sizes: ArrayLike, limit: float, largest: float = 1.0, lowest: float = -1.0
) -> Evidence:
    """The evidence of units in random order that the mean loss is below, or above, `limit`; log e-values.

    `sums` (n_units,): each cluster's sum of losses, positive for worse, each loss in [`lowest`, 1]; `sizes` (n_units,): its
    items (or weights), `largest` at most. A share of flips has `lowest` 0. No unit is no evidence: 0.

    Raises:
        ValueError: shapes differ, a size is 0 or above `largest`, or a sum is out of range.
    """
    bets = Bets(limit, largest, lowest)
    return bets.evidence(bets.log_wealth(sums, sizes))


def confidence_sequence(
    sums: ArrayLike, sizes: ArrayLike, alpha: float = 0.05, largest: float = 1.0, lowest: float = -1.0
) -> tuple[float, float]:
    """One-sided lower and upper bounds of the mean loss, each wrong with probability `alpha` at most over all looks together.

    The limits that `evidence` does not refute at `alpha`. Bounds of several looks may be intersected.
    """
    s, m = np.asarray(sums, dtype=float), np.asarray(sizes, dtype=float)
    enough = -math.log(alpha)
    if len(s) == 0:
        return lowest, 1.0
    mean = float(s.sum() / m.sum())
    low = _edge(lambda at: evidence(s, m, at, largest, lowest).above >= enough, mean, lowest)
    high = _edge(lambda at: evidence(s, m, at, largest, lowest).below >= enough, mean, 1.0)
    return low, high


def _edge(refuted: Callable[[float], bool], inside: float, outside: float) -> float:
    """The last limit from `inside` towards `outside` that is not refuted."""
    if not refuted(outside):
        return outside
    for _ in range(_BISECTIONS):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if refuted(middle) else (middle, outside)
    return outside
