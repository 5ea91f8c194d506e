"""Months reckoned in steps, asked in words: a small model is at chance from three months on."""

from __future__ import annotations

from random import Random

from difficulty.graded.item import Family, Item

MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
COUNTS = (
    "One month",
    *(f"{number} months" for number in ("Two", "Three", "Four", "Five", "Six", "Seven", "Eight")),
)
FRAMES = ("{count} after {month} comes", "Count on from {month}. {count} later comes")


def _draw(rng: Random, step: int) -> Item:
    start = rng.randrange(len(MONTHS))
    right = (start + step) % len(MONTHS)
    others = [number for number in range(len(MONTHS)) if number not in (start, right)]
    options = [right, *rng.sample(others, 3)]
    rng.shuffle(options)
    prompt = rng.choice(FRAMES).format(count=COUNTS[step - 1], month=MONTHS[start])
    return Item(prompt, f" {MONTHS[right]}", tuple(f" {MONTHS[number]}" for number in options))


MONTH_STEPS = Family(
    name="month_steps",
    axis="steps",
    axis_label="months to count on",
    levels=(1, 2, 3, 4, 5, 6, 7, 8),
    draw=_draw,
    chance=lambda _level: 0.25,
    lowest=1,
    highest=len(COUNTS),
    description="the month that comes some months after another: two months after March comes May",
)
