"""Pages: the fact asked for is stated once, of the person asked for, and nothing else on the page is a job."""

from __future__ import annotations

import re

import pytest

from difficulty.errors import UsageError
from difficulty.graded.families.pages import JOBS, PAGES
from tests.graded.grammar_family import ENOUGH, drawn

LEVELS = (*PAGES.levels, 1, 100)


@pytest.mark.parametrize("level", LEVELS)
def test_every_level_has_enough_items_alike_at_every_call(level: int) -> None:
    items = drawn(PAGES, level, 6000)
    assert len({item.key for item in items}) >= ENOUGH
    assert items[:50] == drawn(PAGES, level, 50)
    for place in range(4):
        share = sum(item.answer == item.choices[place] for item in items) / len(items)
        assert 0.216 < share < 0.284  # six standard errors of a quarter are 0.034


@pytest.mark.parametrize("level", LEVELS)
def test_the_answer_is_the_job_stated_of_the_person_asked_for(level: int) -> None:
    for item in drawn(PAGES, level):
        (asked,) = re.findall(r" The job of (\w+) is that of a$", item.prompt)
        fact, *others = item.prompt.split(" The job of ")[0].removesuffix(".").split(". ")
        assert fact == f"{asked} works as a{item.answer}"
        assert len(others) == len(set(others)) == level
        assert all(re.fullmatch(r"[A-Z][a-z]+ (likes|has a) [a-z]+", other) for other in others)
        assert asked not in {other.split(" ")[0] for other in others}
        assert len(set(item.choices)) == 4 and item.answer in item.choices
        words = set(re.findall(r"\w+", item.prompt))
        assert words & set(JOBS) == {item.answer.strip()}  # the wrong options are nowhere on the page


def test_no_option_is_right_more_often_than_others() -> None:
    items = drawn(PAGES, 0, 6000)
    for job in JOBS:
        offered = [item for item in items if f" {job}" in item.choices]
        share = sum(item.answer == f" {job}" for item in offered) / len(offered)
        assert abs(share - 0.25) < 0.06  # five standard errors


def test_every_job_and_thing_takes_the_article_a() -> None:
    for item in drawn(PAGES, 48):
        assert not re.search(r"\ba [aeiou]", item.prompt)
        assert item.answer[1] not in "aeiou"


@pytest.mark.parametrize("level", [-1, 101, 1.0, "2", True, None])
def test_a_level_beyond_the_limits_is_refused(level: object) -> None:
    with pytest.raises(UsageError, match="0 to 100 .statements about other people"):
        PAGES.check_level(level)
