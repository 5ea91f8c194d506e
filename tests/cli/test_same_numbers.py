"""One cell, one number: the same mean and the same bounds whichever verb prints them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from difficulty.stats.mean import mean_interval
from difficulty.text import score_with_bounds
from junkdna_harness.cli import app
from tests.cli.awkward import FAMILIES, MODELS, awkward

MODEL, FAMILY, TIER = MODELS[1], FAMILIES[0], 3
TASK = f"difficulty_tiers_{FAMILY}_t{TIER}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("same")
    table = awkward()
    table = table[(table["model"] == MODEL) & table["family"].isin(FAMILIES[:2])]
    table.loc[table["method"] == "dense", "value"] = (
        1.0  # where an interval of no width is printed by who divides by sqrt(n)
    )
    table.to_parquet(path / "runs.parquet")
    return path


def cells(folder: Path, task: str = TASK) -> dict[str, np.ndarray]:
    """Run -> the values of one cell."""
    table = pd.read_parquet(folder / "runs.parquet")
    return {
        str(run): part["value"].to_numpy(dtype=float)
        for run, part in table[table["task"] == task].groupby("run")
    }


def expected(values: np.ndarray) -> str:
    found = mean_interval(values)
    return score_with_bounds(found.mean, found.low, found.high, True)


def printed(folder: Path, *arguments: str) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "400"})
    if run.exception is not None and not isinstance(run.exception, SystemExit):
        raise run.exception
    return run.output


def test_the_bounds_of_a_score_are_asymmetric_and_have_a_width_where_all_are_right(folder: Path) -> None:
    assert expected(cells(folder)[f"{MODEL} dense"]) == "100.00 [72.25, 100.00]"  # Wilson, 10 of 10


def test_show_and_every_format_of_report_print_the_same_cell(folder: Path) -> None:
    names = ("out.md", "out.csv", "out.tex")
    written = [
        word
        for name, kind in zip(names, ("markdown", "csv", "latex"), strict=True)
        for word in (f"--{kind}", name)
    ]
    terminal = printed(folder, "report", "runs.parquet", "--by", "task", *written)
    markdown, csv, latex = (Path(folder / name).read_text("utf-8") for name in names)
    for run, values in cells(folder).items():
        cell = expected(values)
        shown = printed(folder, "show", "runs.parquet", "--run", run)
        (line,) = [line for line in shown.splitlines() if re.match(rf"{FAMILY} .*\b{TIER} ", line)]
        assert cell in line
        for text in (terminal, markdown.replace("\\", "")):
            assert cell in text
        assert all(part in latex for part in cell.split(" ", 1))  # LaTeX has the interval below the mean
        mean, low, high = re.findall(r"[\d.]+", cell)
        method, level = (
            run.removeprefix(f"{MODEL} ").rpartition(" ")[::2] if "dense" not in run else ("dense", "0")
        )
        rows = [row for row in csv.splitlines() if f",{TASK}," in row and f",{method}," in row]
        assert any(f",{mean},{low},{high}," in row for row in rows), (run, level)


def test_fit_writes_the_same_bounds_of_a_cell(folder: Path) -> None:
    printed(folder, "fit", "runs.parquet", "--resamples", "100", "--cells", "cells.csv")
    found = pd.read_csv(folder / "cells.csv")
    found = found[(found["family"] == FAMILY) & (found["tier"] == TIER)]
    assert len(found) == len(cells(folder))
    told = {score_with_bounds(*row, True) for row in found[["score", "score_low", "score_high"]].to_numpy()}
    assert told == set(map(expected, cells(folder).values()))


def test_check_and_table_have_the_same_means(folder: Path) -> None:
    runs = cells(folder)
    new, dense = f"{MODEL} magnitude 0.7", f"{MODEL} dense"
    text = printed(
        folder,
        "check",
        "runs.parquet",
        "--run",
        new,
        "--against",
        "runs.parquet",
        "--baseline-run",
        dense,
        "--all",
    )
    (line,) = [line for line in text.splitlines() if line.startswith(f"{FAMILY} tier {TIER} ")]
    assert [f"{runs[name].mean():.4f}" for name in (dense, new)] == line.split()[4:6]
    printed(folder, "table", "runs.parquet", "--output", "tidy.csv")
    tidy = pd.read_csv(folder / "tidy.csv")
    assert tidy[(tidy["run"] == new) & (tidy["task"] == TASK)]["value"].mean() == runs[new].mean()
