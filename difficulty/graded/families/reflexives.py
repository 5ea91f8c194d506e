"""A reflexive pronoun has the number of its subject, however many nouns of the other number stand between them."""

from __future__ import annotations

from random import Random

from difficulty.graded.item import Family, Item
from difficulty.graded.vocabulary import THINGS, placed_by, plural

PEOPLE = {
    "herself": (
        ("aunt", "aunts"),
        ("daughter", "daughters"),
        ("girl", "girls"),
        ("lady", "ladies"),
        ("mother", "mothers"),
        ("princess", "princesses"),
        ("queen", "queens"),
        ("sister", "sisters"),
        ("wife", "wives"),
        ("woman", "women"),
    ),
    "himself": (
        ("boy", "boys"),
        ("brother", "brothers"),
        ("father", "fathers"),
        ("gentleman", "gentlemen"),
        ("king", "kings"),
        ("husband", "husbands"),
        ("man", "men"),
        ("prince", "princes"),
        ("son", "sons"),
        ("uncle", "uncles"),
    ),
}
KINDS = (
    "angry",
    "clever",
    "famous",
    "happy",
    "nervous",
    "old",
    "poor",
    "proud",
    "rich",
    "sad",
    "tall",
    "young",
)
KNOW = ("believe", "guess", "heard", "hope", "know", "think")
VERBS = ("blamed", "hated", "helped", "hurt", "praised", "saw", "taught", "trusted")


def _draw(rng: Random, level: int) -> Item:
    many = rng.random() < 0.5
    alone = rng.choice(("herself", "himself"))
    subject = f"{rng.choice(KINDS)} {rng.choice(PEOPLE[alone])[many]}"
    others = rng.sample(THINGS, level)
    attractors = placed_by(rng, (other if many else plural(other) for other in others))
    prompt = f"I {rng.choice(KNOW)} that the {subject}{attractors} {rng.choice(VERBS)}"
    choices = (f" {alone}", " themselves")
    return Item(prompt, choices[many], choices)


REFLEXIVES = Family(
    name="reflexives",
    axis="attractors",
    axis_label="nouns of the other number between the subject and its reflexive",
    levels=(0, 1, 2, 3, 4, 5, 6, 7),
    draw=_draw,
    chance=lambda _level: 0.5,
    lowest=0,
    highest=len(THINGS),
    description="the reflexive that agrees with the subject: the old uncle near the doors saw himself, not themselves",
)
