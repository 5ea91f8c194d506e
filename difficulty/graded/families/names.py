"""Two people are named, one of them gives: the other receives, however much is said in between."""

from __future__ import annotations

from random import Random

from difficulty.graded.item import Family, Item
from difficulty.graded.vocabulary import ADJECTIVES, THINGS
from difficulty.graded.words import read_words

_PLACES = ("beach", "church", "garden", "hotel", "library", "market", "park", "school", "shop", "station")
_GIFTS = ("bag", "ball", "book", "bottle", "box", "camera", "clock", "cup", "flower", "hat", "key", "lamp")
_BETWEEN = tuple(thing for thing in THINGS if thing not in _GIFTS)


def _draw(rng: Random, level: int) -> Item:
    first, second = rng.sample([name for (name,) in read_words("names")], 2)
    giver, receiver = (first, second) if rng.random() < 0.5 else (second, first)
    between = "".join(f" The {rng.choice(_BETWEEN)} was {rng.choice(ADJECTIVES)}." for _ in range(level))
    prompt = (
        f"When {first} and {second} went to the {rng.choice(_PLACES)}, it was a good day.{between} "
        f"{giver} gave a {rng.choice(_GIFTS)} to"
    )
    return Item(prompt, f" {receiver}", (f" {first}", f" {second}"))


NAMES = Family(
    name="names",
    axis="distance",
    axis_label="sentences between the two names and the question",
    levels=(0, 4, 8, 16, 24, 32, 48, 64),
    draw=_draw,
    chance=lambda _level: 0.5,
    lowest=0,
    highest=128,
    description="When Mary and Tom went to the shop, … Tom gave a book to: Mary, not Tom",
)
