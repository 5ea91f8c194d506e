"""Going on with a list of numbers: how wide the step is."""

from __future__ import annotations

from random import Random

from difficulty.graded.item import Family, Item
from difficulty.graded.vocabulary import NAMES

LOW, HIGH = 10, 99  # two digits in every number, so that options are of one length
SHOWN = 6
NEAR = 4  # the wrong options lie this far from the right one at most, but for the plain successor
FRAME = "{name} counts in equal steps:"


def _draw(rng: Random, step: int) -> Item:
    first = rng.randint(LOW, HIGH - NEAR - step * SHOWN)
    listed = [first + step * place for place in range(SHOWN)]
    right = listed[-1] + step
    prompt = FRAME.format(name=rng.choice(NAMES)) + "".join(f" {number}," for number in listed)
    options = [right, *_wrong(rng, listed[-1], right)]
    rng.shuffle(options)
    return Item(prompt, f" {right}", choices=tuple(f" {number}" for number in options))


def _wrong(rng: Random, last: int, right: int) -> list[int]:
    """Three numbers near the right one, none of them in the list; the plain successor is always among the four."""
    near = [
        number for number in range(last + 2, right + NEAR + 1) if number != right and number >= right - NEAR
    ]
    return rng.sample(near, 3) if right == last + 1 else [last + 1, *rng.sample(near, 2)]


SEQUENCES = Family(
    name="sequences",
    axis="steps",
    axis_label="width of the step from number to number",
    levels=(1, 2, 3, 4, 5, 6, 7, 8),
    draw=_draw,
    chance=lambda step: 1 / 4,
    lowest=1,
    highest=12,
    description="the next number of a list that goes up in equal steps; the plain successor is among the four options",
)
