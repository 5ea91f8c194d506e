"""The search for the sparsity that loses as much, against curves that are known."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from junkdna_harness.sweep.search import HIGHEST, MOST_TRIED, Point, State, Target, falls, known, next_levels

DENSE = Point(0.0, 0.0)


def targets_of(losses: Iterable[float], tried: dict[float, int] | None = None) -> list[Target]:
    return [Target(loss, max(0.05, 0.05 * loss), (tried or {}).get(loss, 0)) for loss in losses]


def search(
    curve: Callable[[float], float], losses: list[float], sizes: tuple[int, ...] = ()
) -> tuple[dict[float, State], list[Point]]:
    """What is known in the end, and the points in the order of evaluation."""
    points: list[Point] = []
    tried = dict.fromkeys(losses, 0)
    while levels := next_levels(points, targets_of(losses, tried), DENSE):
        assert len(points) < 200, "the search does not end"
        for level, sought in levels.items():
            assert level not in {point.level for point in points}, "a level is evaluated twice"
            assert 0 < level < 1
            points.append(Point(level, curve(level), sizes))
            for target in sought:
                tried[target.loss] += 1
    return {t.loss: known(points, t, DENSE) for t in targets_of(losses, tried)}, points


@pytest.mark.parametrize(
    "curve",
    [
        lambda s: 18 * (1 - math.exp(-((s / 0.05) ** 2))),
        lambda s: 18 * (1 - math.exp(-((s / 0.001) ** 0.7))),
        lambda s: 30 * s**5,
        lambda s: 18 * s,
    ],
    ids=["random", "largest", "magnitude", "straight"],
)
def test_a_rising_curve_is_met_within_the_tolerance(curve: Callable[[float], float]) -> None:
    losses = [0.56, 1.67, 4.6]
    found, points = search(curve, losses)
    for loss, state in found.items():
        assert state.reached and state.nearest is not None
        assert abs(curve(state.nearest.level) - loss) <= max(0.05, 0.05 * loss)
    alone = sum(len(search(curve, [loss])[1]) for loss in losses)
    assert len(points) < alone, "evaluations are not shared between targets"
    assert len(points) <= 13


@settings(max_examples=200, deadline=None)
@given(
    st.floats(0.0005, 0.9),
    st.floats(0.5, 8),
    st.lists(st.floats(0.06, 17), min_size=1, max_size=6, unique=True),
)
def test_any_rising_curve_ends_within_the_budget(scale: float, power: float, losses: list[float]) -> None:
    found, points = search(lambda s: 18 * (1 - math.exp(-((s / scale) ** power))), losses)
    assert len(points) <= MOST_TRIED * len(losses)
    for state in found.values():
        assert state.ended is not None
        if not state.reached:  # a curve so steep, or so flat, that it was not met; the ends enclose it
            assert state.above is None or state.below.loss < state.above.loss


def test_a_curve_that_never_loses_as_much_ends_at_the_highest_sparsity() -> None:
    found, _ = search(lambda s: 0.5 * s, [0.3, 2.0])
    assert found[0.3].reached
    assert not found[2.0].reached and found[2.0].ended == "even the highest sparsity loses less"
    assert found[2.0].above is None and found[2.0].below.level == HIGHEST


def test_a_flat_curve_ends() -> None:
    found, points = search(lambda s: 0.0, [0.5, 3.0])
    assert [state.reached for state in found.values()] == [False, False]
    assert len(points) <= MOST_TRIED


def test_a_loss_too_small_to_be_shown_is_not_sought() -> None:
    found, points = search(lambda s: 10 * s, [0.05, -0.2])
    assert points == []
    assert {state.ended for state in found.values()} == {"it is too small to be told from none"}


def test_a_jump_is_told_by_the_sizes_of_the_tensors() -> None:
    """Groups of 1,000 weights lose 3 of them at 0.0025; there the loss goes from 0.2 to 9."""
    found, points = search(lambda s: 9.0 if s >= 0.0025 else 0.2, [0.6, 2.0], sizes=(1000,))
    for state in found.values():
        assert state.ended == "the loss jumps over it between two sparsities with none between them"
        assert state.above is not None
        assert 0.0015 <= state.below.level < 0.0025 <= state.above.level < 0.0035
        assert (state.below.loss, state.above.loss) == (0.2, 9.0)
    counts = [math.floor(point.level * 1000 + 0.5) for point in points]
    assert len(set(counts)) == len(counts), "the same model is evaluated twice"
    assert len(points) < MOST_TRIED


def test_tensors_of_two_sizes_have_sparsities_between() -> None:
    """At 0.0025 groups of 1,000 lose one more, at 0.00275 those of 2,000: a model lies between."""
    curve = {(2, 5): 0.2, (3, 5): 2.0, (3, 6): 9.0}

    def loss(level: float) -> float:
        state = tuple(math.floor(level * size + 0.5) for size in (1000, 2000))
        return curve.get(state, 0.1 if level < 0.0025 else 9.5)

    found, _ = search(loss, [2.0], sizes=(1000, 2000))
    assert found[2.0].reached and found[2.0].nearest is not None
    assert 0.0025 <= found[2.0].nearest.level < 0.00275


def test_without_sizes_a_jump_ends_with_the_budget() -> None:
    found, points = search(lambda s: 9.0 if s >= 0.0025 else 0.2, [2.0])
    assert found[2.0].ended == f"it was not met in {MOST_TRIED} evaluations"
    assert len(points) == MOST_TRIED


def test_a_run_that_fails_counts_as_broken_and_the_search_goes_below_it() -> None:
    found, _ = search(lambda s: math.inf if s > 0.04 else 100 * s, [1.0])
    assert found[1.0].reached and found[1.0].nearest is not None
    assert found[1.0].nearest.level == pytest.approx(0.01, rel=0.06)


def test_where_more_sparsity_loses_less_the_closest_level_is_kept_and_it_is_told() -> None:
    """Up to 6 at 0.3, down to 2 at 0.6, up again."""

    def curve(level: float) -> float:
        return 20 * level if level < 0.3 else max(6 - (level - 0.3) * 13, 2.0) + max(level - 0.8, 0) * 40

    found, points = search(curve, [1.0, 4.0])
    for loss, state in found.items():
        assert state.nearest is not None
        assert abs(state.nearest.loss - loss) == min(abs(point.loss - loss) for point in points)
    measured = [Point(level, curve(level)) for level in (0.1, 0.3, 0.45, 0.6, 0.9)]
    worst = falls(measured, 0.05)
    assert worst is not None and (worst[0].level, worst[1].level) == (0.3, 0.6)


def test_noise_within_the_tolerance_is_no_fall() -> None:
    assert falls([Point(0.1, 10.0), Point(0.2, 9.6), Point(0.3, math.inf), Point(0.4, 11.0)], 0.05) is None
    assert falls([Point(0.1, 0.30), Point(0.2, 0.26)], 0.05) is None
    assert falls([Point(0.1, 0.30), Point(0.2, 0.20)], 0.05) is not None


def test_what_comes_next_follows_from_the_points_in_any_order() -> None:
    points = [Point(0.1, 5.0), Point(0.02, 0.4), Point(0.5, 17.0)]
    targets = targets_of([1.0, 9.0], {1.0: 3, 9.0: 3})
    assert next_levels(points, targets, DENSE) == next_levels(points[::-1], targets, DENSE)
