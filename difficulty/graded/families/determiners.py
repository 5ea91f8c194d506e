"""A noun agrees in number with its determiner, however many adjectives stand between them."""

from __future__ import annotations

from random import Random

from difficulty.graded.item import Family, Item
from difficulty.graded.vocabulary import ADJECTIVES, NAMES, THINGS, plural

_DETERMINERS = (("this", "that"), ("these", "those"))
_VERBS = ("bought", "carried", "liked", "moved", "needed", "painted", "sold", "wanted")


def _draw(rng: Random, level: int) -> Item:
    many = rng.random() < 0.5
    noun = rng.choice(THINGS)
    words = [
        rng.choice(NAMES),
        rng.choice(_VERBS),
        rng.choice(_DETERMINERS[many]),
        *rng.sample(ADJECTIVES, level),
    ]
    choices = (f" {noun}", f" {plural(noun)}")
    return Item(" ".join(words), choices[many], choices)


DETERMINERS = Family(
    name="determiners",
    axis="distance",
    axis_label="adjectives between the determiner and its noun",
    levels=(0, 1, 2, 3, 4, 6, 8, 10),
    draw=_draw,
    chance=lambda _level: 0.5,
    lowest=0,
    highest=len(ADJECTIVES),
    description="the noun that agrees with its determiner: these big red houses, not house",
)
