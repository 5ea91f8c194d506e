"""Reflexives: the pronoun has the gender and number of the subject; every noun after it has the other number."""

from __future__ import annotations

import re

import pytest

from difficulty.errors import UsageError
from difficulty.graded.families.reflexives import REFLEXIVES
from difficulty.graded.vocabulary import PREPOSITIONS, THINGS
from tests.graded.grammar_family import check_answers_balanced, check_items, drawn

WOMEN = {"aunt", "daughter", "girl", "lady", "mother", "princess", "queen", "sister", "wife", "woman"}
MEN = {"boy", "brother", "father", "gentleman", "husband", "king", "man", "prince", "son", "uncle"}
PLURALS = {
    "aunts": "aunt",
    "boys": "boy",
    "brothers": "brother",
    "daughters": "daughter",
    "fathers": "father",
    "gentlemen": "gentleman",
    "girls": "girl",
    "husbands": "husband",
    "kings": "king",
    "ladies": "lady",
    "men": "man",
    "mothers": "mother",
    "princes": "prince",
    "princesses": "princess",
    "queens": "queen",
    "sisters": "sister",
    "sons": "son",
    "uncles": "uncle",
    "wives": "wife",
    "women": "woman",
}


@pytest.mark.parametrize("level", REFLEXIVES.levels)
def test_every_level_has_enough_items_and_options_that_say_nothing(level: int) -> None:
    check_items(REFLEXIVES, level)
    check_answers_balanced(REFLEXIVES, level)


@pytest.mark.parametrize("level", [*REFLEXIVES.levels, len(THINGS)])
def test_the_reflexive_has_the_number_of_the_subject_and_the_other_nouns_have_not(level: int) -> None:
    for item in drawn(REFLEXIVES, level):
        clause = re.fullmatch(r"I [a-z]+ that the [a-z]+ ([a-z]+)(.*) [a-z]+", item.prompt)
        assert clause is not None
        subject, between = clause.groups()
        others = re.findall(rf"(?:{'|'.join(PREPOSITIONS)}) the ([a-z]+)", between)
        assert len(others) == len(set(others)) == level
        many = subject in PLURALS
        assert all(other.endswith("s") != many for other in others)
        person = PLURALS.get(subject, subject)
        alone = " herself" if person in WOMEN else " himself"
        assert person in WOMEN | MEN
        assert item.choices == (alone, " themselves")
        assert item.answer == (" themselves" if many else alone)


@pytest.mark.parametrize("level", [-1, len(THINGS) + 1, 2.0, "1", False])
def test_a_level_beyond_the_limits_is_refused(level: object) -> None:
    with pytest.raises(UsageError, match=f"0 to {len(THINGS)} .nouns of the other number"):
        REFLEXIVES.check_level(level)
