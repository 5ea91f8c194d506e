"""A sentence against itself with two neighbouring words swapped: the longer it is, the smaller the share of the swap."""

from __future__ import annotations

from random import Random

from difficulty.graded.item import Family, Item
from difficulty.graded.vocabulary import ADJECTIVES, NAMES, PREPOSITIONS, THINGS, plural

_SHORTEST = 4  # Anna moved the cup
_CLAUSE = ("and", "NAME", "VERB", "the", "THING")
_PHRASE = ("PREPOSITION", "the", "THING")
_VERBS = (
    "bought",
    "carried",
    "cleaned",
    "found",
    "liked",
    "moved",
    "painted",
    "saw",
    "sold",
    "wanted",
    "washed",
)
_WORDS = {
    "NAME": NAMES,
    "VERB": _VERBS,
    "THING": (*THINGS, *map(plural, THINGS)),
    "PREPOSITION": PREPOSITIONS,
    "ADJECTIVE": ADJECTIVES,
}


def _draw(rng: Random, level: int) -> Item:
    words = _sentence(rng, level)
    # A "the" behind its noun or adjective is never grammatical; other swaps can be ("painted the gate red").
    the = rng.choice([place for place, word in enumerate(words) if word == "the"])
    swapped = [*words[:the], words[the + 1], "the", *words[the + 2 :]]
    good, bad = (f" {' '.join(rest[1:])}." for rest in (words, swapped))
    return Item(words[0], good, (good, bad) if rng.random() < 0.5 else (bad, good))


def _sentence(rng: Random, length: int) -> list[str]:
    """`length` words: a clause, then phrases and clauses, then adjectives for what is missing."""
    shape = list(_CLAUSE[1:])
    while (missing := length - len(shape)) >= len(_PHRASE):
        shape += _CLAUSE if missing >= len(_CLAUSE) and rng.random() < 0.5 else _PHRASE
    things = [place for place, word in enumerate(shape) if word == "THING"]
    for place in sorted(rng.sample(things, min(missing, len(things))), reverse=True):
        shape.insert(place, "ADJECTIVE")
    shape[3:3] = ["ADJECTIVE"] * (length - len(shape))
    return _fill(rng, shape)


def _fill(rng: Random, shape: list[str]) -> list[str]:
    """A word for each slot; none comes again before its kind is used up."""
    left: dict[str, list[str]] = {}
    words = []
    for slot in shape:
        if slot in _WORDS:
            if not left.get(slot):
                left[slot] = rng.sample(_WORDS[slot], len(_WORDS[slot]))
            words.append(left[slot].pop())
        else:
            words.append(slot)
    return words


WORD_ORDER = Family(
    name="word_order",
    axis="sentence_length",
    axis_label="words of the sentence",
    levels=(4, 8, 12, 16, 20, 24, 28, 32),
    draw=_draw,
    chance=lambda _level: 0.5,
    lowest=_SHORTEST,
    highest=None,
    description="the sentence in order, not the one with two neighbouring words swapped",
)
