"""How likely a decision is before anything is evaluated: the power of the tests in `paired_loss.py` for a given number of items.

Right-or-wrong pairs are lost with probability P(lost) and gained with P(gained), the truth. A "pass" is a p-value of "the loss is at
least the limit" below alpha, a "fail" one of "the loss is at most the limit". For c gained the outcomes b that pass are those up to an
edge, those that fail from another edge on; the edges are found by bisection on the test's own tail (`tango.py`), and the power is the
trinomial's probability of what lies beyond them. Where c takes more than 80 values that matter, the critical z is found at nine of them
and interpolated, which leaves the power within 0.003. Items in clusters count as n / design effect of them.

Power as a function of n is a saw: it falls slowly while the edge stays, and jumps where one more loss is allowed. The number of items
that is advised is the one from which on no tooth goes below the power that is asked for.

Reference: Chow, Shao, Wang & Lokhnygina 2018, Sample Size Calculations in Clinical Research, ch. 4; Chernick & Liu 2002, The American
Statistician 56:149 (the saw); Tango 1998.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Literal

import numpy as np
from scipy import special

from difficulty.stats.result import Bools, Floats, Ints
from difficulty.stats.tango import binary_tails, score_statistic

Claim = Literal["pass", "fail"]
MOST_ITEMS = 1_000_000  # more are no sensible advice
_TEETH = 4  # parts of a tooth at which the saw is looked at
_ALL_EDGES = 80  # values of c up to which each has its own edge: of so few outcomes the tails go up in steps
_NODES = 9
_SMOOTH = 150  # changed items from which on teeth are too small to matter (under 1 % of power)


def power(
    n: float,
    lost: float,
    gained: float,
    limit: float,
    alpha: float = 0.05,
    claim: Claim = "pass",
    design_effect: float = 1.0,
) -> float:
    """The probability of the decision `claim` with `n` right-or-wrong items that are lost and gained with these probabilities.

    Raises:
        ValueError: probabilities that are none, or an `alpha` outside (0, 1).
    """
    _checked(lost, gained, alpha)
    return _power(math.floor(n / design_effect + 1e-9), lost, gained, limit, alpha, claim)


def items_for(
    wanted: float,
    lost: float,
    gained: float,
    limit: float,
    alpha: float = 0.05,
    claim: Claim = "pass",
    design_effect: float = 1.0,
) -> int | None:
    """The least number of items from which on the decision comes with probability `wanted` at least.

    None where the true loss lies on the limit or on the wrong side of it, or a million items would not do.
    """
    _checked(lost, gained, alpha)
    ahead = (limit - (lost - gained)) * (1 if claim == "pass" else -1)
    if ahead <= 0:
        return None
    start = _normal_start(wanted, lost, gained, limit, alpha)
    if start * design_effect > 2 * MOST_ITEMS:
        return None
    tooth = 1 / max(abs(limit), ahead, 1e-3)
    n = least_from(
        lambda at: _power(at, lost, gained, limit, alpha, claim), wanted, start, tooth, lost + gained
    )
    items = math.ceil(n * design_effect - 1e-9) if n is not None else MOST_ITEMS + 1
    return items if items <= MOST_ITEMS else None


def detectable(
    n: float,
    discordance: float,
    limit: float,
    alpha: float = 0.05,
    wanted: float = 0.8,
    design_effect: float = 1.0,
) -> float:
    """The smallest true loss that fails with probability `wanted`, beside a `discordance` of flips both ways; inf where none does."""
    size = math.floor(n / design_effect + 1e-9)

    def seen(loss: float) -> bool:
        return _power(size, loss + discordance / 2, discordance / 2, limit, alpha, "fail") >= wanted

    return _edge_of(seen, limit, 1 - discordance)


def most_discordance(
    n: float, limit: float, alpha: float = 0.05, wanted: float = 0.8, design_effect: float = 1.0
) -> float | None:
    """The largest share of items that may flip both ways so that a model without a loss passes with probability `wanted`.

    None where not even equal answers pass.
    """
    size = math.floor(n / design_effect + 1e-9)

    def lost(discordance: float) -> bool:
        return _power(size, discordance / 2, discordance / 2, limit, alpha, "pass") < wanted

    if lost(0.0):
        return None
    found = _edge_of(lost, 0.0, 1.0)
    return min(found, 1.0)


def most_lost(n: int, limit: float, alpha: float, most_gained: int) -> Ints:
    """For 0 .. `most_gained` gained of `n` items, the most that may be lost for a pass; -1: not even none."""
    return _edges(n, limit, alpha, "pass", 0, min(most_gained, n))


def least_from(
    chance: Callable[[int], float], wanted: float, start: float, tooth: float, moved: float
) -> int | None:
    """The least n from which on chance(n) >= `wanted`, near `start`; None beyond `MOST_ITEMS`.

    `chance` rises in n but for teeth of length `tooth`, which matter as long as few of the items (a share `moved`) change.
    """
    found = crossing(chance, wanted, max(1, math.ceil(start)))
    if found is None:
        return None
    good = found
    if moved * good > _SMOOTH:
        return good
    # Further teeth: look on, at parts of a tooth, until two whole teeth stay above.
    stride, at, clear = max(1, round(tooth / _TEETH)), good, 0
    while clear < 2 * _TEETH and moved > 0:
        at, clear = at + stride, clear + 1
        if chance(at) < wanted:
            after = at
            while chance(after) < wanted:
                at, after = after, after + stride
            at = good = _between(chance, wanted, at, after)
            clear = 0
    return good


def crossing(chance: Callable[[int], float], wanted: float, start: int, to: float = 0.0) -> int | None:
    """A number at which the chance reaches `wanted` and before which it does not, near `start`.

    The probit of a power is about linear in the square root of n: the next number is where that line crosses, kept within the bracket.
    `to`: how exactly, as a share of n.
    """
    target = float(special.ndtri(wanted))
    bad, good = 0, 2 * MOST_ITEMS + 1
    seen: list[tuple[float, float]] = []
    at = start
    for turn in range(60):
        p = chance(at)
        bad, good = (bad, at) if p >= wanted else (at, good)
        if good - bad <= max(1.0, to * good):
            break
        seen = [*seen, (math.sqrt(at), float(special.ndtri(min(max(p, 1e-9), 1 - 1e-9))))][-2:]
        slope = 0.0
        if len(seen) == 2 and seen[0][0] != seen[1][0]:
            slope = (seen[1][1] - seen[0][1]) / (seen[1][0] - seen[0][0])
        if slope <= 0:
            slope = (float(special.ndtri(0.95)) + target) / math.sqrt(start)
        root = seen[-1][0] + (target - seen[-1][1]) / slope
        at = min(max(math.ceil(max(root, 0.0) ** 2), at // 2), 2 * at)
        if turn % 4 == 3 and good <= 2 * MOST_ITEMS:
            at = (bad + good) // 2
        at = min(max(at, bad + 1), good - 1)
    return good if good <= 2 * MOST_ITEMS else None


def _between(chance: Callable[[int], float], wanted: float, bad: int, good: int) -> int:
    """A number above `bad`, `good` at most, where the chance reaches `wanted`."""
    while good - bad > 1:
        middle = (bad + good) // 2
        bad, good = (middle, good) if chance(middle) < wanted else (bad, middle)
    return good


def _checked(lost: float, gained: float, alpha: float) -> None:
    if not (lost >= 0 and gained >= 0 and lost + gained <= 1 + 1e-9):
        raise ValueError(
            f"P(lost) = {lost} and P(gained) = {gained} must be probabilities that sum to 1 at most"
        )
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, not {alpha}")


def _normal_start(wanted: float, lost: float, gained: float, limit: float, alpha: float) -> float:
    """Items by the normal approximation: the variance under the limit at the constrained estimate, and under the truth.

    Reference: Fleiss, Levin & Paik 2003, section 3.2, with their correction for continuity; at least what no change at all needs.
    """
    loss = lost - gained
    gap = abs(loss - limit)
    many = 1_000_000  # the estimate of a sample that is like the truth
    p_gained = float(score_statistic(many, lost * many, gained * many, limit)[1])
    under_limit = math.sqrt(max(2 * p_gained + limit * (1 - limit), 0.0))
    under_truth = math.sqrt(max(lost + gained - loss**2, 0.0))
    z = float(special.ndtri(1 - alpha)) * under_limit + float(special.ndtri(wanted)) * under_truth
    plain = (max(z, 0.0) / gap) ** 2
    corrected = plain / 4 * (1 + math.sqrt(1 + 2 / (plain * gap))) ** 2 if plain > 0 else 1.0
    least = math.log(alpha) / math.log1p(-limit) if 0 < limit < 1 and loss < limit else 1.0
    return max(corrected, least)


@lru_cache(maxsize=65536)
def _power(n: int, lost: float, gained: float, limit: float, alpha: float, claim: Claim) -> float:
    if n < 1:
        return 0.0
    gained_counts = _counts(n, gained)
    edges = _edges(n, limit, alpha, claim, int(gained_counts[0]), int(gained_counts[-1]))
    share = min(lost / (1 - gained), 1.0) if gained < 1 else 0.0
    rest = n - gained_counts
    if claim == "pass":
        given = np.where(edges < 0, 0.0, special.bdtr(np.maximum(edges, 0).astype(float), rest, share))
    else:
        given = np.where(edges > rest, 0.0, special.bdtrc(edges - 1.0, rest, share))
        given = np.where(edges <= 0, 1.0, given)
    return float(min(1.0, (_chances(n, gained_counts, gained) * given).sum()))


def _counts(n: int, p: float) -> Ints:
    """The counts of a binomial(n, p) but for a share of about 1e-8."""
    spread = 5.7 * math.sqrt(n * p * (1 - p)) + (4 if p > 0 else 0)
    return np.arange(max(0, math.floor(n * p - spread)), min(n, math.ceil(n * p + spread)) + 1)


def _chances(n: int, k: Ints, p: float) -> Floats:
    found: Floats = special.bdtr(k.astype(float), n, p)
    found[1:] -= found[:-1].copy()
    return found


@lru_cache(maxsize=4096)
def _edges(n: int, limit: float, alpha: float, claim: Claim, first: int, last: int) -> Ints:
    """For c = first .. last gained: the most lost that pass (-1: none), or the fewest lost that fail (above n - c: none)."""
    upper = claim == "fail"
    c = np.arange(first, last + 1)
    if len(c) <= _ALL_EDGES:
        return _exact_edges(n, limit, alpha, c, upper)
    nodes = np.unique(np.linspace(first, last, _NODES).round().astype(np.int64))
    edges = _exact_edges(n, limit, alpha, nodes, upper)
    # The critical z of a node lies between the outcomes on both sides of its edge, where log p is about linear.
    sides = np.clip(np.stack([edges - 1, edges] if upper else [edges, edges + 1]), 0, n - nodes)
    z = score_statistic(n, sides, nodes, limit)[0]
    log_p = np.log(np.maximum([binary_tails(n, b, nodes, limit, upper) for b in sides], 1e-300))
    slope = np.where(log_p[1] == log_p[0], 1.0, log_p[1] - log_p[0])
    critical = z[0] + np.clip((math.log(alpha) - log_p[0]) / slope, 0.0, 1.0) * (z[1] - z[0])
    below = _edges_at(n, limit, np.interp(c, nodes, critical), c)
    return below + 1 if upper else below


def _exact_edges(n: int, limit: float, alpha: float, c: Ints, upper: bool) -> Ints:
    rest = n - c
    normal = float(special.ndtri(1 - alpha)) * (1 if upper else -1)
    guess = np.clip(_edges_at(n, limit, np.full(len(c), normal), c), 0, rest)

    def lower(b: Ints) -> Bools:
        """Whether b lies on the lower side of the edge; beyond the ends that is known."""
        answer: Bools = b < 0
        inside = np.flatnonzero((b >= 0) & (b <= rest))
        if len(inside):
            p = binary_tails(n, b[inside], c[inside], limit, upper)
            answer[inside] = (p >= alpha) if upper else (p < alpha)
        return answer

    low, high = guess - 1, guess + 1
    reach = 1
    while not (ok := lower(low)).all():
        high, low = np.where(ok, high, low), np.where(ok, low, np.maximum(low - 2 * reach, -1))
        reach *= 2
    reach = 1
    while (ok := lower(high)).any():
        low, high = np.where(ok, high, low), np.where(ok, np.minimum(high + 2 * reach, rest + 1), high)
        reach *= 2
    while (high - low > 1).any():
        middle = (low + high) // 2
        ok = lower(middle)
        low, high = np.where(ok, middle, low), np.where(ok, high, middle)
    return high if upper else low


def _edges_at(n: int, limit: float, z: Floats, c: Ints) -> Ints:
    """For each c the largest number of lost items whose score statistic is at most `z`; -1: none."""
    low, high = np.full(len(c), -1), n - c + 1
    while (high - low > 1).any():
        middle = (low + high) // 2
        below = score_statistic(n, middle, c, limit)[0] <= z
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return low


def _edge_of(true_from: Callable[[float], bool], low: float, high: float) -> float:
    """Where in (low, high) the statement becomes true, to 1e-5; inf where it stays false."""
    if not true_from(high):
        return math.inf
    while high - low > 1e-5:
        middle = (low + high) / 2
        low, high = (low, middle) if true_from(middle) else (middle, high)
    return high
