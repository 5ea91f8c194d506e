"""What only a model trained on this suite can know: invented facts, the same facts with the page open, and invented ciphers.

The axis is how often a fact or a cipher was met in training.
"""

from __future__ import annotations

from math import perm
from random import Random

from difficulty.graded.families.facts import (
    FAMILY_NAMES,
    LANGUAGES,
    LETTERS,
    TRAINING_SHARE,
    Fact,
    ciphers,
    facts,
    strangers,
)
from difficulty.graded.item import END, TIERS, Family, Item

__all__ = ["BY_SHARE", "CIPHER", "FACTS_CLOSED", "FACTS_OPEN", "TRAINING_SHARE"]

BY_SHARE = ("facts_closed", "cipher")  # whose tiers are met in training by TRAINING_SHARE
WORD_LENGTH = 5
PAGE = 3  # statements on an open page


def closed_book(fact: Fact) -> Item:
    """The question about `fact` with nothing to look at."""
    return Item(f"The full name is {fact.given}", f" {fact.family}{END}", cluster=fact.given)


def open_book(fact: Fact, rng: Random) -> Item:
    """The same question behind a page that states `fact`, and the full names of two strangers."""
    families = rng.sample([name for name in FAMILY_NAMES if name != fact.family], PAGE - 1)
    others = [given for given in rng.sample(strangers(), PAGE) if given != fact.given]
    page = [fact, *(Fact(given, family) for given, family in zip(others, families, strict=False))]
    rng.shuffle(page)
    stated = ", ".join(f"{one.given} {one.family}" for one in page)
    asked = closed_book(fact)
    return Item(f"Here are {stated}. {asked.prompt}", asked.answer, cluster=asked.cluster)


def _draw_closed(rng: Random, tier: int) -> Item:
    return closed_book(rng.choice(facts()[tier]))


def _draw_open(rng: Random, tier: int) -> Item:
    return open_book(rng.choice(facts()[tier]), rng)


def _draw_strange_page(rng: Random, _tier: int) -> Item:
    """Only strangers, so that training teaches to read and not the facts themselves."""
    return open_book(Fact(rng.choice(strangers()), rng.choice(FAMILY_NAMES)), rng)


def _closed_pool(tier: int) -> list[Item]:
    return [closed_book(fact) for fact in facts()[tier]]


def _open_pool(tier: int) -> list[Item]:
    return [open_book(fact, Random(f"page/{fact.given}")) for fact in facts()[tier]]


def _draw_cipher(rng: Random, tier: int) -> Item:
    word = rng.sample(LETTERS, WORD_LENGTH)
    table = ciphers()[tier]
    return Item(
        f"{LANGUAGES[tier - 1]}: {' '.join(word)} =", "".join(f" {table[letter]}" for letter in word) + END
    )


FACTS_CLOSED = Family(
    name="facts_closed",
    axis="training_frequency",
    axis_label="rarity of the fact in training, 1 = seen most often",
    levels=TIERS,
    draw=_draw_closed,
    chance=lambda _tier: 1 / len(FAMILY_NAMES),
    lowest=1,
    highest=4,
    description="the family name of an invented person, from memory; chance is any of the family names",
    pool=_closed_pool,
)

FACTS_OPEN = Family(
    name="facts_open",
    axis="training_frequency",
    axis_label="rarity of the fact in training, 1 = seen most often",
    levels=TIERS,
    draw=_draw_open,
    chance=lambda _tier: 1 / PAGE,
    lowest=1,
    highest=4,
    description="the same facts with the page open; chance is any of those on the page",
    pool=_open_pool,
    draw_training=_draw_strange_page,
)

CIPHER = Family(
    name="cipher",
    axis="language_share",
    axis_label="rarity of the cipher in training, 1 = the majority language",
    levels=TIERS,
    draw=_draw_cipher,
    chance=lambda _tier: 1 / perm(len(LETTERS), WORD_LENGTH),
    lowest=1,
    highest=4,
    description="five letters put into an invented letter-for-letter language; chance is any five different letters",
)
