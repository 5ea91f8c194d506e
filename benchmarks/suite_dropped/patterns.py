"""A chain of beads in two colours repeats itself; its next bead is asked for."""

from __future__ import annotations

from random import Random

from difficulty.graded.item import Family, Item
from difficulty.graded.words import read_words

_COLOURS = (
    "red",
    "blue",
    "green",
    "black",
    "white",
    "brown",
    "pink",
    "yellow",
    "orange",
    "purple",
    "gray",
    "gold",
    "silver",
)
_WHOLES = 3  # times that the unit is shown before the part that is to be gone on with


def _repeats_earlier(unit: list[str]) -> bool:
    n = len(unit)
    return any(unit == unit[:period] * (n // period) for period in range(1, n) if n % period == 0)


def _unit(rng: Random, colours: list[str], length: int) -> list[str]:
    """`length` beads that are no repetition of fewer: the chain has no shorter period."""
    while True:
        unit = [rng.choice(colours) for _ in range(length)]
        if not _repeats_earlier(unit):
            return unit


def _asked(rng: Random, unit: list[str]) -> int:
    """The place of the bead asked for: the bead before it is followed by either colour, and each answers as often."""
    if len(unit) == 2:  # red, blue, red, blue: the two take turns, and no place is another
        return rng.randrange(2)
    followers: dict[str, dict[str, list[int]]] = {}
    for place, bead in enumerate(unit):
        followers.setdefault(unit[place - 1], {}).setdefault(bead, []).append(place)
    before = rng.choice([places for places in followers.values() if len(places) == 2])
    return rng.choice(before[rng.choice(sorted(before))])


def _draw(rng: Random, level: int) -> Item:
    colours = rng.sample(_COLOURS, 2)
    unit = _unit(rng, colours, level)
    asked = _asked(rng, unit)
    (name,) = rng.choice(read_words("names"))
    chain = ", ".join(unit * _WHOLES + unit[:asked])
    return Item(f"{name} made a chain of beads: {chain},", f" {unit[asked]}", tuple(f" {c}" for c in colours))


PATTERNS = Family(
    name="patterns",
    axis="period",
    axis_label="beads until the pattern repeats",
    levels=(2, 3, 4, 6, 8, 10, 12, 16),
    draw=_draw,
    chance=lambda _level: 0.5,
    lowest=2,
    highest=32,
    description="the next bead of a chain that repeats itself: red, red, blue, red, red, … blue, not red",
)
