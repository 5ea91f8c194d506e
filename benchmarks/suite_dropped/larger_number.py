"""The larger of two numbers of equally many digits: a small model is little above chance, whatever the digits."""

from __future__ import annotations

from random import Random

from difficulty.graded.item import Family, Item
from difficulty.graded.vocabulary import NAMES

FRAMES = (
    "{name} has to choose between {one} and {two}. The larger of the two numbers is",
    "{name} writes down the numbers {one} and {two}. The larger one is",
)


def _draw(rng: Random, digits: int) -> Item:
    lowest = 10 ** (digits - 1)
    one = rng.randrange(lowest, 10 * lowest)
    two = one
    while two == one:
        two = rng.randrange(lowest, 10 * lowest)
    prompt = rng.choice(FRAMES).format(name=rng.choice(NAMES), one=one, two=two)
    return Item(prompt, f" {max(one, two)}", (f" {one}", f" {two}"))


LARGER_NUMBER = Family(
    name="larger_number",
    axis="operand_digits",
    axis_label="digits of either number",
    levels=(1, 2, 3, 4, 5, 6, 7, 8),
    draw=_draw,
    chance=lambda _level: 0.5,
    lowest=1,
    highest=None,
    description="the larger of two numbers of equally many digits",
)
