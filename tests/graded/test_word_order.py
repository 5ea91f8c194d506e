"""Word order: one option is a sentence, the other the same sentence with a "the" behind the word it belongs before."""

from __future__ import annotations

import re

import pytest

from difficulty.errors import UsageError
from difficulty.graded.families.word_order import WORD_ORDER
from difficulty.graded.vocabulary import ADJECTIVES, NAMES, PREPOSITIONS, THINGS, plural
from tests.graded.grammar_family import check_items, drawn

# The grammar written a second time, as a pattern: a sentence matches it and no swapped one may.
_THING = f"the (?:(?:{'|'.join(ADJECTIVES)}) ){{0,2}}(?:{'|'.join([*THINGS, *map(plural, THINGS)])})"
_CLAUSE = f"(?:{'|'.join(NAMES)}) (?:[a-z]+ed|found|saw|sold|bought) {_THING}(?: (?:{'|'.join(PREPOSITIONS)}) {_THING})*"
SENTENCE = re.compile(rf"{_CLAUSE}(?: and {_CLAUSE})*\.")


@pytest.mark.parametrize("level", WORD_ORDER.levels)
def test_every_level_has_enough_items(level: int) -> None:
    check_items(WORD_ORDER, level)


@pytest.mark.parametrize("level", [*WORD_ORDER.levels, 5, 6, 7, 60])
def test_the_answer_alone_is_a_sentence(level: int) -> None:
    for item in drawn(WORD_ORDER, level):
        (wrong,) = set(item.choices) - {item.answer}
        assert SENTENCE.fullmatch(item.prompt + item.answer)
        assert not SENTENCE.fullmatch(item.prompt + wrong)


@pytest.mark.parametrize("level", [*WORD_ORDER.levels, 5, 6, 7, 60])
def test_two_neighbouring_words_are_swapped_in_a_sentence_of_so_many_words(level: int) -> None:
    for item in drawn(WORD_ORDER, level):
        (wrong,) = set(item.choices) - {item.answer}
        good, bad = (f"{item.prompt}{rest}".removesuffix(".").split(" ") for rest in (item.answer, wrong))
        assert len(good) == len(bad) == level
        first, second = (place for place in range(level) if good[place] != bad[place])
        assert second == first + 1
        assert (good[first], good[second]) == (bad[second], bad[first])


def test_the_swap_is_anywhere_in_the_sentence() -> None:
    places = set()
    for item in drawn(WORD_ORDER, 12):
        (wrong,) = set(item.choices) - {item.answer}
        pairs = zip(item.answer.split(" "), wrong.split(" "), strict=True)
        places.add(next(place for place, (good, bad) in enumerate(pairs) if good != bad))
    assert min(places) <= 3
    assert max(places) >= 9


@pytest.mark.parametrize("level", [3, 0, 4.0, "8", True])
def test_a_level_beyond_the_limits_is_refused(level: object) -> None:
    with pytest.raises(UsageError, match=r"from 4 .words of the sentence"):
        WORD_ORDER.check_level(level)
