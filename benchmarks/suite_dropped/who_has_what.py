"""Who has what, from a paragraph of many sentences: a small model can hardly tell owners apart."""

from __future__ import annotations

from random import Random

from difficulty.graded.item import Family, Item
from difficulty.graded.vocabulary import ADJECTIVES, NAMES, THINGS

FACTS = 4  # sentences about who has what; all others say nothing about it


def _draw(rng: Random, sentences: int) -> Item:
    owners, things = rng.sample(NAMES, FACTS), rng.sample(THINGS, FACTS)
    paragraph = [f"{owner} has the {thing}." for owner, thing in zip(owners, things, strict=True)]
    others = [thing for thing in THINGS if thing not in things]
    for _ in range(sentences - FACTS):
        paragraph.append(f"The {rng.choice(others)} is {rng.choice(ADJECTIVES)}.")
    rng.shuffle(paragraph)
    asked = rng.randrange(FACTS)
    options = [f" {thing}" for thing in things]
    rng.shuffle(options)
    prompt = f"{' '.join(paragraph)} Question: What does {owners[asked]} have? Answer: the"
    return Item(prompt, f" {things[asked]}", tuple(options))


WHO_HAS_WHAT = Family(
    name="who_has_what",
    axis="context_length",
    axis_label="sentences of the paragraph",
    levels=(4, 8, 16, 28, 40, 60, 80, 100),
    draw=_draw,
    chance=lambda _level: 1 / FACTS,
    lowest=FACTS,
    highest=None,
    description="what a person has, from a paragraph that says of four people what they have",
)
