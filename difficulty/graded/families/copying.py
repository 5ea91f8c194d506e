"""A list of words is copied word for word, after two worked examples of the same length."""

from __future__ import annotations

from random import Random

from difficulty.graded.item import END, Family, Item
from difficulty.graded.words import read_words

_EXAMPLES = 2
_LONGEST = 128


def _draw(rng: Random, level: int) -> Item:
    nouns = [noun for (noun,) in read_words("nouns")]
    *shown, asked = (", ".join(rng.sample(nouns, level)) for _ in range(_EXAMPLES + 1))
    examples = "".join(f"Words: {words}.\nCopy: {words}{END}\n\n" for words in shown)
    return Item(f"{examples}Words: {asked}.\nCopy:", f" {asked}{END}")


def _chance(level: int) -> float:
    """A random order of the words shown."""
    chance = 1.0
    for word in range(1, level + 1):
        chance /= word
    return chance


COPYING = Family(
    name="copying",
    axis="answer_length",
    axis_label="words to copy",
    levels=(2, 4, 8, 16, 24, 32, 48, 64),
    draw=_draw,
    chance=_chance,
    lowest=2,
    highest=_LONGEST,
    description="a list of words, written again; chance is a random order of them",
)
