"""The rule by which two curves agree, on curves whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from junkdna_harness.study.against.agree import (
    AGREES,
    DIFFERS,
    KEEPS,
    LOSES,
    UNKNOWN,
    First,
    agreement,
    first,
    order_agreement,
    rank_correlation,
)
from junkdna_harness.study.against.curve import Curve, Level, passing

GRID = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
FALLING = (1.0, 0.99, 0.98, 0.96, 0.92, 0.85, 0.7, 0.5, 0.3)


def curve(
    kept: tuple[float, ...], width: float | None = 0.01, grid: tuple[float, ...] = GRID, label: str = "c"
) -> Curve:
    y = np.array(kept)
    half = np.full(len(y), math.nan if width is None else width)
    return Curve(label, tuple(Level(x) for x in grid), y, y - half, y + half)


def moved(by: int) -> tuple[float, ...]:
    """`FALLING`, so many levels earlier."""
    return tuple(
        FALLING[min(k + by, len(FALLING) - 1)] - 1e-3 * max(0, k + by - 8) for k in range(len(FALLING))
    )


def test_a_mark_is_passed_between_levels_in_a_straight_line() -> None:
    found = passing(curve(FALLING, None), 0.8)
    assert found.at == pytest.approx(0.6 + 0.1 * (0.85 - 0.8) / 0.15)
    assert (found.low, found.high) == (None, None)


def test_before_the_first_level_stands_the_dense_model() -> None:
    assert passing(curve((0.5,), None, (0.1,)), 0.8).at == pytest.approx(0.1 * 0.2 / 0.5)


def test_a_mark_that_is_not_reached_is_none_with_an_open_end() -> None:
    found = passing(curve((0.99, 0.9), 0.12, (0.1, 0.2)), 0.8)
    assert (found.at, found.last, found.high) == (None, 0.2, math.inf)
    assert found.low == pytest.approx(0.1 + 0.1 * (0.87 - 0.8) / (0.87 - 0.78))


def test_the_rank_correlation_is_scipys_and_its_p_the_share_of_orders() -> None:
    rho, p = rank_correlation(np.array([4.0, 3, 2, 1]), np.array([9.0, 7, 5, 2]))
    assert rho == pytest.approx(1) and p == pytest.approx(1 / 24)
    rho, p = rank_correlation(np.array([4.0, 3, 2, 1]), np.array([9.0, 7, 2, 5]))
    assert rho == pytest.approx(0.8) and p == pytest.approx(4 / 24)
    assert rank_correlation(np.array([1.0, 2]), np.array([1.0, 2])) == (None, None)
    assert rank_correlation(np.array([1.0, 2, 3]), np.ones(3)) == (None, None)


def test_a_curve_agrees_with_itself() -> None:
    found = agreement(curve(FALLING), curve(FALLING))
    assert (found.verdict, found.n, found.rho) == (AGREES, 9, 1.0)
    assert found.p is not None and found.p < 0.001


def test_a_curve_that_breaks_three_levels_earlier_does_not() -> None:
    found = agreement(curve(FALLING), curve(moved(3)))
    assert found.verdict == DIFFERS
    assert "80 % mark: 30 points apart, ours is there earlier" in found.reason


def test_where_intervals_meet_it_cannot_be_told() -> None:
    found = agreement(curve(FALLING), curve(moved(3), 0.6))
    assert found.verdict == UNKNOWN
    assert "within the intervals" in found.reason


def test_curves_without_intervals_can_agree_and_cannot_differ() -> None:
    assert agreement(curve(FALLING, None), curve(FALLING)).verdict == AGREES
    found = agreement(curve(FALLING, None), curve(moved(3)))
    assert (found.verdict, found.reason.endswith("and the paper has no intervals")) == (UNKNOWN, True)


def test_levels_far_apart_leave_open_where_between_them_a_mark_is_passed() -> None:
    found = passing(curve((0.99, 0.3), grid=(0.4, 0.8)), 0.8)
    assert (found.low, found.high) == (0.4, 0.8)
    near = passing(curve((0.99, 0.3), grid=(0.4, 0.5)), 0.8)
    assert near.low is not None and near.high is not None and near.high - near.low < 0.01


def test_few_common_levels_cannot_be_told_whatever_they_are() -> None:
    found = agreement(curve(FALLING), curve((0.2, 0.1, 0.0), grid=(0.1, 0.2, 0.3)))
    assert (found.verdict, found.n) == (UNKNOWN, 3)
    assert "3 common levels, at least 4 are needed" in found.reason


def test_a_curve_that_rises_does_not_agree() -> None:
    up = tuple(0.97 + 0.001 * k for k in range(9))
    flat = tuple(0.99 - 0.001 * k for k in range(9))
    found = agreement(curve(flat), curve(up))
    assert (found.verdict, found.reason) == (DIFFERS, "rank correlation -1.00")


def test_a_mark_that_one_of_them_never_reaches_differs_only_where_it_had_the_room() -> None:
    gentle = tuple(0.999 - 0.001 * k for k in range(9))
    assert agreement(curve(FALLING), curve(gentle)).verdict == DIFFERS
    short = agreement(curve(FALLING), curve(gentle[:5], grid=GRID[:5]))
    assert short.verdict == UNKNOWN
    assert "ours ends at 50 %" in short.reason


def test_patterns_and_shares_are_not_mixed_up() -> None:
    pattern = Curve("n", (Level(0.5, "4:8"),), np.array([0.5]), np.array([0.4]), np.array([0.6]))
    assert agreement(pattern, curve((0.5,), grid=(0.5,))).n == 0
    assert agreement(pattern, pattern).n == 1


def test_the_same_curves_give_the_same_numbers() -> None:
    assert agreement(curve(FALLING), curve(moved(1))) == agreement(curve(FALLING), curve(moved(1)))


def test_orders_are_compared_where_both_are_shown() -> None:
    hard, easy = curve(moved(3)), curve(FALLING)
    assert first(easy, hard, 0.8) == First(LOSES, True)
    assert first(hard, easy, 0.8) == First(KEEPS, True)
    assert first(easy, curve(moved(3), 0.6), 0.8) == First(LOSES, False)
    assert first(easy, curve(moved(3), None), 0.8) == First(LOSES, False)  # no interval shows nothing
    assert first(curve((0.99,), grid=(0.1,)), curve((0.99,), grid=(0.1,)), 0.8) == First(
        "neither reaches it", False
    )
    shown, opposite, open_ = First(LOSES, True), First(KEEPS, True), First(LOSES, False)
    assert order_agreement(shown, shown)[0] == AGREES
    assert order_agreement(shown, opposite)[0] == DIFFERS
    assert order_agreement(shown, open_) == (UNKNOWN, "no order is shown by ours")
