"""Common words that the families about grammar share: they should differ in structure, not in vocabulary."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

WOMEN = (
    "Alice",
    "Anna",
    "Emma",
    "Helen",
    "Jane",
    "Julia",
    "Laura",
    "Linda",
    "Lucy",
    "Maria",
    "Mary",
    "Sarah",
)
MEN = ("Adam", "Daniel", "David", "Frank", "George", "Henry", "Jack", "James", "Mark", "Paul", "Peter", "Tom")
NAMES = WOMEN + MEN

# Things that can be seen, moved and stand near one another; every plural is the noun + "s" or "es".
THINGS = (
    *("bag", "ball", "bike", "boat", "book", "bottle", "bowl", "box", "camera", "car", "chair", "clock"),
    *("cup", "desk", "door", "fence", "flower", "gate", "hat", "key", "lamp", "letter", "map", "mirror"),
    *(
        "phone",
        "picture",
        "plate",
        "shoe",
        "sign",
        "stone",
        "table",
        "tower",
        "toy",
        "tree",
        "truck",
        "window",
    ),
)

ADJECTIVES = (
    *(
        "beautiful",
        "big",
        "black",
        "blue",
        "bright",
        "brown",
        "cheap",
        "clean",
        "dark",
        "dirty",
        "dusty",
        "green",
    ),
    *(
        "heavy",
        "large",
        "little",
        "lovely",
        "new",
        "nice",
        "old",
        "pretty",
        "red",
        "small",
        "strange",
        "white",
    ),
)

PREPOSITIONS = ("above", "behind", "beside", "near", "under")


def placed_by(rng: Random, nouns: Iterable[str]) -> str:
    """Where something is: ` near the doors behind the lamps`; empty without nouns."""
    return "".join(f" {rng.choice(PREPOSITIONS)} the {noun}" for noun in nouns)


def plural(noun: str) -> str:
    """The plural of one of `THINGS`."""
    return noun + ("es" if noun.endswith("x") else "s")
