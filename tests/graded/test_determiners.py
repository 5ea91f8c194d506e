"""Determiners: the noun is plural after these and those alone, with as many adjectives between as the level says."""

from __future__ import annotations

import pytest

from difficulty.errors import UsageError
from difficulty.graded.families.determiners import DETERMINERS
from difficulty.graded.vocabulary import ADJECTIVES, NAMES, THINGS, plural
from tests.graded.grammar_family import check_answers_balanced, check_items, drawn


@pytest.mark.parametrize("level", DETERMINERS.levels)
def test_every_level_has_enough_items_and_options_that_say_nothing(level: int) -> None:
    check_items(DETERMINERS, level)
    check_answers_balanced(DETERMINERS, level)


@pytest.mark.parametrize("level", [*DETERMINERS.levels, len(ADJECTIVES)])
def test_the_noun_has_the_number_of_its_determiner(level: int) -> None:
    for item in drawn(DETERMINERS, level):
        name, _verb, determiner, *adjectives = item.prompt.split(" ")
        assert name in NAMES
        assert len(adjectives) == len(set(adjectives)) == level
        ends_in_s = item.answer.endswith("s")
        assert ends_in_s == {"this": False, "that": False, "these": True, "those": True}[determiner]


def test_plurals_are_right() -> None:
    assert (plural("box"), plural("key"), plural("bike"), plural("toy")) == ("boxes", "keys", "bikes", "toys")
    # Nouns that take anything but -s or -es would need more rules than `plural` has.
    irregular = ("s", "sh", "ch", "f", "fe", "z", "o", "man", "child", "foot", "mouse")
    assert not [noun for noun in THINGS if noun.endswith(irregular)]
    assert not [noun for noun in THINGS if noun.endswith("y") and noun[-2] not in "aeiou"]


@pytest.mark.parametrize("level", [-1, len(ADJECTIVES) + 1, 1.0, "2", True, None])
def test_a_level_beyond_the_limits_is_refused(level: object) -> None:
    with pytest.raises(UsageError, match=f"0 to {len(ADJECTIVES)} .adjectives between"):
        DETERMINERS.check_level(level)
