"""Isotonic fits and where they pass a mark, against plain definitions in exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

from difficulty.stats.isotonic import crossing, isotonic


def max_min(curve: list[Fraction]) -> list[Fraction]:
    """fit_k = max_{i<=k} min_{j>=k} mean(curve_i .. curve_j)."""
    n = len(curve)
    return [
        max(min(sum(curve[i : j + 1], Fraction(0)) / (j + 1 - i) for j in range(k, n)) for i in range(k + 1))
        for k in range(n)
    ]


def plain_crossing(levels: list[Fraction], curve: list[Fraction], threshold: Fraction) -> Fraction:
    """The first crossing of the whole isotonic fit, by linear interpolation."""
    fit = max_min(curve)
    for k, value in enumerate(fit):
        if value > threshold:
            if k == 0:
                return levels[0]
            share = (threshold - fit[k - 1]) / (value - fit[k - 1])
            return levels[k - 1] + share * (levels[k] - levels[k - 1])
    return levels[-1]


def as_floats(values: list[Fraction]) -> np.ndarray:
    return np.array([float(value) for value in values])


# Few values, so that ties, flat parts and values on the threshold are common; twentieths are not exact in binary.
VALUES = st.lists(st.integers(-4, 8), min_size=1, max_size=9)


@settings(max_examples=400, deadline=None)
@given(VALUES, st.integers(-2, 6), st.sampled_from([8, 20]))
def test_the_crossing_is_that_of_the_whole_fit(curve: list[int], threshold: int, unit: int) -> None:
    exact = [Fraction(value, unit) for value in curve]
    levels = [Fraction(k * k + k, 100) for k in range(len(curve))]
    wanted = plain_crossing(levels, exact, Fraction(threshold, unit))
    found = crossing(as_floats(levels), as_floats(exact), float(Fraction(threshold, unit)))
    assert float(found) == pytest.approx(float(wanted), abs=1e-9)


@pytest.mark.parametrize("n", [2, 5, 12, 25, 60])
def test_crossings_of_many_curves_are_those_of_the_fits_of_scipy(n: int) -> None:
    g = np.random.default_rng(n)
    levels = np.sort(g.random(n))
    curves = np.cumsum(g.normal(0.3, 1, size=(3, 70, n)), axis=-1)
    found = crossing(levels, curves, 0.9)
    assert found.shape == (3, 70)
    for place in np.ndindex(3, 70):
        fit = scipy.optimize.isotonic_regression(curves[place]).x
        above = np.flatnonzero(fit > 0.9)
        if not len(above):
            wanted = levels[-1]
        elif above[0] == 0:
            wanted = levels[0]
        else:
            k = above[0]
            wanted = np.interp(0.9, fit[k - 1 : k + 1], levels[k - 1 : k + 1])
        assert found[place] == pytest.approx(wanted, abs=1e-10)


def test_a_loss_of_just_the_threshold_has_not_passed_it_whatever_the_rounding() -> None:
    levels = np.array([0.0, 0.1, 0.2, 0.3, 0.4])
    losses = np.array([0.0, 0.8 - 0.75, 0.9 - 0.85, 0.4 - 0.35, 0.2])
    assert losses[1] > 0.05  # by rounding alone
    assert float(crossing(levels, losses, 0.05)) == pytest.approx(0.3)


@settings(max_examples=150, deadline=None)
@given(VALUES)
def test_the_fit_is_the_max_min_formula(curve: list[int]) -> None:
    exact = [Fraction(value, 20) for value in curve]
    assert isotonic(as_floats(exact)) == pytest.approx(as_floats(max_min(exact)), abs=1e-12)


@pytest.mark.parametrize("n", [24, 25, 40])
def test_many_levels_are_the_same_fit(n: int) -> None:
    g = np.random.default_rng(n)
    exact = [[Fraction(int(v), 20) for v in g.integers(-9, 9, n)] for _ in range(3)]
    curves = np.stack([as_floats(curve) for curve in exact])
    rising, falling = isotonic(curves), isotonic(curves, increasing=False)
    for curve, values, up, down in zip(exact, curves, rising, falling, strict=True):
        assert up == pytest.approx(as_floats(max_min(curve)), abs=1e-12)
        assert up == pytest.approx(scipy.optimize.isotonic_regression(values).x, abs=1e-12)
        assert down == pytest.approx(
            scipy.optimize.isotonic_regression(values, increasing=False).x, abs=1e-12
        )


def test_one_curve_of_integers_is_fitted_in_floats() -> None:
    assert isotonic(np.array([3, 1, 2])) == pytest.approx([2, 2, 2])
    assert isotonic(np.array([1, 2, 4])).dtype == float


def test_a_curve_with_an_unknown_value_has_no_crossing() -> None:
    levels = np.array([0.0, 0.5, 1.0])
    curves = np.array([[0.0, np.nan, 1.0], [0.0, 0.2, np.nan], [0.0, 0.2, 1.0]])
    found = crossing(levels, curves, 0.6)
    assert np.isnan(found[:2]).all()
    assert found[2] == pytest.approx(0.75)
