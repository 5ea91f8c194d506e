"""Names: the answer is the one of the two people who does not give."""

from __future__ import annotations

import re

import pytest

from difficulty.errors import UsageError
from difficulty.graded.families.names import NAMES
from tests.graded.grammar_family import DRAWS, ENOUGH, check_items, drawn

STORY = re.compile(
    r"When (\w+) and (\w+) went to the \w+, it was a good day\.((?: The \w+ was \w+\.)*) (\w+) gave a \w+ to"
)


@pytest.mark.parametrize("level", NAMES.levels[:4])
def test_every_level_has_enough_items_and_options_that_say_nothing(level: int) -> None:
    check_items(NAMES, level)


@pytest.mark.parametrize("level", NAMES.levels[4:])
def test_every_hard_level_has_enough_items_and_draws_them_again(level: int) -> None:
    items = drawn(NAMES, level, ENOUGH)
    assert len({item.key for item in items}) == ENOUGH
    assert items[:50] == drawn(NAMES, level, 50)


@pytest.mark.parametrize("level", [*NAMES.levels, 1])
def test_the_answer_is_the_name_that_does_not_give(level: int) -> None:
    for item in drawn(NAMES, level):
        match = STORY.fullmatch(item.prompt)
        assert match
        first, second, between, giver = match.groups()
        assert first != second
        assert giver in (first, second)
        assert between.count(".") == level
        assert item.choices == (f" {first}", f" {second}")
        assert item.answer == f" {second if giver == first else first}"


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
