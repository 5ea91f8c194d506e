"""Retrieval: the answer is the family name that the list gives to the person asked for."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from difficulty.errors import UsageError
from difficulty.graded.families.retrieval import RETRIEVAL
from difficulty.graded.words import read_words
from tests.graded.grammar_family import ENOUGH, drawn


def people_of(line: str) -> tuple[dict[str, str], str]:
    """The list of a line as first name to family name, and what the line says after it."""
    listed, asked = line.removeprefix("I saw ").split(". Then I saw ")
    return dict(re.findall(r"(\w+) (\w+)", listed)), asked


@pytest.mark.parametrize("level", RETRIEVAL.levels)
def test_every_level_has_enough_items_and_draws_them_again(level: int) -> None:
    items = drawn(RETRIEVAL, level, ENOUGH)
    assert len({item.key for item in items}) == ENOUGH
    assert items[:50] == drawn(RETRIEVAL, level, 50)


@pytest.mark.parametrize("level", [*RETRIEVAL.levels, 5])
def test_the_list_gives_the_answer(level: int) -> None:
    for item in drawn(RETRIEVAL, level):
        example, question = item.prompt.split("\n\n")
        people, asked = people_of(question)
        assert len(people) == len(set(people.values())) == level
        assert item.answer == f" {people[asked]}"
        assert len(set(item.choices)) == 4
        assert item.answer in item.choices
        assert {choice.strip() for choice in item.choices} <= set(people.values())
        shown, answered = people_of(example)
        name, surname = answered.removesuffix(".").split()
        assert shown[name] == surname
        assert len(shown) == 4
        assert not set(shown) & set(people)
        assert not set(shown.values()) & set(people.values())


@pytest.mark.parametrize("level", [4, 32])
def test_neither_the_place_of_the_option_nor_that_in_the_list_gives_the_answer_away(level: int) -> None:
    items = drawn(RETRIEVAL, level, ENOUGH)
    places = Counter(item.choices.index(item.answer) for item in items)
    assert all(abs(places[place] / ENOUGH - 0.25) < 0.035 for place in range(4))  # five standard errors
    quarters: Counter[int] = Counter()
    for item in items:
        people, asked = people_of(item.prompt.split("\n\n")[1])
        quarters[list(people).index(asked) * 4 // level] += 1
    assert all(abs(quarters[quarter] / ENOUGH - 0.25) < 0.035 for quarter in range(4))


def test_a_word_is_a_first_name_or_a_family_name_and_not_both() -> None:
    names = [name for (name,) in read_words("names")]
    surnames = [surname for (surname,) in read_words("surnames")]
    assert len(set(names)) == len(names) >= 100
    assert len(set(surnames)) == len(surnames) >= 100
    assert not set(names) & set(surnames)


@pytest.mark.parametrize("level", [3, 97, 4.0, "4", True])
def test_a_level_beyond_the_limits_is_refused(level: object) -> None:
    with pytest.raises(UsageError, match="4 to 96 .people in the list"):
        RETRIEVAL.check_level(level)
