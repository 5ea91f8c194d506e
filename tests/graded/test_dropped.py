"""Families that were left out: their answers are right all the same, or the table of what was tried would mislead."""

from __future__ import annotations

import calendar
import importlib
import re
import sys
from pathlib import Path

import pytest

from difficulty.errors import UsageError
from difficulty.graded.item import Family, Item
from tests.graded.grammar_family import drawn

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
MONTHS = calendar.month_name[1:]
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight")


def dropped() -> dict[str, Family]:
    """The families of benchmarks/suite_dropped by name."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        families: tuple[Family, ...] = importlib.import_module("suite_dropped").DROPPED
    finally:
        sys.path.remove(str(BENCHMARKS))
    return {family.name: family for family in families}


DROPPED = dropped()


def solve(family: str, prompt: str) -> str:
    """The answer worked out from the prompt alone, by other means than the generator's."""
    if family == "month_steps":
        (count,) = (n for n, word in enumerate(NUMBERS, 1) if f"{word} month" in prompt.lower())
        (start,) = (month for month in MONTHS if month in prompt)
        return str((MONTHS * 2)[MONTHS.index(start) + count])
    numbers = re.findall(r"\d+", prompt)
    if family == "larger_number":
        return str(max(numbers))  # of equal length, so the order of strings is that of numbers
    if family == "sums":
        assert numbers[:2] == numbers[2:]
        return str(int(numbers[0]) + int(numbers[1]))
    if family == "pages_rivals":
        (asked,) = re.findall(r"The job of (\w+) is", prompt)
        (job,) = re.findall(rf"\b{asked} works as a (\w+)\.", prompt)
        return str(job)
    assert family == "who_has_what"
    (asked,) = re.findall(r"What does (\w+) have", prompt)
    (thing,) = re.findall(rf"\b{asked} has the (\w+)\.", prompt)
    return str(thing)


def size(family: str, item: Item) -> int:
    """The level as the prompt shows it."""
    if family == "month_steps":
        (count,) = (n for n, word in enumerate(NUMBERS, 1) if f"{word} month" in item.prompt.lower())
        return count
    if family == "pages_rivals":
        return item.prompt.count(" works as a ") - 1
    if family == "who_has_what":
        return item.prompt.split(" Question:")[0].count(".")
    return len(re.findall(r"\d+", item.prompt)[0])


@pytest.mark.parametrize("name", ["month_steps", "larger_number", "sums", "who_has_what", "pages_rivals"])
def test_the_answer_follows_from_the_prompt_and_stands_once_among_options_alike(name: str) -> None:
    family = DROPPED[name]
    assert len(family.levels) == 8
    for level in family.levels:
        items = drawn(family, level, 200)
        assert items == drawn(family, level, 200)
        for item in items:
            assert item.answer == f" {solve(name, item.prompt)}"
            assert item.choices.count(item.answer) == 1
            assert len(set(item.choices)) == len(item.choices) == round(1 / family.chance(level))
            assert size(name, item) == level
            if name in ("larger_number", "sums"):
                assert len({len(choice) for choice in item.choices}) == 1
        first = sum(item.answer == item.choices[0] for item in items) / len(items)
        assert abs(first - family.chance(level)) < 0.15  # more than four standard errors


@pytest.mark.parametrize("name", DROPPED)
def test_a_level_beyond_the_limits_is_refused(name: str) -> None:
    family = DROPPED[name]
    with pytest.raises(UsageError, match=re.escape(family.axis_label)):
        family.check_level(family.lowest - 1)
    assert family.check_level(family.lowest) == family.lowest
