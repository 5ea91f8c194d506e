"""Agreement: the verb has the number of the first noun, and every noun after it has the other number."""

from __future__ import annotations

import re

import pytest

from difficulty.errors import UsageError
from difficulty.graded.families.agreement import AGREEMENT
from difficulty.graded.vocabulary import PREPOSITIONS, THINGS
from tests.graded.grammar_family import check_answers_balanced, check_items, drawn

PLURAL_VERBS = {" are": " is", " were": " was", " have": " has"}


@pytest.mark.parametrize("level", AGREEMENT.levels)
def test_every_level_has_enough_items_and_options_that_say_nothing(level: int) -> None:
    check_items(AGREEMENT, level)
    check_answers_balanced(AGREEMENT, level)


@pytest.mark.parametrize("level", [*AGREEMENT.levels, len(THINGS) - 1])
def test_the_verb_agrees_with_the_subject_and_with_no_noun_after_it(level: int) -> None:
    for item in drawn(AGREEMENT, level):
        subject, *others = re.split(rf" (?:{'|'.join(PREPOSITIONS)}) ", item.prompt)
        assert len(others) == level
        many = subject.endswith("s")  # no singular noun of the list ends in s
        assert all(other.endswith("s") != many for other in others)
        assert (item.answer in PLURAL_VERBS) == many


def test_the_options_are_the_two_numbers_of_one_verb() -> None:
    seen = {item.choices for item in drawn(AGREEMENT, 1)}
    assert seen == {(one, many) for many, one in PLURAL_VERBS.items()}


@pytest.mark.parametrize("level", [-1, len(THINGS), 2.0, "1", False])
def test_a_level_beyond_the_limits_is_refused(level: object) -> None:
    with pytest.raises(UsageError, match=f"0 to {len(THINGS) - 1} .nouns of the other number"):
        AGREEMENT.check_level(level)
