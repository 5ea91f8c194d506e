"""Patterns: the answer goes on with the shortest period of the chain."""

from __future__ import annotations

import pytest

from difficulty.errors import UsageError
from difficulty.graded.families.patterns import PATTERNS
from tests.graded.grammar_family import ENOUGH, check_items, drawn


def beads_of(prompt: str) -> list[str]:
    name, chain = prompt.split(" made a chain of beads: ")
    assert name.isalpha()
    return chain.removesuffix(",").split(", ")


def shortest_period(beads: list[str]) -> int:
    return next(
        p for p in range(1, len(beads)) if all(a == b for a, b in zip(beads, beads[p:], strict=False))
    )


@pytest.mark.parametrize("level", PATTERNS.levels[:4])
def test_every_level_has_enough_items_and_options_that_say_nothing(level: int) -> None:
    check_items(PATTERNS, level)


@pytest.mark.parametrize("level", PATTERNS.levels[4:])
def test_every_hard_level_has_enough_items_and_draws_them_again(level: int) -> None:
    items = drawn(PATTERNS, level, ENOUGH + ENOUGH // 8)
    assert len({item.key for item in items}) >= ENOUGH
    assert items[:50] == drawn(PATTERNS, level, 50)


@pytest.mark.parametrize("level", [*PATTERNS.levels, 5, 32])
def test_the_answer_goes_on_with_the_shortest_period(level: int) -> None:
    for item in drawn(PATTERNS, level, 100):
        beads = beads_of(item.prompt)
        assert shortest_period(beads) == level
        assert 3 * level <= len(beads) < 4 * level
        assert item.answer == f" {beads[-level]}"
        assert {f" {bead}" for bead in beads} == set(item.choices)
        assert len(item.choices) == 2


@pytest.mark.parametrize("level", PATTERNS.levels[1:4])
def test_the_bead_before_says_nothing_about_the_answer(level: int) -> None:
    same = sum(item.answer == f" {beads_of(item.prompt)[-1]}" for item in drawn(PATTERNS, level, ENOUGH))
    assert abs(same / ENOUGH - 0.5) < 0.04  # five standard errors


@pytest.mark.parametrize("level", [1, 33, 2.0, "2", True])
def test_a_level_beyond_the_limits_is_refused(level: object) -> None:
    with pytest.raises(UsageError, match="2 to 32 .beads until"):
        PATTERNS.check_level(level)
