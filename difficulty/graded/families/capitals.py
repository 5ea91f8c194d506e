"""Capitals of countries (tiers 1 to 4) and of regions of countries (tiers 5 to 8), from well known to little known places."""

from __future__ import annotations

from functools import cache
from random import Random

from difficulty.graded.item import Family, Item
from difficulty.graded.words import read_words

OPTIONS = 4
LISTS = ("capitals_of_countries", "capitals_of_regions")  # both are ordered, best known first
BANDS = 4  # per list: a band is a level

# France and Japan, which the worked examples name, are in neither list.
_FRAMES = (
    "The capital of {place} is",
    "The capital city of {place} is called",
    "The capital of France is Paris. The capital of {place} is",
    "Paris is the capital of France, Tokyo is the capital of Japan, and the capital of {place} is",
    "Question: What is the capital of France? Answer: Paris. Question: What is the capital of {place}? Answer:",
    "The capital of Japan is Tokyo, the capital of France is Paris, and the capital of {place} is",
)


@cache
def facts(level: int) -> tuple[tuple[str, ...], ...]:
    """The places of a level, each with its capital."""
    places = read_words(LISTS[(level - 1) // BANDS])
    band = (level - 1) % BANDS
    return places[len(places) * band // BANDS : len(places) * (band + 1) // BANDS]


def _draw(rng: Random, level: int) -> Item:
    known = facts(level)
    place, capital = rng.choice(known)
    others = list(dict.fromkeys(city for _, city in known if city != capital))
    cities = [capital, *rng.sample(others, OPTIONS - 1)]
    rng.shuffle(cities)
    prompt = rng.choice(_FRAMES).format(place=place)
    return Item(prompt, f" {capital}", tuple(f" {city}" for city in cities), cluster=place)


CAPITALS = Family(
    name="capitals",
    axis="training_frequency",
    axis_label="band of places, best known first",
    levels=(1, 2, 3, 4, 5, 6, 7, 8),
    draw=_draw,
    chance=lambda level: 1 / OPTIONS,
    lowest=1,
    highest=len(LISTS) * BANDS,
    description="Name the capital of a country or region, out of four capitals of places that are about as well known.",
)
