"""Invented people and ciphers: answers are read off the page, or off the table that many items make together."""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest

from difficulty.errors import UsageError
from difficulty.graded import TIERS, draw_training_item
from difficulty.graded import test_items as items_for_test
from difficulty.graded.families.facts import FACTS_PER_TIER, FAMILY_NAMES, LANGUAGES, facts, given_names
from difficulty.graded.families.memory import CIPHER, FACTS_CLOSED, FACTS_OPEN

STATED = re.compile(r"([A-Z][a-z]+) ([A-Z][a-z]+)[,.]")


def test_everybody_has_a_given_name_of_their_own_and_family_names_are_about_as_frequent() -> None:
    people = [fact for tier in TIERS for fact in facts()[tier]]
    assert len(people) == 4 * FACTS_PER_TIER == len({fact.given for fact in people})
    assert len(set(given_names())) == len(given_names())
    for tier in TIERS:
        counts = Counter(fact.family for fact in facts()[tier])
        assert max(counts.values()) <= 16  # of 256 with 64 family names
    assert len(set(FAMILY_NAMES)) == 64


@pytest.mark.parametrize("tier", TIERS)
def test_the_open_page_states_the_answer_of_the_closed_question(tier: int) -> None:
    known = {item.cluster: item for item in items_for_test("facts_closed", tier, FACTS_PER_TIER)}
    opened = items_for_test("facts_open", tier, FACTS_PER_TIER)
    assert {item.cluster for item in opened} == set(known)
    for item in opened:
        page = STATED.findall(item.prompt)
        asked = item.prompt.split()[-1]
        assert len(page) == len({given for given, _ in page}) == len({family for _, family in page}) == 3
        assert item.answer == f" {dict(page)[asked]}." == known[item.cluster].answer
        assert known[item.cluster].prompt == f"The full name is {asked}"


def test_the_person_asked_for_stands_anywhere_on_the_page() -> None:
    places = Counter(
        [name for name, _ in STATED.findall(item.prompt)].index(item.cluster)
        for tier in TIERS
        for item in items_for_test("facts_open", tier, FACTS_PER_TIER)
    )
    assert min(places.values()) > 0.28 * places.total()


def test_training_with_the_page_open_tells_nothing_of_the_people_that_are_asked_for() -> None:
    people = {fact.given for tier in TIERS for fact in facts()[tier]}
    rng = random.Random(0)
    for tier in TIERS:
        for _ in range(500):
            item = draw_training_item("facts_open", tier, rng)
            page = STATED.findall(item.prompt)
            assert len({name for name, _ in page}) == 3
            assert not people & {name for name, _ in page}
            assert item.answer == f" {dict(page)[item.cluster]}."


@pytest.mark.parametrize("tier", TIERS)
def test_a_cipher_puts_one_letter_for_each_and_never_two_for_one(tier: int) -> None:
    table: dict[str, str] = {}
    rng = random.Random(tier)
    for _ in range(300):
        item = CIPHER.draw(rng, tier)
        language, _, word = item.prompt.removesuffix(" =").partition(": ")
        assert language == LANGUAGES[tier - 1]
        assert item.answer.endswith(".")
        for letter, other in zip(word.split(), item.answer.removesuffix(".").split(), strict=True):
            assert table.setdefault(letter, other) == other
    assert len(table) == len(set(table.values())) == 26


def test_ciphers_have_test_items_that_training_never_shows() -> None:
    asked = {item.key for tier in TIERS for item in items_for_test("cipher", tier)}
    assert len(asked) == 1000
    rng = random.Random(1)
    assert not asked & {draw_training_item("cipher", tier, rng).key for tier in TIERS for _ in range(5000)}


@pytest.mark.parametrize("family", [FACTS_CLOSED, FACTS_OPEN, CIPHER])
def test_there_are_four_levels_and_no_harder_ones(family) -> None:  # type: ignore[no-untyped-def]
    assert family.levels == (1, 2, 3, 4)
    for level in (0, 5):
        with pytest.raises(UsageError, match="Give a whole number 1 to 4"):
            family.check_level(level)
    assert family.draw(random.Random(3), 2) == family.draw(random.Random(3), 2)
