"""Capitals: the facts, and items made of them."""

import re
from collections import Counter
from random import Random

import pytest

from difficulty.errors import UsageError
from difficulty.graded.families.capitals import CAPITALS, facts

# Well known, and written down here apart from the lists.
KNOWN = {
    1: {"Germany": "Berlin", "Canada": "Ottawa", "Australia": "Canberra", "Egypt": "Cairo"},
    2: {"Turkey": "Ankara", "Pakistan": "Islamabad", "Ukraine": "Kyiv", "Ecuador": "Quito"},
    3: {"Morocco": "Rabat", "Estonia": "Tallinn", "Angola": "Luanda", "the country of Georgia": "Tbilisi"},
    4: {"Mongolia": "Ulaanbaatar", "Bhutan": "Thimphu", "Botswana": "Gaborone", "Belize": "Belmopan"},
    5: {"Bali": "Denpasar", "Sardinia": "Cagliari", "Hunan": "Changsha", "Yukon": "Whitehorse"},
    6: {"Nunavut": "Iqaluit", "Styria": "Graz"},
    7: {"Sonora": "Hermosillo", "Goa": "Panaji", "Bashkortostan": "Ufa"},
    8: {"Sergipe": "Aracaju", "Tuva": "Kyzyl", "Chiapas": "Tuxtla Gutiérrez"},
}


@pytest.mark.parametrize("level", CAPITALS.levels)
def test_a_level_holds_the_facts_that_everyone_can_look_up(level):
    known = dict(facts(level))
    assert {place: known[place] for place in KNOWN[level]} == KNOWN[level]
    assert 38 <= len(known) <= 50


def test_no_place_is_asked_in_two_levels():
    places = [place for level in CAPITALS.levels for place, _ in facts(level)]
    assert len(places) == len(set(places))
    assert not {"France", "Japan"} & set(places), "the worked examples would give the answer away"


def test_no_name_gives_the_capital_away():
    for level in CAPITALS.levels:
        for place, capital in facts(level):
            assert place.lower() not in capital.lower() and capital.lower() not in place.lower(), (
                place,
                capital,
            )


@pytest.mark.parametrize("level", CAPITALS.levels)
def test_the_answer_is_the_one_option_that_is_right(level):
    capital_of = dict(facts(level))
    asked = re.compile(r".*\bcapital(?: city)? of (.+?)(?: is| is called|\? Answer:)$")
    rng = Random(level)
    for _ in range(300):
        item = CAPITALS.draw(rng, level)
        place = asked.match(item.prompt)[1]
        assert place == item.cluster
        assert item.answer == f" {capital_of[place]}"
        assert item.choices.count(item.answer) == 1
        assert len(set(item.choices)) == 4
        assert {choice[1:] for choice in item.choices} <= set(capital_of.values())


@pytest.mark.parametrize("level", CAPITALS.levels)
def test_there_are_thousands_of_items_and_the_answer_stands_anywhere(level):
    rng = Random(level)
    items = [CAPITALS.draw(rng, level) for _ in range(8000)]
    assert len({item.key for item in items}) > 7000
    assert len({item.cluster for item in items}) == len(facts(level))
    places = Counter(item.choices.index(item.answer) for item in items)
    assert min(places.values()) > 1800 and len(places) == 4


def test_one_state_of_the_generator_gives_one_item():
    assert [CAPITALS.draw(Random(7), 3) for _ in range(2)] == [CAPITALS.draw(Random(7), 3)] * 2


@pytest.mark.parametrize("level", [0, 9, "1"])
def test_levels_beyond_the_table_are_refused(level):
    with pytest.raises(UsageError, match="1 to 8"):
        CAPITALS.check_level(level)
