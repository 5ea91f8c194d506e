"""Opposites: right by well-known pairs, as many worked examples as the level says, one right option."""

from __future__ import annotations

from random import Random

import pytest

from difficulty.errors import UsageError
from difficulty.graded.families.opposites import OPPOSITES
from difficulty.graded.words import read_words

_PAIRS = """hot cold, big small, fast slow, early late, happy sad, rich poor, full empty, wet dry, alive dead, loud quiet,
buy sell, give take, push pull, love hate, remember forget, day night, war peace, top bottom, friend enemy, birth death"""
KNOWN = {
    a: b for pair in _PAIRS.replace("\n", " ").split(", ") for a, b in (pair.split(), pair.split()[::-1])
}
KNOWN.pop("love")  # a verb and a noun


@pytest.mark.parametrize("level", OPPOSITES.levels)
def test_items(level: int) -> None:
    rng = Random(level)
    items = [OPPOSITES.draw(rng, level) for _ in range(20_000)]
    assert len({item.key for item in items}) > 4000
    assert len({item.cluster for item in items}) >= 120
    asked = set()
    places = [0] * 4
    for item in items:
        assert len(set(item.choices)) == 4
        places[item.choices.index(item.answer)] += 1
        *shown, last = item.prompt.split("\n")
        assert len(shown) == level
        cue = last.split()[3]
        assert f" {cue}" not in item.choices
        assert f"of {cue} is" not in "".join(shown)
        if cue in KNOWN:
            asked.add(cue)
            assert item.answer == f" {KNOWN[cue]}"
    assert asked == set(KNOWN)
    assert min(places) > 4500


def test_pairs_are_of_one_class_and_no_word_has_two_opposites() -> None:
    pairs = read_words("opposites")
    assert len(pairs) >= 120
    cues = [(pair[0], word) for pair in pairs for word in pair[2:4]]
    assert len(set(cues)) == len(cues)
    assert {pair[0] for pair in pairs} == {"a", "v", "n"}


def test_what_is_near_an_opposite_is_never_offered() -> None:
    # Each of these could pass for an opposite of the cue too.
    near = {
        "hard": {"easy", "weak"},
        "light": {"dark", "heavy"},
        "old": {"modern", "fresh"},
        "sink": {"rise"},
    }
    near |= {"friendly": {"cold", "cruel"}, "high": {"lower", "deep"}, "soft": {"loud", "strong"}}
    rng = Random(1)
    met = set()
    for _ in range(20_000):
        item = OPPOSITES.draw(rng, 0)
        cue = item.prompt.split()[3]
        if cue in near:
            met.add(cue)
            assert not {f" {word}" for word in near[cue]} & (set(item.choices) - {item.answer})
    assert met == set(near)


def test_the_same_seed_gives_the_same_item() -> None:
    assert OPPOSITES.draw(Random(7), 3) == OPPOSITES.draw(Random(7), 3)


@pytest.mark.parametrize("level", [-1, 9, "1"])
def test_other_levels_are_refused(level: object) -> None:
    with pytest.raises(UsageError, match="Give a whole number 0 to 8"):
        OPPOSITES.check_level(level)
