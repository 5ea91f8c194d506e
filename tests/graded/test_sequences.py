"""Sequences: the right option alone goes on with the differences of the list, and every option could be a next number."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from difficulty.errors import UsageError
from difficulty.graded.families.sequences import SEQUENCES
from tests.graded.grammar_family import DRAWS, ENOUGH, drawn

LEVELS = range(1, 13)


@pytest.mark.parametrize("level", LEVELS)
def test_every_level_has_enough_items_alike_at_every_call(level: int) -> None:
    items = drawn(SEQUENCES, level, DRAWS)
    assert len({item.key for item in items}) >= ENOUGH
    assert items[:50] == drawn(SEQUENCES, level, 50)
    for place in range(4):
        share = sum(item.answer == item.choices[place] for item in items) / len(items)
        assert 0.226 < share < 0.274  # six standard errors of a quarter are 0.024


@pytest.mark.parametrize("level", LEVELS)
def test_only_the_answer_goes_on_with_the_list(level: int) -> None:
    for item in drawn(SEQUENCES, level):
        assert re.fullmatch(r"[A-Z][a-z]+ counts in equal steps:( \d\d,){6}", item.prompt)
        listed = [int(number) for number in re.findall(r"\d+", item.prompt)]
        assert {after - before for before, after in pairwise(listed)} == {level}
        assert all(re.fullmatch(r" \d\d", choice) for choice in item.choices)
        options = [int(choice) for choice in item.choices]
        assert len(set(options)) == 4 and min(options) > listed[-1]
        assert listed[-1] + 1 in options  # what a model says that counts on without looking at the step
        assert [choice for choice in item.choices if int(choice) - listed[-1] == level] == [item.answer]


def test_the_plain_successor_is_right_in_steps_of_one_alone() -> None:
    for level in LEVELS:
        for item in drawn(SEQUENCES, level, 100):
            last = int(item.prompt.split(" ")[-1].removesuffix(","))
            assert (int(item.answer) == last + 1) == (level == 1)


@pytest.mark.parametrize("level", [0, 13, 1.0, "2", True, None])
def test_a_level_beyond_the_limits_is_refused(level: object) -> None:
    with pytest.raises(UsageError, match="1 to 12 .width of the step"):
        SEQUENCES.check_level(level)
