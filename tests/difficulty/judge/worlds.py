"""Simulated worlds, judged."""

from __future__ import annotations

from typing import Any

from difficulty.judge.fit import FitResult, fit
from difficulty.judge.verdicts import Claim
from difficulty.simulate.draw import tidy
from difficulty.simulate.world import World

FEW = 400


def judged(world: World, *claims: str, seed: int = 0, **options: Any) -> FitResult:
    """The verdicts on one draw of a world."""
    return fit(tidy(world, seed), claims=claims or None, n_resamples=FEW, seed=seed, **options)


def headline(world: World, claim: str, seed: int = 0, **options: Any) -> Claim:
    """The headline verdict on a claim in one draw of a world."""
    return judged(world, claim, seed=seed, **options).headline()[claim]


def rows_of(result: FitResult, claim: str, family: str | None = None) -> list[Claim]:
    """The rows of a claim, of one family if it is given."""
    return [c for c in result.claims if c.claim == claim and (family is None or c.family == family)]
