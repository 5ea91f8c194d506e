"""How numbers are written, and where tables are printed."""

from __future__ import annotations

import doctest
import math

import pytest

import difficulty.text
import junkdna_harness.presentation.amounts
import junkdna_harness.presentation.table
from difficulty.text import estimate_text, interval_text, p_text, p_words
from junkdna_harness.presentation.amounts import byte_size, time_span
from junkdna_harness.presentation.console import console


@pytest.mark.parametrize(
    "module", [difficulty.text, junkdna_harness.presentation.amounts, junkdna_harness.presentation.table]
)
def test_the_examples_are_true(module: object) -> None:
    found = doctest.testmod(module)  # type: ignore[arg-type]
    assert found.attempted and not found.failed


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"), (999, "999 B"), (999.6, "1 kB"), (999_400, "999 kB"), (999_500, "1.0 MB"), (2e6, "2.0 MB"),
        (999_960_000, "1.0 GB"), (1e12, "1.0 TB"), (5e15, "5000.0 TB"),
    ],
)  # fmt: skip
def test_a_size_never_loses_its_unit(size: float, text: str) -> None:
    assert byte_size(size) == text


def test_a_span_names_the_unit_that_it_is_rounded_in() -> None:
    assert [time_span(s) for s in (0, 89.4, 89.7, 90, 5399, 5400)] == [
        "1 s", "89 s", "90 s", "2 min", "90 min", "1.5 h",
    ]  # fmt: skip


def test_a_p_value_is_never_written_as_nought() -> None:
    assert p_text(0.0) == "< 0.001" and p_text(0.0, 4) == "< 0.0001" and p_text(0.00099) == "< 0.001"
    assert p_words(0.0) == "p < 0.001" and p_words(0.2) == "p = 0.200"
    assert p_text(None) == p_text(float("nan")) == p_words(None) == ""


def test_an_interval_without_two_ends_is_not_written() -> None:
    assert (
        interval_text(-math.inf, math.inf) == interval_text(None, 1) == interval_text(float("nan"), 1) == ""
    )
    assert interval_text(0.1, math.inf, ".1f") == "[0.1, inf]"
    assert estimate_text(None, 0, 1) == "" and estimate_text(0.5, None, None) == "+0.500"


def test_a_table_is_not_folded_where_nobody_sees_an_edge(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    console().print("x" * 190)
    console(stderr=True).print("y" * 190)
    assert capsys.readouterr() == ("x" * 190 + "\n", "y" * 190 + "\n")
    monkeypatch.setenv("COLUMNS", "300")
    console(width=120).print("x" * 290)
    assert capsys.readouterr().out == "x" * 290 + "\n"
