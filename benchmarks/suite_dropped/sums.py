"""The sum of two numbers among four options near it: a small model is below .9 with one digit."""

from __future__ import annotations

from random import Random

from difficulty.graded.item import Family, Item
from difficulty.graded.vocabulary import NAMES

FRAME = "{name} has {one} coins and finds {two} more. {one} plus {two} is"


def _draw(rng: Random, digits: int) -> Item:
    lowest = 10 ** (digits - 1)
    one, two = rng.randrange(lowest, 10 * lowest), rng.randrange(lowest, 10 * lowest)
    options = [one + two, *_wrong(rng, one + two)]
    rng.shuffle(options)
    prompt = FRAME.format(name=rng.choice(NAMES), one=one, two=two)
    return Item(prompt, f" {one + two}", tuple(f" {number}" for number in options))


def _wrong(rng: Random, right: int) -> list[int]:
    """Three numbers that differ from `right` in one digit, so that all options are of one length."""
    text = str(right)
    wrong: list[int] = []
    while len(wrong) < 3:
        place = rng.randrange(len(text))
        digit = rng.choice("123456789" if place == 0 else "0123456789")
        number = int(text[:place] + digit + text[place + 1 :])
        if number != right and number not in wrong:
            wrong.append(number)
    return wrong


SUMS = Family(
    name="sums",
    axis="operand_digits",
    axis_label="digits of each summand",
    levels=(1, 2, 3, 4, 5, 6, 7, 8),
    draw=_draw,
    chance=lambda _level: 0.25,
    lowest=1,
    highest=None,
    description="the sum of two numbers; a wrong option differs from the right one in one digit",
)
