"""Names: the answer is the one of the two people who does not give."""

from __future__ import annotations

import re

import pytest

from difficulty.errors import UsageError
from difficulty.graded.families.names import NAMES
from tests.graded.grammar_family import DRAWS, ENOUGH, check_items, drawn

STORY = re.compile(r"(\w+) and (\w+) went to the \w+\.((?: The \w+ was \w+\.)*) Then (\w+) gave a \w+ to")


@pytest.mark.parametrize("level", NAMES.levels)
def test_every_level_has_enough_items_and_options_that_say_nothing(level: int) -> None:
    check_items(NAMES, level)


@pytest.mark.parametrize("level", [*NAMES.levels, 1])
def test_the_answer_is_the_name_that_does_not_give(level: int) -> None:
    for item in drawn(NAMES, level):
        example, question = item.prompt.split("\n")
        match = STORY.fullmatch(question)
        assert match
        first, second, between, giver = match.groups()
        assert giver in (first, second)
        assert between.count(".") == level
        assert set(item.choices) == {f" {first}", f" {second}"}
        assert item.answer == f" {second if giver == first else first}"
        told = STORY.match(example)
        assert told
        one, other, nothing, its_giver = told.groups()
        assert not nothing
        assert example[told.end() :] == f" {other if its_giver == one else one}."
        assert len({one, other, first, second}) == 4


def test_the_example_says_nothing_about_which_name_answers() -> None:
    alike = 0
    for item in drawn(NAMES, 0, ENOUGH):
        (one, _, _, its_giver), (first, _, _, giver) = STORY.findall(item.prompt)
        alike += (one == its_giver) == (first == giver)
    assert abs(alike / ENOUGH - 0.5) < 0.04  # five standard errors


def test_no_name_answers_more_often_than_it_is_asked() -> None:
    asked: dict[str, list[bool]] = {}
    for item in drawn(NAMES, 0, DRAWS):
        for choice in item.choices:
            asked.setdefault(choice, []).append(choice == item.answer)
    assert len(asked) >= 80
    assert all(abs(sum(right) / len(right) - 0.5) < 2.5 / len(right) ** 0.5 for right in asked.values())


@pytest.mark.parametrize("level", [-1, 129, 0.0, "0", False])
def test_a_level_beyond_the_limits_is_refused(level: object) -> None:
    with pytest.raises(UsageError, match="0 to 128 .sentences between"):
        NAMES.check_level(level)
