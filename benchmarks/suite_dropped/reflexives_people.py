"""Reflexives with people as attractors, who could be meant too: a small model is near chance from three of them on."""

from __future__ import annotations

from random import Random

from difficulty.graded.families.reflexives import KINDS, KNOW, PEOPLE, VERBS
from difficulty.graded.item import Family, Item
from difficulty.graded.vocabulary import placed_by


def _draw(rng: Random, level: int) -> Item:
    many = rng.random() < 0.5
    alone = rng.choice(("herself", "himself"))
    subject, *others = rng.sample(PEOPLE[alone], level + 1)
    attractors = placed_by(rng, (other[not many] for other in others))
    start = f"I {rng.choice(KNOW)} that the {rng.choice(KINDS)} {subject[many]}"
    choices = (f" {alone}", " themselves")
    return Item(f"{start}{attractors} {rng.choice(VERBS)}", choices[many], choices)


REFLEXIVES_PEOPLE = Family(
    name="reflexives_people",
    axis="attractors",
    axis_label="people of the other number between the subject and its reflexive",
    levels=(0, 1, 2, 3, 4, 5, 6, 7),
    draw=_draw,
    chance=lambda _level: 0.5,
    lowest=0,
    highest=len(PEOPLE["herself"]) - 1,
    description="the reflexive that agrees with the subject: the old uncle near the kings saw himself, not themselves",
)
