"""Someone's family name is looked up in a list of people, however long the list is."""

from __future__ import annotations

from random import Random

from difficulty.graded.item import END, Family, Item
from difficulty.graded.words import read_words

_OPTIONS = 4
_PEOPLE_IN_EXAMPLE = 4  # at every level
_MOST = 96


def _people(people: list[tuple[str, str]], asked: int) -> str:
    listed = ", ".join(f"{name} {surname}" for name, surname in people)
    return f"I saw {listed}. Then I saw {people[asked][0]}"


def _draw(rng: Random, level: int) -> Item:
    names = [name for (name,) in read_words("names")]
    surnames = [surname for (surname,) in read_words("surnames")]
    n_people = level + _PEOPLE_IN_EXAMPLE  # nobody of the example is asked for again
    everyone = list(zip(rng.sample(names, n_people), rng.sample(surnames, n_people), strict=True))
    shown, people = everyone[:_PEOPLE_IN_EXAMPLE], everyone[_PEOPLE_IN_EXAMPLE:]
    example = rng.randrange(_PEOPLE_IN_EXAMPLE)
    asked = rng.randrange(level)
    others = [f" {surname}" for place, (_, surname) in enumerate(people) if place != asked]
    answer = f" {people[asked][1]}"
    choices = [answer, *rng.sample(others, _OPTIONS - 1)]
    rng.shuffle(choices)
    prompt = f"{_people(shown, example)} {shown[example][1]}{END}\n\n{_people(people, asked)}"
    return Item(prompt, answer, tuple(choices))


RETRIEVAL = Family(
    name="retrieval",
    axis="context_length",
    axis_label="people in the list",
    levels=(4, 8, 16, 32, 48, 64, 80, 96),
    draw=_draw,
    chance=lambda _level: 1 / _OPTIONS,
    lowest=_OPTIONS,
    highest=_MOST,
    description="the family name of one person among many; the four options are all in the list",
)
