"""What made-up curves show by themselves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from junkdna_harness.study.against.points import Series, points_file, read_points
from junkdna_harness.study.against.readings import LESS, MORE, OPEN, readings, remarks, steps
from tests.study.against.made_up import line, points


def read(folder: Path, *series: list[str]) -> list[Series]:
    return read_points(points(folder, *(row for rows in series for row in rows)))


def test_a_hard_task_is_shown_to_lose_more_where_the_items_allow_it(tmp_path: Path) -> None:
    found = readings(
        read(
            tmp_path,
            line("task_complexity", "inference", "QNLI (easy)", {10: 99, 20: 98, 30: 70}),
            line("task_complexity", "inference", "RTE (hard)", {10: 97, 20: 70, 30: 95}),
        )
    )[0]
    assert (found.keeps, found.loses, found.raw.values, found.raw.n) == ("QNLI (easy)", "RTE (hard)", 2, 3)
    assert list(found.raw.states.values()) == [OPEN, MORE, LESS]
    assert found.raw.largest is not None and str(found.raw.largest[0]) == "20 %"
    assert found.control == "none"


def test_a_floor_can_be_all_that_sets_two_tasks_apart(tmp_path: Path) -> None:
    """Both lose all that is above chance; five options leave less of the dense score than two."""
    found = readings(
        read(
            tmp_path,
            line("task_complexity", "p", "WinoGrande (easy)", {90: 65}),
            line("task_complexity", "p", "CSQA (hard)", {90: 28}),
        )
    )[0]
    assert found.raw.levels(MORE) and found.corrected is not None and not found.corrected.levels(MORE)
    assert [str(level) for level in found.explained] == ["90 %"]


def test_pairs_are_found_by_tasks_books_data_and_trainings(tmp_path: Path) -> None:
    series = read(
        tmp_path,
        line("open_closed", "Magnitude", "Closed Book", {10: 80}),
        line("open_closed", "Magnitude", "Open Book", {10: 90}),
        line("mbart", "few-shot", "Majority (easy task)", {10: 80}),
        line("mbart", "few-shot", "Minority (hard task)", {10: 70}),
        line("data_suffiency", "QNLI", "10% data", {10: 80}),
        line("data_suffiency", "QNLI", "50% data", {10: 85}),
        line("data_suffiency", "QNLI", "100% data", {10: 90}),
        line("baselines", "QNLI", "Sparse Transfer", {10: 90}),
        line("baselines", "QNLI", "Sparse to Dense Transfer", {10: 90}),
        line("baselines", "QNLI", "Dense Transfer with Freezing", {10: 90}),
        line("other", "QNLI", "one line", {10: 90}),
    )
    assert [(one.keeps, one.loses) for one in readings(series)] == [
        ("Open Book", "Closed Book"), ("Majority (easy task)", "Minority (hard task)"), ("100% data", "10% data"),
        ("Dense Transfer with Freezing", "Sparse Transfer"), ("Sparse Transfer", "Sparse to Dense Transfer"),
    ]  # fmt: skip


def test_a_control_is_named_where_a_panel_has_one(tmp_path: Path) -> None:
    series = read(
        tmp_path,
        line("f", "p", "QNLI (easy)", {10: 99}),
        line("f", "p", "RTE (hard)", {10: 97}),
        line("f", "p", "RTE random", {10: 97}),
    )
    assert readings(series)[0].control == "RTE random"


def test_rises_are_named_with_their_levels(tmp_path: Path) -> None:
    found = steps(
        read(tmp_path, line("task_complexity", "p", "QNLI (easy)", {10: 85, 20: 96, 30: 90, 40: 90}))
    )[0]
    assert found.largest is not None
    assert (str(found.largest[0]), str(found.largest[1]), round(found.largest[2], 3)) == (
        "10 %",
        "20 %",
        0.11,
    )
    assert len(found.beyond) == 1
    falling = steps(read(tmp_path, line("task_complexity", "p", "QNLI (easy)", {10: 90, 20: 80})))[0]
    assert falling.largest is None and not falling.beyond


def test_values_that_stand_twice_and_references_that_are_no_dense_model_are_told(tmp_path: Path) -> None:
    series = read(
        tmp_path,
        line("a", "QNLI", "x", {10: 100, 20: 95.123, 30: 91.25, 40: 85.5}),
        line("a", "QNLI", "y", {10: 100, 20: 90, 30: 80, 40: 70}),
    ) + read(tmp_path, line("a_NM", "QNLI", "x", {"7:8": 95.123, "6:8": 91.25, "5:8": 85.5}))
    told = remarks(series)
    assert len(told) == 2
    assert "a, QNLI: all series are exactly 100 % at 10 %" in told[0]
    assert "a / QNLI / x and a_NM / QNLI / x: 3 values in a row" in told[1]


@pytest.mark.skipif(not os.environ.get("JUNKDNA_PAPER"), reason="JUNKDNA_PAPER names no points of the paper")
def test_no_panel_of_the_paper_has_a_control_and_each_pair_is_found() -> None:
    found = readings(read_points(points_file("paper")))
    assert {one.control for one in found} == {"none"}
    assert sum(one.figure == "task_complexity" for one in found) == 5
    assert sum(one.figure == "open_closed_junk" for one in found) == 6
