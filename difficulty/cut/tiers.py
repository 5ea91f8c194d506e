"""Tiers of difficulty: items sorted by a score and cut near its quantiles, equal scores always together.

An assignment is data, not code: which item is in which tier, where the cuts lie, and how many items each
tier has. Numbers are cut at the boundary between two distinct scores that lies nearest to each quantile, so that
no tie is ever split; text values make one tier each, in the order that is given.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from difficulty.cut.texts import all_numbers, no_order
from difficulty.errors import UsageError, did_you_mean

Score = float | str
Harder = Literal["high", "low"]

MIN_ITEMS = 30  # below it the 95 % interval of an accuracy is wider than +-18 points
SHOWN = 5  # names quoted in an error


@dataclass(frozen=True)
class Tier:
    """One tier: its number (1 = easiest), how many items it has, and the lowest and highest score in it."""

    number: int
    n_items: int
    low: Score
    high: Score


@dataclass(frozen=True)
class TierAssignment:
    """Which item is in which tier.

    tier_of: item id -> tier number, 1 = easiest, in the order in which the items came.
    cuts: for numbers, the score at which tier 2, 3, ... begins (for `harder="low"` its highest score);
        for text, the values in the order of the tiers.
    notes: sentences on how the scores were read.
    """

    tier_of: Mapping[str, int]
    tiers: tuple[Tier, ...]
    cuts: tuple[Score, ...]
    harder: Harder
    categorical: bool
    notes: tuple[str, ...] = ()

    @property
    def n_tiers(self) -> int:
        """How many tiers there are."""
        return len(self.tiers)

    def items(self, tier: int) -> tuple[str, ...]:
        """Ids of the items in a tier, in the order in which they came."""
        return tuple(item for item, number in self.tier_of.items() if number == tier)


def assign_tiers(
    scores: Mapping[str, Score | None] | Sequence[Score | None],
    bins: int | None = None,
    min_items: int = MIN_ITEMS,
    *,
    harder: Harder = "high",
    cuts: Sequence[float] | None = None,
    order: Sequence[str] | None = None,
) -> TierAssignment:
    """A tier for each item, 1 = easiest.

    Args:
        scores: item id -> score (a sequence gets the ids "0", "1", ...): all numbers, or all text.
        bins: number of tiers. Left out: 4 for numbers, one for each value for text.
        min_items: the fewest items that a tier may have.
        harder: whether high or low numbers are the hard ones.
        cuts: instead of quantiles, the scores at which tier 2, 3, ... begin, in rising order.
        order: for text, the values from the easiest to the hardest. Needed, but where all texts are numbers, which are
            then sorted as numbers (`notes` of the result says so).

    Raises:
        UsageError: scores are missing or not finite, all equal, of mixed kinds, or text without an order; or a tier would be too small.

    Examples:
        >>> assign_tiers({"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}, bins=2, min_items=2).tier_of
        {'a': 1, 'b': 1, 'c': 2, 'd': 2}
    """
    table = dict(scores) if isinstance(scores, Mapping) else {str(i): s for i, s in enumerate(scores)}
    if min_items < 1:
        raise UsageError(f"min_items={min_items} is no number of items. Give 1 or more.")
    values = _complete(table)
    texts = [value for value in values.values() if isinstance(value, str)]
    notes: tuple[str, ...] = ()
    if texts and order is None and all_numbers(texts):
        notes = (f"the scores are texts that are all numbers ({quote(texts)}), and are sorted as numbers",)
    elif texts:
        if cuts is not None:
            raise UsageError(
                f"the cuts {list(cuts)} are of numbers, and the scores are text. Leave them out."
            )
        return _by_value(values, bins, min_items, order)
    if order is not None:
        raise UsageError("an order of values was given, but the scores are numbers. Leave the order out.")
    numbers = {item: float(value) for item, value in values.items()}
    if cuts is not None:
        found = _at_cuts(numbers, cuts, min_items, harder)
    else:
        found = _by_quantile(numbers, 4 if bins is None else bins, min_items, harder)
    return replace(found, notes=notes)


def largest_bins(scores: Sequence[float], min_items: int = MIN_ITEMS) -> int:
    """The largest number of quantile tiers in which each has `min_items` items; 1 when no split works."""
    levels, counts = _levels(scores)
    for bins in range(min(len(levels), len(scores) // min_items), 1, -1):
        starts = _quantile_starts(counts, bins)
        if starts is not None and min(_sizes(counts, starts)) >= min_items:
            return bins
    return 1


def _complete(table: Mapping[str, Score | None]) -> dict[str, Score]:
    """The table, every score present, finite and of one kind."""
    if not table:
        raise UsageError("there are no items to put into tiers. Give at least one score.")
    bad = [
        item
        for item, score in table.items()
        if score is None or (not isinstance(score, str) and not math.isfinite(score))
    ]
    if bad:
        raise UsageError(
            f"the score is missing or not a finite number for {len(bad)} of {len(table)} items "
            f"({quote(bad)}). Score every item, or leave those items out."
        )
    values = {item: score for item, score in table.items() if score is not None}
    text = [item for item, score in values.items() if isinstance(score, str)]
    if text and len(text) < len(values):
        raise UsageError(
            f"{len(text)} scores are text ({quote(text)}) and {len(values) - len(text)} are numbers. "
            "Use one kind for all items."
        )
    if len(set(values.values())) == 1:
        raise UsageError(
            f"every item has the same score, {next(iter(values.values()))!r}, so there is nothing to sort by. "
            "Choose another rule."
        )
    return values


def _by_quantile(numbers: Mapping[str, float], bins: int, min_items: int, harder: Harder) -> TierAssignment:
    if bins < 2:
        raise UsageError(f"{bins} bins make no tiers. Give 2 or more.")
    sign = 1.0 if harder == "high" else -1.0
    signed = [sign * score for score in numbers.values()]
    levels, counts = _levels(signed)
    starts = _quantile_starts(counts, bins)
    if starts is None or min(_sizes(counts, starts)) < min_items:
        best = largest_bins(signed, min_items)
        why = (
            "equal scores stay together"
            if starts is None
            else f"the smallest would have {min(_sizes(counts, starts))}"
        )
        advice = (
            f"The largest number of tiers that works is {best}."
            if best > 1
            else "No number of tiers works: use more items, another rule, or a smaller --min-items."
        )
        raise UsageError(
            f"{len(numbers)} items with {len(levels)} distinct scores cannot make {bins} tiers of {min_items} items or "
            f"more ({why}). {advice}"
        )
    return _assemble(numbers, [levels[i] for i in starts], sign, harder)


def _at_cuts(
    numbers: Mapping[str, float], cuts: Sequence[float], min_items: int, harder: Harder
) -> TierAssignment:
    if not cuts or any(b <= a for a, b in zip(cuts, cuts[1:], strict=False)):
        raise UsageError(
            f"the cuts {list(cuts)} do not rise. Give one or more scores in rising order, e.g. 3,5."
        )
    sign = 1.0 if harder == "high" else -1.0
    # for "low" tier 2 begins at the highest cut, going down
    ladder = [sign * cut for cut in (cuts if harder == "high" else reversed(cuts))]
    assignment = _assemble(numbers, ladder, sign, harder)
    sizes = [tier.n_items for tier in assignment.tiers]
    if len(sizes) <= len(cuts) or min(sizes) < min_items:
        raise UsageError(
            f"the cuts {list(cuts)} give tiers of {_sizes_at(numbers, ladder, sign)} items, and each needs at least "
            f"{min_items}. Move or remove a cut."
        )
    return assignment


def _assemble(
    numbers: Mapping[str, float], ladder: Sequence[float], sign: float, harder: Harder
) -> TierAssignment:
    """Tiers from the signed scores at which tier 2, 3, ... begin."""
    tier_of = {item: 1 + _steps_up(sign * score, ladder) for item, score in numbers.items()}
    tiers = []
    for number in range(1, len(ladder) + 2):
        inside = [score for item, score in numbers.items() if tier_of[item] == number]
        if inside:
            tiers.append(Tier(number, len(inside), min(inside), max(inside)))
    return TierAssignment(tier_of, tuple(tiers), tuple(sign * cut + 0.0 for cut in ladder), harder, False)


def _by_value(
    values: Mapping[str, Score], bins: int | None, min_items: int, order: Sequence[str] | None
) -> TierAssignment:
    """One tier for each text value, in the order that was given: the alphabet knows nothing of easy and hard."""
    counts = Counter(str(value) for value in values.values())
    names = sorted(counts) if order is None else list(order)
    if order is not None:
        for name in names:
            if name not in counts:
                raise UsageError(f"no item has the value {name!r} of the order.{did_you_mean(name, counts)}")
        missing = sorted(set(counts) - set(names))
        if missing or len(set(names)) < len(names):
            raise UsageError(
                f"the order names {names} and must name each value once; "
                f"the items have {sorted(counts)[:SHOWN]}{'...' if len(counts) > SHOWN else ''}."
            )
    if bins is not None and bins != len(names):
        raise UsageError(
            f"{bins} bins were asked of text with {len(names)} values ({quote(names)}), and each value makes one tier. "
            f"Leave bins out, or sort by a number."
        )
    small = [name for name in names if counts[name] < min_items]
    if small:
        raise UsageError(
            f"the value {small[0]!r} has {counts[small[0]]} items ({len(small)} of {len(names)} values are so small), "
            f"and each tier needs at least {min_items}. Use a rule with fewer values, or a smaller --min-items."
        )
    if order is None:
        raise no_order(names)
    rank = {name: number for number, name in enumerate(names, start=1)}
    tier_of = {item: rank[str(value)] for item, value in values.items()}
    tiers = tuple(Tier(rank[name], counts[name], name, name) for name in names)
    return TierAssignment(tier_of, tiers, tuple(names), "high", True)


def _levels(scores: Sequence[float]) -> tuple[list[float], list[int]]:
    """Distinct scores in rising order, and how many items have each."""
    counts = Counter(scores)
    levels = sorted(counts)
    return levels, [counts[level] for level in levels]


def _quantile_starts(counts: Sequence[int], bins: int) -> list[int] | None:
    """Indices of the distinct scores at which tier 2, 3, ... begin; None when two cuts fall together.

    Each cut is the boundary nearest to its quantile; of two equally near, the lower.
    """
    below = [0]
    for count in counts:
        below.append(below[-1] + count)
    starts: list[int] = []
    position = 1
    for cut in range(1, bins):
        want = cut * below[-1] / bins
        while position + 1 < len(counts) and abs(below[position + 1] - want) < abs(below[position] - want):
            position += 1
        if position >= len(counts) or (starts and position <= starts[-1]):
            return None
        starts.append(position)
    return starts


def _sizes(counts: Sequence[int], starts: Sequence[int]) -> list[int]:
    edges = [0, *starts, len(counts)]
    return [sum(counts[a:b]) for a, b in zip(edges, edges[1:], strict=False)]


def _sizes_at(numbers: Mapping[str, float], ladder: Sequence[float], sign: float) -> list[int]:
    found = Counter(_steps_up(sign * score, ladder) for score in numbers.values())
    return [found[step] for step in range(len(ladder) + 1)]


def _steps_up(score: float, ladder: Sequence[float]) -> int:
    return sum(score >= cut for cut in ladder)


def quote(names: Sequence[str]) -> str:
    """The first few names, in quotes, and how many more there are."""
    shown = ", ".join(repr(name if len(name) <= 24 else f"{name[:12]}...") for name in names[:SHOWN])
    return shown if len(names) <= SHOWN else f"{shown} and {len(names) - SHOWN} more"
