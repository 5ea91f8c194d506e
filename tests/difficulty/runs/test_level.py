"""The level is what was asked for only where the weights bear it out."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from difficulty.runs.level import TOLERANCE, level_of


@pytest.mark.parametrize(
    "requested,measured,level,told",
    [
        (0.5, 0.5, 0.5, None),
        (0.7, 0.6917, 0.7, None),  # rows of 48 lose 33 or 34 weights
        (0.5, 0.49, 0.5, None),
        (0.3, 0.7, 0.7, "asked for 0.3, measured 0.7: the checkpoint was sparse already"),
        (0.0, 0.7, 0.7, "asked for 0, measured 0.7: the checkpoint was sparse already"),
        (0.5, 0.476, 0.476, "asked for 0.5, measured 0.476: fewer weights are zero than were asked for"),
        (None, 0.7, 0.7, None),
        (0.3, None, 0.3, None),  # packed codes, in which zeros cannot be counted
        (0.3, math.nan, 0.3, None),
        (None, None, None, None),
        (0.001, 0.00098, 0.001, None),
        (0.002, 0.001, 0.002, None),  # rows of 1000 at a half
        (0.001, 0.005, 0.005, "asked for 0.001, measured 0.005: the checkpoint was sparse already"),
        (0.001, 0.0, 0.0, "asked for 0.001, measured 0: fewer weights are zero than were asked for"),
        (0.0, 0.004, 0.0, None),  # trained weights hold a few zeros
    ],
)
def test_the_level_and_its_warning(
    requested: float | None, measured: float | None, level: float | None, told: str | None
) -> None:
    assert level_of(requested, measured) == (level, told)


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_level_is_never_far_from_what_was_measured_without_a_word(
    requested: float, measured: float
) -> None:
    level, warning = level_of(requested, measured)
    assert level in (requested, measured)
    assert abs(level - measured) <= TOLERANCE + 1e-8
    assert (warning is None) == (level == requested)
