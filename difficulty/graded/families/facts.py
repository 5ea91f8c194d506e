"""Invented people with a given name and a family name, and letter ciphers: fixed tables drawn once from a seed.

Each tier is met half as often in training as the one before.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from functools import cache
from random import Random

LETTERS = string.ascii_lowercase
FACTS_PER_TIER = 256
_SEED = 20240521

# How often a fact or cipher of tier 1, 2, 3, 4 is met in training, relative to tier 4.
TRAINING_SHARE = {1: 8, 2: 4, 3: 2, 4: 1}


def words(text: str) -> tuple[str, ...]:
    """The words of `text`."""
    return tuple(text.split())


# Halves of given names that nobody is likely to have.
FIRST_HALVES = words("""
Bal Bex Bor Cal Cos Cul Dag Dov Dun Fal Fen Fos Gal Gim Gor Hal Hev Hob Jas Jev Jol Kar Kep Kol Lam
Lor Lus Mab Mev Mol Nad Nev Nus Pel Por Pud Quil Rab Rev Sal
""")
SECOND_HALVES = words("""
bant bick bril calt dask delf drin fenn flick gorn grel hask hild jorn kalt kell krim lann lisk lund
mard mell morst nack nell pard peck plin quist rand rell rund seld sholt skell stam tarn tell vant
vick
""")
FAMILY_NAMES = words("""
Abbing Aldwick Arbury Ashcote Barford Belmere Birkley Bramton Calder Carnwick Clayburn Corbury
Dalford Denholm Drayton Dunmere Eastwick Elmstead Enford Farley Fenwick Foxley Garston Glenby
Grayford Hadley Harwick Hexton Holmby Ilkton Inverby Kelford Kingsby Kirkmere Langley Linford Lowick
Lydham Marston Melbury Milford Morley Newbury Norham Oakley Orford Padley Penwick Radford Redmere
Ripley Rowton Selby Stanton Sutley Tarnby Thornley Upwick Walford Welby Westmere Whitby Winford
Yarwick
""")
LANGUAGES = ("pallan", "quorin", "xethic", "zumbel")


@dataclass(frozen=True)
class Fact:
    """The person called `given` is `given` `family`."""

    given: str
    family: str


@cache
def facts() -> dict[int, tuple[Fact, ...]]:
    """By tier, the people that a model can be taught about; no given name belongs to two of them."""
    rng = Random(_SEED)
    people = given_names()[: FACTS_PER_TIER * len(TRAINING_SHARE)]
    made = [Fact(given, rng.choice(FAMILY_NAMES)) for given in people]
    return {tier: tuple(made[(tier - 1) * FACTS_PER_TIER : tier * FACTS_PER_TIER]) for tier in TRAINING_SHARE}


@cache
def strangers() -> tuple[str, ...]:
    """Given names that belong to nobody in the tables."""
    return tuple(given_names()[FACTS_PER_TIER * len(TRAINING_SHARE) :])


@cache
def ciphers() -> dict[int, dict[str, str]]:
    """By tier, the letter that stands for each letter in that tier's language."""
    rng = Random(_SEED + 1)
    return {
        tier: dict(zip(LETTERS, rng.sample(LETTERS, len(LETTERS)), strict=True)) for tier in TRAINING_SHARE
    }


@cache
def given_names() -> list[str]:
    """All given names that the halves make, shuffled: those of people first."""
    made = [first + second for first in FIRST_HALVES for second in SECOND_HALVES]
    Random(_SEED + 2).shuffle(made)
    return made
