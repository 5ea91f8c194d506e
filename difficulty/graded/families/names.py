"""Two people are named, one of them gives: the other receives, however much is said in between."""

from __future__ import annotations

from random import Random

from difficulty.graded.item import END, Family, Item
from difficulty.graded.vocabulary import ADJECTIVES, THINGS
from difficulty.graded.words import read_words

_PLACES = ("beach", "church", "garden", "hotel", "library", "market", "park", "school", "shop", "station")
_GIFTS = ("bag", "ball", "book", "bottle", "box", "camera", "clock", "cup", "flower", "hat", "key", "lamp")
_BETWEEN = tuple(thing for thing in THINGS if thing not in _GIFTS)


def _story(rng: Random, pair: tuple[str, str], giver: str, sentences: int) -> str:
    between = "".join(f" The {rng.choice(_BETWEEN)} was {rng.choice(ADJECTIVES)}." for _ in range(sentences))
    first, second = pair
    return (
        f"{first} and {second} went to the {rng.choice(_PLACES)}.{between} "
        f"Then {giver} gave a {rng.choice(_GIFTS)} to"
    )


def _draw(rng: Random, level: int) -> Item:
    names = [name for (name,) in read_words("names")]
    first, second, *shown = rng.sample(names, 4)
    # The example has no sentence between at any level; whether its giver was named first says nothing about the question's.
    example_giver, example_receiver = shown if rng.random() < 0.5 else reversed(shown)
    giver, receiver = (first, second) if rng.random() < 0.5 else (second, first)
    example = f"{_story(rng, (shown[0], shown[1]), example_giver, 0)} {example_receiver}{END}\n"
    choices = (f" {first}", f" {second}")
    return Item(example + _story(rng, (first, second), giver, level), f" {receiver}", choices)


NAMES = Family(
    name="names",
    axis="distance",
    axis_label="sentences between the two names and the question",
    levels=(0, 4, 8, 16, 24, 32, 48, 64),
    draw=_draw,
    chance=lambda _level: 0.5,
    lowest=0,
    highest=128,
    description="Mary and Tom went to the shop. Then Tom gave a book to: Mary, not Tom",
)
