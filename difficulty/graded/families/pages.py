"""An invented fact stated once, asked in other words behind statements about other people."""

from __future__ import annotations

from itertools import product
from random import Random

from difficulty.graded.item import Family, Item
from difficulty.graded.vocabulary import NAMES, THINGS

JOBS = (
    *("baker", "cook", "dancer", "doctor", "driver", "farmer", "guard", "judge", "lawyer"),
    *("nurse", "painter", "pilot", "sailor", "singer", "soldier", "tailor", "teacher", "writer"),
)
LIKED = (
    "books",
    "bread",
    "cake",
    "cats",
    "cheese",
    "coffee",
    "dogs",
    "milk",
    "music",
    "soup",
    "tea",
    "tennis",
)
# What is said of other people: never a job, so that nobody else's could be meant.
OTHERS = (
    *(f"{{}} likes {liked}." for liked in LIKED),
    *(f"{{}} has a {thing}." for thing in THINGS),
)


def _draw(rng: Random, level: int) -> Item:
    asked = rng.choice(NAMES)
    right, *wrong = rng.sample(JOBS, 4)
    said = list(product([name for name in NAMES if name != asked], OTHERS))
    page = [f"{asked} works as a {right}.", *(frame.format(name) for name, frame in rng.sample(said, level))]
    options = [f" {job}" for job in (right, *wrong)]
    rng.shuffle(options)
    return Item(f"{' '.join(page)} The job of {asked} is that of a", f" {right}", tuple(options))


PAGES = Family(
    name="pages",
    axis="distractors",
    axis_label="statements about other people between a fact and its question",
    levels=(0, 2, 4, 8, 16, 24, 32, 48),
    draw=_draw,
    chance=lambda _level: 0.25,
    lowest=0,
    highest=100,
    description="an invented fact of the prompt asked in other words: Anna works as a nurse … The job of Anna is that of a nurse",
)
