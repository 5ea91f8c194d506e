"""The past of irregular verbs, from the most frequent ones to rare ones."""

from __future__ import annotations

from random import Random

from difficulty.graded.item import Family, Item
from difficulty.graded.words import read_words

_LEVELS = 8
_VERBS_PER_LEVEL = 24
_TIMES = (
    *(("Every day", "Yesterday"), ("Every week", "Last week"), ("Every month", "Last month")),
    *(("Every year", "Last year"), ("Every night", "Last night"), ("Every summer", "Last summer")),
    *(("Every winter", "Last winter"), ("Every spring", "Last spring")),
)
_SUBJECTS = (
    *(
        "I",
        "we",
        "you",
        "they",
        "the boys",
        "the girls",
        "the men",
        "the women",
        "the teachers",
        "the doctors",
    ),
    *(
        "my friends",
        "our friends",
        "my parents",
        "your parents",
        "the students",
        "the children",
        "the farmers",
    ),
    *(
        "the players",
        "the workers",
        "the singers",
        "my sisters",
        "my brothers",
        "their parents",
        "their friends",
    ),
)
_VOWELS = "aeiou"
# Their last consonant doubles although they have more syllables than one.
_DOUBLING = ("begin", "forget", "forbid", "beget", "babysit", "outrun", "overrun", "rerun")


def over_regular(base: str) -> str:
    """`base` + "ed", spelt as a regular verb would be: keeped, writed, runned, flied."""
    if base.endswith("e"):
        return base + "d"
    if base.endswith("y") and base[-2] not in _VOWELS:
        return base[:-1] + "ied"
    closed = base[-1] not in _VOWELS + "wxy" and base[-2] in _VOWELS and base[-3:-2] not in tuple(_VOWELS)
    one_syllable = sum(letter in _VOWELS for letter in base) == 1
    if closed and (one_syllable or base in _DOUBLING):
        return base + base[-1] + "ed"
    return base + "ed"


def _draw(rng: Random, level: int) -> Item:
    verbs = read_words("past_tense")
    first = (level - 1) * _VERBS_PER_LEVEL
    base, past = rng.choice(verbs[first : first + _VERBS_PER_LEVEL])
    always, once = rng.choice(_TIMES)
    subject = rng.choice(_SUBJECTS)
    prompt = f"{always} {subject} {base}. {once} {subject}"
    choices = [f" {past}", f" {over_regular(base)}", f" {base}"]
    rng.shuffle(choices)
    return Item(prompt, f" {past}", tuple(choices), cluster=base)


PAST_TENSE = Family(
    name="past_tense",
    axis="word_frequency",
    axis_label="band of frequency of the verb, 24 verbs a band, 1 the most frequent",
    levels=tuple(range(1, _LEVELS + 1)),
    draw=_draw,
    chance=lambda _level: 1 / 3,
    lowest=1,
    highest=_LEVELS,
    description="the past of an irregular verb: sang, not singed or sing",
)
