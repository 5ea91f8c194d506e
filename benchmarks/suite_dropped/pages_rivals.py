"""A fact asked in other words where other people have jobs, too: a small model is near chance with three of them."""

from __future__ import annotations

from random import Random

from difficulty.graded.families.pages import JOBS
from difficulty.graded.item import Family, Item
from difficulty.graded.vocabulary import NAMES


def _draw(rng: Random, level: int) -> Item:
    people = rng.sample(NAMES, level + 1)
    jobs = rng.sample(JOBS, max(4, level + 1))
    page = [f"{person} works as a {job}." for person, job in zip(people, jobs, strict=False)]
    rng.shuffle(page)
    options = [f" {job}" for job in (jobs[0], *rng.sample(jobs[1:], 3))]
    rng.shuffle(options)
    return Item(f"{' '.join(page)} The job of {people[0]} is that of a", f" {jobs[0]}", tuple(options))


PAGES_RIVALS = Family(
    name="pages_rivals",
    axis="distractors",
    axis_label="other people whose job is stated",
    levels=(0, 1, 2, 3, 4, 8, 12, 16),
    draw=_draw,
    chance=lambda _level: 0.25,
    lowest=0,
    highest=len(JOBS) - 1,
    description="one person's job, from statements of the jobs of several people in any order",
)
