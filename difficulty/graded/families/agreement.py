"""Subject and verb agree in number, however many nouns of the other number stand between them."""

from __future__ import annotations

from random import Random

from difficulty.graded.item import Family, Item
from difficulty.graded.vocabulary import ADJECTIVES, THINGS, placed_by, plural

_VERBS = (("is", "are"), ("was", "were"), ("has", "have"))


def _draw(rng: Random, level: int) -> Item:
    many = rng.random() < 0.5
    subject, *others = rng.sample(THINGS, level + 1)
    attractors = placed_by(rng, (other if many else plural(other) for other in others))
    prompt = f"The {rng.choice(ADJECTIVES)} {plural(subject) if many else subject}{attractors}"
    choices = tuple(f" {verb}" for verb in rng.choice(_VERBS))
    return Item(prompt, choices[many], choices)


AGREEMENT = Family(
    name="agreement",
    axis="attractors",
    axis_label="nouns of the other number between subject and verb",
    levels=(0, 1, 2, 3, 4, 5, 6, 7),
    draw=_draw,
    chance=lambda _level: 0.5,
    lowest=0,
    highest=len(THINGS) - 1,
    description="the verb that agrees with the subject: the old key near the doors is, not are",
)
