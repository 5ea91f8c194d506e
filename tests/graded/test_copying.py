"""Copying: the answer is the last list of the prompt, and the examples copy theirs."""

from __future__ import annotations

import math

import pytest

from difficulty.errors import UsageError
from difficulty.graded.families.copying import COPYING
from difficulty.graded.words import read_words
from tests.graded.grammar_family import DRAWS, ENOUGH, drawn


@pytest.mark.parametrize("level", COPYING.levels)
def test_every_level_has_enough_items_and_draws_them_again(level: int) -> None:
    items = drawn(COPYING, level, DRAWS if level <= 8 else ENOUGH)
    assert len({item.key for item in items}) >= ENOUGH
    assert items[:50] == drawn(COPYING, level, 50)


@pytest.mark.parametrize("level", [*COPYING.levels, 3, 128])
def test_answer_and_examples_are_the_lists_above_them(level: int) -> None:
    for item in drawn(COPYING, level, 50):
        lines = [line for line in (item.prompt + item.answer).split("\n") if line]
        assert [line.split()[0] for line in lines] == ["Words:", "Copy:"] * 3
        for words, copy in zip(lines[::2], lines[1::2], strict=True):
            assert copy.removeprefix("Copy:") == words.removeprefix("Words:")
            assert copy.endswith(".")
            assert len(set(words.removeprefix("Words: ").rstrip(".").split(", "))) == level
        assert not item.choices


@pytest.mark.parametrize("level", [2, 3, 16, 128])
def test_chance_is_a_random_order(level: int) -> None:
    assert COPYING.chance(level) == pytest.approx(1 / math.factorial(level))


def test_the_nouns_are_single_words_that_differ() -> None:
    nouns = [noun for (noun,) in read_words("nouns")]
    assert len(nouns) == len(set(nouns)) >= 128
    assert all(noun.isalpha() and noun.islower() for noun in nouns)


@pytest.mark.parametrize("level", [1, 129, 2.0, "2", True])
def test_a_level_beyond_the_limits_is_refused(level: object) -> None:
    with pytest.raises(UsageError, match="2 to 128 .words to copy"):
        COPYING.check_level(level)
