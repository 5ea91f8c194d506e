"""The opposite of a word, with fewer and fewer worked examples to show what is meant."""

from __future__ import annotations

from functools import cache
from random import Random

from difficulty.graded.item import Family, Item
from difficulty.graded.words import read_words

_OPTIONS = 4
_MOST_EXAMPLES = 8


@cache
def _distractors(word_class: str, field: str) -> tuple[str, ...]:
    """The words of a class that are in other fields of meaning, so that none can be taken for an opposite."""
    pairs = read_words("opposites")
    return tuple(word for pair in pairs if pair[0] == word_class and pair[1] != field for word in pair[2:4])


def _line(word: str) -> str:
    return f"The opposite of {word} is"


def _draw(rng: Random, level: int) -> Item:
    pairs = read_words("opposites")
    asked = rng.randrange(len(pairs))
    word_class, field, *words = pairs[asked]
    turned = rng.randrange(2)
    word, opposite, near = words[turned], words[1 - turned], words[2 + turned]
    lines = [
        f"{_line(shown[2])} {shown[3]}.\n" for shown in rng.sample(pairs[:asked] + pairs[asked + 1 :], level)
    ]
    wrong = [] if near == "-" else [near]
    wrong += rng.sample(_distractors(word_class, field), _OPTIONS - 1 - len(wrong))
    choices = [f" {option}" for option in (opposite, *wrong)]
    rng.shuffle(choices)
    return Item(
        "".join(lines) + _line(word), f" {opposite}", tuple(choices), cluster=f"{words[0]}/{words[1]}"
    )


OPPOSITES = Family(
    name="opposites",
    axis="shots",
    axis_label="examples shown",
    levels=(8, 6, 5, 4, 3, 2, 1, 0),
    draw=_draw,
    chance=lambda _level: 1 / _OPTIONS,
    lowest=0,
    highest=_MOST_EXAMPLES,
    description="the opposite of a word: hot and cold",
)
