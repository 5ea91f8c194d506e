"""Whether two curves have one shape: a rule that was fixed before any of ours was drawn, and its parts in numbers.

1. Rank correlation (Spearman) over the levels that both have, the dense model left out; p from all orders (exact), or from 9,999 random
   ones where there are more than 5,040. Two curves that fall have a high one whatever else they do: it is needed, not enough.
2. The level at which what is left of the dense score first falls to 95 % and to 80 %, in a straight line between levels. They agree at a
   mark where the two lie within `NEAR` of each other, or neither curve reaches it; they do not where they lie further apart and their
   intervals do not meet; else, and where one has no intervals, it cannot be told.

Curves agree where p <= 0.05 and both marks agree; they do not where some mark does not, or where the correlation is at most 0 over
five levels or more; everything else, and fewer than four common levels, cannot be told.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import permutation_test, rankdata, spearmanr

from junkdna_harness.study.against.curve import Curve, Floats, Passing, key, passing

KEEPS, LOSES = "the one said to keep more", "the one said to lose more"
AGREES, DIFFERS, UNKNOWN = "agrees", "does not", "cannot be told"
MARKS = (0.95, 0.80)
NEAR = 0.1  # of the weights: the step of the paper's grid
LEAST_LEVELS = 4  # with three the smallest p is 1/6
_AGAINST = 5  # levels from which a correlation of 0 or less counts against
_ALPHA = 0.05
_RESAMPLES = 9999
_RESOLUTION = 1e-9


@dataclass(frozen=True)
class Mark:
    """Where two curves fall to a mark, and whether that agrees."""

    mark: float
    paper: Passing
    ours: Passing
    state: str
    reason: str


@dataclass(frozen=True)
class Agreement:
    """Two curves: `rho` over `n` common levels with one-sided `p` (None where there are too few), the marks, the verdict and why."""

    n: int
    rho: float | None
    p: float | None
    marks: tuple[Mark, ...]
    verdict: str
    reason: str


def agreement(paper: Curve, ours: Curve) -> Agreement:
    """How two curves agree by the rule above."""
    there = ours.at()
    common = [
        (k, there[key(level)])
        for k, level in enumerate(paper.levels)
        if level.sparsity > 0 and key(level) in there
    ]
    rho, p = rank_correlation(
        np.array([paper.kept[a] for a, _ in common]), np.array([ours.kept[b] for _, b in common])
    )
    marks = tuple(_mark(paper, ours, mark) for mark in MARKS)
    verdict, reason = _verdict(len(common), rho, p, marks)
    return Agreement(len(common), rho, p, marks, verdict, reason)


def rank_correlation(a: Floats, b: Floats) -> tuple[float | None, float | None]:
    """Spearman's rho of two curves and its one-sided p, by orders; None for fewer than three levels, or where one stands still."""
    if len(a) < 3 or np.ptp(a) < _RESOLUTION or np.ptp(b) < _RESOLUTION:
        return None, None
    rho = float(spearmanr(a, b).statistic)
    ranks = rankdata(b)
    centred = ranks - ranks.mean()

    def moved(x: Floats, axis: int = -1) -> Floats:
        return np.asarray((x * centred).sum(axis=axis))

    test = permutation_test(
        (rankdata(a),), moved, permutation_type="pairings", alternative="greater", vectorized=True,
        n_resamples=_RESAMPLES, random_state=0,
    )  # fmt: skip
    return rho, float(test.pvalue)


def _mark(paper: Curve, ours: Curve, mark: float) -> Mark:
    a, b = passing(paper, mark), passing(ours, mark)
    state, reason = _same_place(a, b)
    return Mark(mark, a, b, state, reason)


def _same_place(a: Passing, b: Passing) -> tuple[str, str]:
    """Whether two curves fall to a mark at one place, and why."""
    if a.at is None and b.at is None:
        return AGREES, "reached by neither"
    if a.at is not None and b.at is not None and abs(a.at - b.at) <= NEAR + _RESOLUTION:
        return AGREES, f"{100 * abs(a.at - b.at):.0f} points apart"
    if a.at is None or b.at is None:
        reached, other, who = (b, a, "the paper's") if a.at is None else (a, b, "ours")
        assert reached.at is not None
        if other.last < reached.at + NEAR - _RESOLUTION:
            return UNKNOWN, f"{who} ends at {100 * other.last:.0f} % and has not reached it"
        told = f"not reached by {who} up to {100 * other.last:.0f} %"
    else:
        sooner = "ours is there earlier" if b.at < a.at else "ours is there later"
        told = f"{100 * abs(a.at - b.at):.0f} points apart, {sooner}"
    if a.low is None or b.low is None:
        return UNKNOWN, f"{told}, and {'the paper' if a.low is None else 'ours'} has no intervals"
    (a_low, a_high), (b_low, b_high) = _ends(a), _ends(b)
    meet = a_low <= b_high and b_low <= a_high
    return (UNKNOWN, f"{told}, within the intervals") if meet else (DIFFERS, told)


def _verdict(n: int, rho: float | None, p: float | None, marks: tuple[Mark, ...]) -> tuple[str, str]:
    differing = [one for one in marks if one.state == DIFFERS]
    if n < LEAST_LEVELS:
        return UNKNOWN, f"{n} common level{'s' * (n != 1)}, at least {LEAST_LEVELS} are needed"
    if differing:
        return DIFFERS, "; ".join(f"{100 * one.mark:.0f} % mark: {one.reason}" for one in differing)
    if rho is None or p is None:
        return UNKNOWN, "one of the curves stands still"
    if n >= _AGAINST and rho <= 0:
        return DIFFERS, f"rank correlation {rho:.2f}"
    open_ = [one for one in marks if one.state == UNKNOWN]
    if open_:
        return UNKNOWN, "; ".join(f"{100 * one.mark:.0f} % mark: {one.reason}" for one in open_)
    if p > _ALPHA:
        return UNKNOWN, f"rank correlation {rho:.2f} may be chance (p = {p:.3f})"
    return AGREES, "both fall in the same order, and pass both marks within a tenth of the weights"


@dataclass(frozen=True)
class First:
    """Which of two curves falls to a mark first, in words; `shown`: their intervals there do not meet."""

    which: str
    shown: bool


def order_agreement(paper: First, ours: First) -> tuple[str, str]:
    """(verdict, reason): whether two orders, of the paper's curves and of ours, are shown and the same."""
    unknown = [who for who, one in (("the paper's", paper), ("ours", ours)) if not one.shown]
    if unknown:
        return UNKNOWN, f"no order is shown by {' nor '.join(unknown)}"
    return (
        (AGREES, "both show the same order")
        if paper.which == ours.which
        else (DIFFERS, "they show opposite orders")
    )


def first(keeps: Curve, loses: Curve, mark: float) -> First:
    """Which of two curves falls to a mark first; shown where both have intervals, and these do not meet."""
    a, b = passing(keeps, mark), passing(loses, mark)
    if a.at is None and b.at is None:
        return First("neither reaches it", False)
    (a_low, a_high), (b_low, b_high) = _ends(a), _ends(b)
    at = [math.inf if one.at is None else one.at for one in (a, b)]
    earlier = LOSES if at[1] < at[0] else KEEPS if at[0] < at[1] else "both at once"
    apart = a_high < b_low or b_high < a_low
    return First(earlier, keeps.bounded and loses.bounded and apart)


def _ends(one: Passing) -> tuple[float, float]:
    at = math.inf if one.at is None else one.at
    return (at if one.low is None else one.low), (at if one.high is None else one.high)
