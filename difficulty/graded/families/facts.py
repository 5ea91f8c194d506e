"""Invented facts and letter ciphers: fixed tables drawn once from a seed, each tier half as frequent in training as the one before."""

from __future__ import annotations

import random
import string
from dataclasses import dataclass

LETTERS = string.ascii_lowercase
FACTS_PER_TIER = 256
NAME_LENGTH = 4
_SEED = 20240521

# How often a fact or cipher of tier 1, 2, 3, 4 is met in training, relative to tier 4.
TRAINING_SHARE = {1: 8, 2: 4, 3: 2, 4: 1}


@dataclass(frozen=True)
class Fact:
    """`name` (four letters) belongs to `answer` (two letters)."""

    name: str
    answer: str


@dataclass(frozen=True)
class Cipher:
    """A language named by one letter; `letters` is the table for `str.translate`."""

    language: str
    letters: dict[int, int]


def invented_name(rng: random.Random) -> str:
    """A name of four letters that belongs to no fact of the tables."""
    while True:
        name = "".join(rng.choices(LETTERS, k=NAME_LENGTH))
        if name not in _TAKEN:
            return name


def _make_facts() -> dict[int, tuple[Fact, ...]]:
    rng = random.Random(_SEED)
    names: dict[str, None] = {}
    while len(names) < FACTS_PER_TIER * len(TRAINING_SHARE):
        names["".join(rng.choices(LETTERS, k=NAME_LENGTH))] = None
    ordered = list(names)
    return {
        tier: tuple(
            Fact(name, "".join(rng.sample(LETTERS, 2)))
            for name in ordered[(tier - 1) * FACTS_PER_TIER : tier * FACTS_PER_TIER]
        )
        for tier in TRAINING_SHARE
    }


def _make_ciphers() -> dict[int, Cipher]:
    rng = random.Random(_SEED + 1)
    ciphers = {}
    for tier, language in zip(TRAINING_SHARE, "pqxz", strict=True):
        shuffled = rng.sample(LETTERS, len(LETTERS))
        ciphers[tier] = Cipher(language, str.maketrans(LETTERS, "".join(shuffled)))
    return ciphers


FACTS: dict[int, tuple[Fact, ...]] = _make_facts()
CIPHERS: dict[int, Cipher] = _make_ciphers()
_TAKEN = {fact.name for facts in FACTS.values() for fact in facts}
