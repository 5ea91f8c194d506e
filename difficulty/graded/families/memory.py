"""The procedural task families: how an item of each tier is drawn.

Six families test a skill that any language model can be asked for (`SKILLS`); three test what only a model
trained on this suite can know (`MEMORY`): invented facts, the same facts with the page open, and invented
ciphers. A family has four tiers along one axis of difficulty; everything else is held fixed.

The suite is chosen by dense accuracy alone, never by how a model behaves when it is pruned.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable
from dataclasses import dataclass, field

from difficulty.graded.facts import CIPHERS, FACTS, Fact, invented_name

LETTERS = string.ascii_lowercase
TIERS = (1, 2, 3, 4)


@dataclass(frozen=True)
class Item:
    """One question: `prompt` + `answer` is the text; `choices` is empty unless the item is multiple choice."""

    prompt: str
    answer: str
    choices: tuple[str, ...] = ()
    cluster: str = ""


@dataclass(frozen=True)
class Family:
    """A family of items. `levels[t - 1]` is the value of the axis in tier t; `chance[t - 1]` what guessing scores."""

    name: str
    axis: str
    axis_label: str
    levels: tuple[int, ...]
    chance: tuple[float, ...]
    draw: Callable[[random.Random, int], Item] = field(repr=False)
    description: str = ""


def _addition(rng: random.Random, digits: int) -> Item:
    low, high = 10 ** (digits - 1), 10**digits - 1
    a, b = rng.randint(low, high), rng.randint(low, high)
    return Item(f"rev {a}+{b}=", str(a + b)[::-1])


def _sorting(rng: random.Random, length: int) -> Item:
    letters = rng.sample(LETTERS, length)
    return Item(f"sort {''.join(letters)}=", "".join(sorted(letters)))


def _reversal(rng: random.Random, length: int) -> Item:
    letters = "".join(rng.sample(LETTERS, length))
    return Item(f"rev {letters}=", letters[::-1])


def _retrieval(rng: random.Random, pairs: int) -> Item:
    keys, values = rng.sample(LETTERS, pairs), rng.sample(string.digits, pairs)
    wanted = rng.randrange(pairs)
    listing = ",".join(f"{k}={v}" for k, v in zip(keys, values, strict=True))
    return Item(f"{listing};{keys[wanted]}=", values[wanted])


HOP_RING = 6


def _hops(rng: random.Random, hops: int) -> Item:
    ring = rng.sample(LETTERS, HOP_RING)
    arrows = [f"{a}>{b}" for a, b in zip(ring, ring[1:] + ring[:1], strict=True)]
    rng.shuffle(arrows)
    return Item(f"{','.join(arrows)};{ring[0]}{hops}>", "".join(ring[1 : hops + 1]))


def _options(rng: random.Random, options: int) -> Item:
    numbers = [str(n) for n in rng.sample(range(10, 100), options)]
    return Item(f"max {' '.join(numbers)}=", max(numbers), choices=tuple(numbers))


def _facts_closed(rng: random.Random, tier: int) -> Item:
    fact = rng.choice(FACTS[tier])
    return closed_book(fact)


def closed_book(fact: Fact) -> Item:
    """The question about `fact` with nothing to look at."""
    return Item(f"who {fact.name}=", fact.answer, cluster=fact.name)


def open_book(fact: Fact, rng: random.Random) -> Item:
    """The same question behind a page that states `fact` and two other, invented ones."""
    page = [fact, *(Fact(invented_name(rng), "".join(rng.sample(LETTERS, 2))) for _ in range(2))]
    rng.shuffle(page)
    listing = ",".join(f"{f.name}={f.answer}" for f in page)
    return Item(f"{listing};who {fact.name}=", fact.answer, cluster=fact.name)


def _facts_open(rng: random.Random, tier: int) -> Item:
    return open_book(rng.choice(FACTS[tier]), rng)


def _cipher(rng: random.Random, tier: int) -> Item:
    table = CIPHERS[tier]
    word = "".join(rng.sample(LETTERS, 5))
    return Item(f"{table.language}:{word}=", word.translate(table.letters))


def _ring_chance(hops: int) -> float:
    chance = 1.0
    for taken in range(1, hops + 1):
        chance /= HOP_RING - taken
    return chance


SKILLS: tuple[Family, ...] = (
    Family(
        "addition",
        "operand_digits",
        "digits of each summand",
        (2, 3, 4, 5),
        (1 / 190, 1 / 1900, 1 / 19000, 1 / 190000),
        _addition,
        "the sum of two numbers, written ones digit first",
    ),
    Family(
        "sorting",
        "answer_length",
        "letters to sort",
        (3, 5, 7, 9),
        (1 / 6, 1 / 120, 1 / 5040, 1 / 362880),
        _sorting,
        "letters put in alphabetical order; chance is a random order of them",
    ),
    Family(
        "reversal",
        "answer_length",
        "letters to reverse",
        (3, 5, 7, 9),
        (1 / 6, 1 / 120, 1 / 5040, 1 / 362880),
        _reversal,
        "letters written backwards; chance is a random order of them",
    ),
    Family(
        "retrieval",
        "context_length",
        "key-value pairs in the context",
        (3, 5, 7, 9),
        (1 / 3, 1 / 5, 1 / 7, 1 / 9),
        _retrieval,
        "the value of a key among distractors; chance is any value of the context",
    ),
    Family(
        "hops",
        "reasoning_steps",
        "arrows to follow",
        (1, 2, 3, 4),
        tuple(_ring_chance(h) for h in (1, 2, 3, 4)),
        _hops,
        "the letters met on a walk along shuffled arrows of a ring of six; chance is a walk without reading arrows",
    ),
    Family(
        "options",
        "option_count",
        "answer options",
        (2, 3, 4, 5),
        (1 / 2, 1 / 3, 1 / 4, 1 / 5),
        _options,
        "the largest of the numbers given, as multiple choice",
    ),
)

MEMORY: tuple[Family, ...] = (
    Family(
        "facts_closed",
        "training_frequency",
        "rarity of the fact in training (1 = seen most often)",
        TIERS,
        (1 / 650,) * 4,
        _facts_closed,
        "recall of invented facts, closed book",
    ),
    Family(
        "facts_open",
        "training_frequency",
        "rarity of the fact in training (1 = seen most often)",
        TIERS,
        (1 / 3,) * 4,
        _facts_open,
        "the same facts with the page open; chance is any answer on the page",
    ),
    Family(
        "cipher",
        "language_share",
        "rarity of the cipher in training (1 = majority language)",
        TIERS,
        (26.0**-5,) * 4,
        _cipher,
        "a word put into an invented letter-for-letter language",
    ),
)

FAMILIES: dict[str, Family] = {family.name: family for family in SKILLS + MEMORY}
