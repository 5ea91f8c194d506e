"""P1: scores fall, and no step rises."""

from __future__ import annotations

import numpy as np
import pytest

from difficulty.judge.judgement import judge_panel
from difficulty.judge.verdicts import Claim, Rules
from difficulty.simulate.draw import simulate
from difficulty.simulate.world import Arm, World
from tests.difficulty.judge.worlds import FEW

LEVELS = (0.2, 0.4, 0.6, 0.8)


def judged(
    losses: tuple[float, ...], seed: int = 0, families: int = 2, items: int = 100, **more: object
) -> Claim:
    levels = tuple(np.linspace(0.1, 0.9, len(losses)).round(3))
    world = World((Arm(levels=levels, losses=losses),), families=families, items=items, **more)  # type: ignore[arg-type]
    found = judge_panel(simulate(world, seed), Rules(), {}, ("P1",), FEW, seed, tables=False)[1]
    return next(c for c in found if c.scope.headline)


def loss_for(world: World, accuracy: float) -> float:
    """The log-odds at which the accuracy is this, by bisection."""
    low, high = -10.0, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if world.accuracy(middle) > accuracy else (low, middle)
    return low


@pytest.mark.parametrize("items", [25, 100, 400])
def test_a_true_rise_of_three_times_what_matters_is_never_support(items: int) -> None:
    world = World()
    dense = world.accuracy()
    losses = tuple(loss_for(world, dense - fall) for fall in (0.08, 0.16, 0.13, 0.3))
    found = [judged(losses, seed, items=items) for seed in range(12)]
    assert all(c.verdict != "supported" for c in found)
    if items == 400:
        assert any("0.5" in c.reason or "0.633" in c.reason or "0.367" in c.reason for c in found)


def test_many_items_that_fall_at_every_step_are_support() -> None:
    assert judged((0.5, 1.0, 1.5, 2.0), items=400).verdict == "supported"


def test_few_items_leave_it_open_and_name_the_step() -> None:
    claim = judged((0.5, 1.0, 1.1, 2.0), items=30)
    assert claim.verdict == "inconclusive"
    assert "scores fall overall, but a rise from level" in claim.reason
    assert "is not shown to be below 0.01" in claim.reason and "more items would show it" in claim.reason
    assert claim.details["rises_shown_below"] >= 0.01


def test_a_long_curve_with_flat_parts_is_support_where_items_are_many() -> None:
    losses = (0.0, 0.0, 0.0, 0.3, 0.6, 0.6, 1.2, 1.8, 2.4)
    claim = judged(losses, families=3, items=3000, noise=0.25)
    assert claim.verdict == "supported", claim.reason
    assert claim.details["rises_shown_below"] < 0.01


@pytest.mark.parametrize(("items", "verdict"), [(8, "inconclusive"), (600, "refuted")])
def test_a_small_loss_is_shown_to_be_small_by_enough_items_only(items: int, verdict: str) -> None:
    claim = judged((0.0, 0.0, 0.0), items=items, families=2)
    assert claim.verdict == verdict
    if verdict == "refuted":
        assert "the whole loss is shown to be below 0.05" in claim.reason


def test_no_flip_on_a_handful_of_items_shows_nothing() -> None:
    claim = judged((0.0, 0.0), items=4, families=1, noise=0.0, tiers=2, easiness=20.0)
    assert claim.verdict == "inconclusive"
    assert claim.estimate == 0


def test_a_shown_rise_refutes_and_says_where() -> None:
    claim = judged((0.5, 2.0, 0.8, 2.5), items=200)
    assert claim.verdict == "refuted"
    assert f"rises from level {claim.details['largest_rise_from']:g}" in claim.reason
