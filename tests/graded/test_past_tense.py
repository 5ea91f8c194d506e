"""The past of irregular verbs: right by well-known verbs, one band of frequency a level, enough items."""

from __future__ import annotations

from random import Random

import pytest

from difficulty.errors import UsageError
from difficulty.graded.families.past_tense import PAST_TENSE, over_regular
from difficulty.graded.words import read_words

# Known by heart, from every band; the generator reads its own list.
KNOWN = {
    **{"go": "went", "take": "took", "write": "wrote", "keep": "kept", "sing": "sang", "fly": "flew"},
    **{"swim": "swam", "freeze": "froze", "hide": "hid", "forgive": "forgave", "creep": "crept"},
    **{"shrink": "shrank", "undo": "undid", "wring": "wrung", "smite": "smote", "beget": "begot"},
    **{"forsake": "forsook", "oversleep": "overslept", "overeat": "overate", "forswear": "forswore"},
}


@pytest.mark.parametrize("level", range(1, 9))
def test_items(level: int) -> None:
    rng = Random(level)
    items = [PAST_TENSE.draw(rng, level) for _ in range(20_000)]
    assert len({item.key for item in items}) > 4000
    assert len({item.cluster for item in items}) == 24
    places = [0, 0, 0]
    known = set()
    for item in items:
        always, once = item.prompt.split(". ")
        subject, base = always.split(" ", 2)[2].rsplit(" ", 1)
        assert once.endswith(subject.split(" ")[-1])
        assert item.cluster == base
        assert f" {base}" in item.choices
        assert f" {over_regular(base)}" in item.choices
        assert len(set(item.choices)) == 3
        places[item.choices.index(item.answer)] += 1
        if base in KNOWN:
            known.add(base)
            assert item.answer == f" {KNOWN[base]}"
    assert known
    assert min(places) > 6000


def test_spelling_of_the_regular_form() -> None:
    # All of these are regular verbs, so their past can be looked up in any dictionary.
    regular = {
        "like": "liked",
        "play": "played",
        "cry": "cried",
        "stop": "stopped",
        "look": "looked",
        "agree": "agreed",
    }
    for base, past in {
        **regular,
        "fix": "fixed",
        "show": "showed",
        "jump": "jumped",
        "rain": "rained",
    }.items():
        assert over_regular(base) == past


def test_every_verb_is_there_once_and_irregular() -> None:
    verbs = read_words("past_tense")
    assert len(verbs) == len(dict(verbs)) == 8 * 24
    assert all(past not in (base, over_regular(base)) for base, past in verbs)
    bands = {base: place // 24 + 1 for place, (base, _) in enumerate(verbs)}
    assert bands["go"] == 1
    assert bands["sing"] < bands["shrink"] < bands["forsake"]


def test_the_same_seed_gives_the_same_item() -> None:
    assert PAST_TENSE.draw(Random(7), 3) == PAST_TENSE.draw(Random(7), 3)


@pytest.mark.parametrize("level", [0, 9, "1"])
def test_other_levels_are_refused(level: object) -> None:
    with pytest.raises(UsageError, match="Give a whole number 1 to 8"):
        PAST_TENSE.check_level(level)
