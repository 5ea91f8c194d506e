"""Kinds of things: right by well-known things, one right option, as many options as the level says."""

from __future__ import annotations

import re
from random import Random

import pytest

from difficulty.errors import UsageError
from difficulty.graded.families.hypernyms import HYPERNYMS
from difficulty.graded.words import read_words

# Known by heart, one or two of every other kind; the generator reads its own list.
KNOWN = {
    **{"trout": "fish", "robin": "bird", "mosquito": "insect", "tiger": "mammal", "crocodile": "reptile"},
    **{"oak": "tree", "tulip": "flower", "banana": "fruit", "carrot": "vegetable", "zinc": "metal"},
    **{"hammer": "tool", "truck": "vehicle", "sword": "weapon", "shirt": "garment", "violin": "instrument"},
    **{"tea": "drink", "cinnamon": "spice", "cheddar": "cheese", "tennis": "sport", "waltz": "dance"},
    **{"malaria": "disease", "blue": "color", "triangle": "shape", "velvet": "fabric", "church": "building"},
    **{
        "anger": "emotion",
        "physics": "science",
        "sofa": "furniture",
        "bucket": "container",
        "theft": "crime",
    },
    **{"beef": "meat", "aunt": "relative", "granite": "rock", "oxygen": "gas", "skull": "bone"},
}


def thing_of(line: str) -> str:
    return re.sub(r"^(a|an) ", "", line.lower()).split(" is a kind of")[0]


@pytest.mark.parametrize("level", HYPERNYMS.levels)
def test_items(level: int) -> None:
    rng = Random(level)
    items = [HYPERNYMS.draw(rng, level) for _ in range(20_000)]
    assert len({item.key for item in items}) > 4000
    assert len({item.cluster for item in items}) > 400
    asked = set()
    places = [0] * level
    for item in items:
        assert len(set(item.choices)) == level
        assert HYPERNYMS.chance(level) == 1 / level
        places[item.choices.index(item.answer)] += 1
        *shown, last = item.prompt.split("\n")
        for line in shown:
            if (thing := thing_of(line)) in KNOWN:
                assert line.endswith(f" {KNOWN[thing]}.")
        assert all(not line.endswith(f"{item.answer}.") for line in shown)
        if (thing := thing_of(last)) in KNOWN:
            asked.add(thing)
            assert item.answer == f" {KNOWN[thing]}"
    assert asked == set(KNOWN)
    assert min(places) > 0.8 * len(items) / level


def test_a_thing_is_of_one_kind_and_has_the_article_it_needs() -> None:
    kinds = read_words("hypernyms")
    assert {kind for kind, *_ in kinds} == set(KNOWN.values())
    assert all(len(things) >= 12 for _, *things in kinds)
    things = [thing for _, *things in kinds for thing in things]
    bare = [re.sub(r"^(a|an) ", "", thing) for thing in things]
    assert len(set(bare)) == len(bare)
    assert not set(bare) & {kind for kind, *_ in kinds}
    for thing in things:
        article, _, noun = thing.rpartition(" ")
        assert not article or article == ("an" if noun[0] in "aeiou" else "a")
    counted = {"robin", "oak", "hammer", "sofa", "owl"}
    assert counted <= {thing.split(" ")[1] for thing in things if " " in thing}
    assert {"zinc", "tea", "malaria", "beef", "oxygen"} <= {thing for thing in things if " " not in thing}


def test_the_same_seed_gives_the_same_item() -> None:
    assert HYPERNYMS.draw(Random(7), 6) == HYPERNYMS.draw(Random(7), 6)


@pytest.mark.parametrize("level", [1, 36, 2.0])
def test_other_levels_are_refused(level: object) -> None:
    with pytest.raises(UsageError, match="Give a whole number 2 to 35"):
        HYPERNYMS.check_level(level)
