"""Intervals against closed forms and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from junkdna_harness.study.against.bounds import (
    at_floor,
    curve_of,
    difference,
    ratio,
    rise,
    score_bounds,
    what_is_assumed,
    why_no_interval,
)
from junkdna_harness.study.against.curve import Level
from junkdna_harness.study.against.points import Series


def series(
    name: str, kept: list[float], figure: str = "task_complexity", panel: str = "p", **known: object
) -> Series:
    levels = tuple(Level(0.1 * (k + 1)) for k in range(len(kept)))
    return Series(figure, panel, name, levels, np.array(kept), **known)  # type: ignore[arg-type]


def test_a_share_has_wilsons_interval() -> None:
    low, high = score_bounds(np.array([0.5, 1.0]), 100, "share")
    z2 = 1.959963984540054**2
    assert low[1] == pytest.approx(100 / (100 + z2))
    assert high[1] == 1
    assert high[0] - 0.5 == pytest.approx(0.5 - low[0])


def test_a_correlation_has_fishers_interval() -> None:
    low, high = score_bounds(np.array([0.0]), 103, "correlation")
    assert high[0] == pytest.approx(math.tanh(0.1959963984540054))
    assert low[0] == pytest.approx(-high[0])


def test_a_ratio_of_equal_scores_holds_1_and_of_scores_that_lie_apart_does_not() -> None:
    low, high = ratio(np.array([0.9, 0.5]), 0.9, 500, "share")
    assert low[0] < 1 < high[0]
    assert high[1] < 1
    assert low[1] < 0.5 / 0.9 < high[1]


def test_the_interval_of_a_ratio_holds_the_truth_as_often_as_it_says() -> None:
    """2,000 pairs of samples of 300 items, 0.55 of 0.8: 95 % within simulation error (4 standard errors below)."""
    rng = np.random.default_rng(0)
    a, b = rng.binomial(300, 0.55, 2000) / 300, rng.binomial(300, 0.8, 2000) / 300
    held = 0
    for p, d in zip(a, b, strict=True):
        low, high = ratio(np.array([p]), d, 300, "share")
        held += bool(low[0] <= 0.55 / 0.8 <= high[0])
    assert 0.93 < held / 2000 < 0.97


def test_a_dense_score_that_may_be_at_the_floor_bounds_nothing() -> None:
    low, high = ratio(np.array([0.5]), 0.52, 100, "share", floor=0.5)
    assert (low[0], high[0]) == (-math.inf, math.inf)


def test_a_difference_is_as_wide_as_its_parts_by_pythagoras() -> None:
    assert difference((1.0, 0.7, 1.4), (0.5, 0.1, 0.9)) == pytest.approx(
        (0.5, 0.0, 0.5 + math.hypot(0.4, 0.4))
    )


def test_taking_chance_off_is_the_closed_form() -> None:
    found = curve_of(series("QNLI", [0.9, 0.6]), corrected=True)
    floor = 2761 / 5463
    assert found.kept == pytest.approx([(k * 0.941 - floor) / (0.941 - floor) for k in (0.9, 0.6)])
    assert found.bounded


def test_a_dense_score_that_is_assumed_widens_the_interval_and_is_told() -> None:
    known = curve_of(series("SST-2", [0.9], n=872, dense=0.964))
    assumed = curve_of(series("SST-2", [0.9]))
    assert assumed.low[0] < known.low[0] < known.high[0] < assumed.high[0]
    assert what_is_assumed(series("SST-2", [0.9])) == "dense 0.934 to 0.994"
    assert what_is_assumed(series("SST-2", [0.9], n=872, dense=0.964)) == ""
    assert "items 300" in what_is_assumed(series("SVAMP", [0.9]))


@pytest.mark.parametrize(
    ("name", "figure", "why"),
    [
        ("CoLA (hard)", "task_complexity", "Matthews correlation"),
        ("Majority", "mbart", "BLEU"),
        ("my own", "x", "the task is none that is known"),
    ],
)
def test_no_interval_is_given_where_none_is_right(name: str, figure: str, why: str) -> None:
    one = series(name, [0.9, 0.5], figure)
    assert why in why_no_interval(one)
    assert not curve_of(one).bounded
    assert np.isnan(rise(one, 0)[1])


def test_the_dense_point_itself_has_no_width() -> None:
    one = Series("open_closed", "p", "Open Book", (Level(0.0), Level(0.5)), np.array([1.0, 0.5]))
    found = curve_of(one)
    assert (found.low[0], found.high[0]) == (1, 1)
    assert found.low[1] < 0.5 < found.high[1]


def test_a_rise_is_shown_by_many_items_and_not_by_few() -> None:
    many, few = series("QNLI", [0.85, 0.95]), series("RTE", [0.60, 0.65])
    assert rise(many, 0)[1] > 0
    assert rise(few, 0)[0] == pytest.approx(0.05)
    assert rise(few, 0)[1] < 0


def test_a_score_of_the_commonest_answer_is_at_the_floor() -> None:
    assert at_floor(series("RTE", [0.95, (146 / 277) / 0.838])) == [False, True]
