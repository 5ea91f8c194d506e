"""What kind of thing something is, among more and more kinds to choose from."""

from __future__ import annotations

from random import Random

from difficulty.graded.item import Family, Item
from difficulty.graded.words import read_words

_EXAMPLES = 1  # with none a model may not see what is meant; with three 24 kinds are nearly as easy as two


def _line(thing: str) -> str:
    return f"{thing[0].upper()}{thing[1:]} is a kind of"


def _draw(rng: Random, level: int) -> Item:
    kinds = read_words("hypernyms")
    asked = rng.randrange(len(kinds))
    kind, *things = kinds[asked]
    thing = rng.choice(things)
    others = kinds[:asked] + kinds[asked + 1 :]
    lines = [f"{_line(rng.choice(shown[1:]))} {shown[0]}.\n" for shown in rng.sample(others, _EXAMPLES)]
    choices = [f" {kind}", *(f" {other[0]}" for other in rng.sample(others, level - 1))]
    rng.shuffle(choices)
    return Item("".join(lines) + _line(thing), f" {kind}", tuple(choices), cluster=thing)


HYPERNYMS = Family(
    name="hypernyms",
    axis="option_count",
    axis_label="kinds to choose from",
    levels=(2, 3, 4, 6, 8, 12, 16, 24),
    draw=_draw,
    chance=lambda options: 1 / options,
    lowest=2,
    highest=35,
    description="the kind of thing that something is: a trout is a kind of fish",
)
