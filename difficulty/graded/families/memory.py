"""What only a model trained on this suite can know: invented facts, the same facts with the page open, and invented ciphers.

The axis is how often a fact or a cipher was met in training.
"""

from __future__ import annotations

from math import perm
from random import Random

from difficulty.graded.families.facts import (
    FIRST_NAMES,
    LANGUAGES,
    LETTERS,
    TOWNS,
    TRAINING_SHARE,
    Fact,
    ciphers,
    facts,
    strangers,
)
from difficulty.graded.item import END, TIERS, Family, Item

__all__ = ["CIPHER", "FACTS_CLOSED", "FACTS_OPEN", "TRAINING_SHARE"]

WORD_LENGTH = 5
PAGE = 3  # statements on an open page


def closed_book(fact: Fact) -> Item:
    """The question about `fact` with nothing to look at."""
    return Item(f"{fact.name} lives in", f" {fact.town}{END}", cluster=fact.name)


def open_book(fact: Fact, rng: Random) -> Item:
    """The same question behind a page that states `fact`, and where two strangers live."""
    towns = rng.sample([town for town in TOWNS if town != fact.town], PAGE - 1)
    page = [fact, *(Fact(name, town) for name, town in zip(_strangers(rng, PAGE - 1), towns, strict=True))]
    rng.shuffle(page)
    stated = " ".join(f"{one.name} lives in {one.town}{END}" for one in page)
    asked = closed_book(fact)
    return Item(f"{stated} {asked.prompt}", asked.answer, cluster=asked.cluster)


def _strangers(rng: Random, count: int) -> list[str]:
    return [f"{rng.choice(FIRST_NAMES)} {surname}" for surname in rng.sample(strangers(), count)]


def _draw_closed(rng: Random, tier: int) -> Item:
    return closed_book(rng.choice(facts()[tier]))


def _draw_open(rng: Random, tier: int) -> Item:
    return open_book(rng.choice(facts()[tier]), rng)


def _draw_strange_page(rng: Random, _tier: int) -> Item:
    """Only strangers, so that training teaches to read and not the facts themselves."""
    (name,) = _strangers(rng, 1)
    while True:
        item = open_book(Fact(name, rng.choice(TOWNS)), rng)
        if item.prompt.count(name) == 2:  # on the page and asked for; else a stranger was drawn twice
            return item


def _closed_pool(tier: int) -> list[Item]:
    return [closed_book(fact) for fact in facts()[tier]]


def _open_pool(tier: int) -> list[Item]:
    return [open_book(fact, Random(f"page/{fact.name}")) for fact in facts()[tier]]


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
    chance=lambda _tier: 1 / len(TOWNS),
    lowest=1,
    highest=4,
    description="where an invented person lives, from memory; chance is any town",
    recalled=True,
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
    description="the same facts with the page open; chance is any town on the page",
    recalled=True,
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
