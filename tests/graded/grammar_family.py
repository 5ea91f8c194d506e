"""What every family about grammar must be, whatever it asks."""

from __future__ import annotations

import random
from collections import Counter

from difficulty.graded.item import Family, Item

DRAWS = 12_000
ENOUGH = 4_000  # different items: one in eight is a test item, and a level needs 250 of them and many more in training


def drawn(family: Family, level: int, n_items: int = 300) -> list[Item]:
    """`n_items` items of a level, the same at every call."""
    rng = random.Random(f"{family.name}/{level}")
    return [family.draw(rng, level) for _ in range(n_items)]


def check_items(family: Family, level: int) -> None:
    """Enough different items, alike at every call, with two distinct options; neither place nor kind gives the answer away."""
    items = drawn(family, level, DRAWS)
    assert len({item.key for item in items}) >= ENOUGH
    assert items[:50] == drawn(family, level, 50)
    assert all(len(set(item.choices)) == 2 and item.answer in item.choices for item in items)
    first = sum(item.answer == item.choices[0] for item in items) / len(items)
    assert 0.47 < first < 0.53  # six standard errors of a fair coin are 0.027


def check_answers_balanced(family: Family, level: int) -> None:
    """The same pair of options is answered one way as often as the other: the options alone say nothing."""
    answers: dict[tuple[str, ...], Counter[str]] = {}
    for item in drawn(family, level, DRAWS):
        answers.setdefault(item.choices, Counter())[item.answer] += 1
    for options, counts in answers.items():
        n = counts.total()
        assert abs(counts[options[0]] / n - 0.5) < 2.5 / n**0.5, (options, counts)  # five standard errors
