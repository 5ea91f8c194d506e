"""Recovery by budget as the terminal, a page, Markdown and a picture show it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from difficulty.judge.fit import fit
from difficulty.simulate.draw import tidy
from junkdna_harness.cli import app
from junkdna_harness.report import verdicts
from junkdna_harness.report.build import Report, build
from junkdna_harness.report.curves import measure, recovery_gaps
from junkdna_harness.report.drawing import Drawing
from junkdna_harness.report.figures import Finisher
from junkdna_harness.report.html import render
from junkdna_harness.report.picture import Picture
from junkdna_harness.report.recovery import by_budget
from tests.difficulty.judge.test_budgets import WAY, world

SMALL = world({100: 0.9, 1400: 0.1}, items=40)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "t.parquet"
    rows = [tidy(replace(SMALL, model=name), k) for k, name in enumerate(("m", "m:1", "m:2"))]
    pd.concat(rows, ignore_index=True).to_parquet(path)
    return path


@pytest.fixture(scope="module")
def report(table: Path) -> Report:
    return build([table], with_documents=False, with_plots=False)


def test_the_page_shows_the_table_over_trainings_first(report: Report) -> None:
    page = render(report)
    assert page.count("<h4>Recovery by budget</h4>") == 4  # over trainings, and of each
    first = page.index("<h4>Recovery by budget</h4>")
    assert page.index("Over 3 trainings of m: m, m:1, m:2") < first < page.index("<h3>m</h3>")
    assert "from 100 steps to 1,400 steps" in page and '<th scope="col" class="number">Slope (T)</th>' in page
    assert "| magnitude+sparse\\_transfer | 1,400 |" in verdicts.markdown(report.fits, report.over)
    for name in (
        "magnitude+<wbr>sparse_<wbr>transfer<",
        "magnitude+<wbr>sparse_<wbr>transfer~<wbr>1400steps<",
    ):
        assert f">{name}/td>" in page  # broken between words alone


def test_there_is_a_picture_over_trainings_and_one_of_each(report: Report) -> None:
    taken: dict[str, Picture] = {}

    class Taking(Finisher):
        def add(self, name: str, picture: Picture) -> None:
            taken[name] = picture

    Drawing(Taking(files=False), report.items).fits(report.fits, report.over)
    names = [name for name in taken if "budget" in name]
    assert names == ["recovery_by_budget_over_models", *(f"recovery_by_budget_{n}" for n in (1, 2, 3))]
    assert taken[names[0]].counted == "3 trainings of m" and "mean over trainings" in taken[names[0]].heading


def test_the_further_budgets_stand_among_the_rows_and_the_table_of_models_has_each_claim_once(
    report: Report,
) -> None:
    block = verdicts.blocks(report.fits, report.over)[0]
    assert [card["method"] for card in block["cards"] if card["claim"] == "P5"] == [f"{WAY}~1400steps"]
    assert [row["method"] for row in block["families"]] == [f"{WAY}~100steps"]
    assert block["models"]["claims"].count("P5") == 1


def test_the_lines_of_the_picture_are_the_gaps_by_tier() -> None:
    result = fit(tidy(SMALL, 0), claims=("P5",), n_resamples=200)
    picture = by_budget(result.budgets, "m")
    assert picture is not None
    axes = next(picture.apart())[2].axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["before", "100", "1,400"]
    lines = {str(line.get_label()): line for line in axes.get_lines()}
    (curve,) = result.budgets
    for tier in (1, 2, 3, 4):
        wanted = [b.tiers[tier - 1].gap.deciding.estimate for b in curve.budgets]
        assert np.asarray(lines[f"tier {tier}"].get_ydata(), dtype=float) == pytest.approx(wanted)
    assert by_budget((), "m") is None


def test_the_picture_after_training_shows_the_longest_one() -> None:
    labels = [label for label, *_ in recovery_gaps(measure(tidy(SMALL, 0), {}, "simulated"))]
    assert labels == ["sparse transfer, 1,400 steps at 50 %", "sparse transfer, 1,400 steps at 70 %"]


def test_fit_prints_the_table_and_a_sentence_for_each_change(table: Path, tmp_path: Path) -> None:
    csv = tmp_path / "b.csv"
    line = f"fit {table} --claims P5 --resamples 200 --budgets {csv}"
    done = CliRunner().invoke(app, line.split())
    assert done.exit_code == 0, done.output
    assert done.output.count("Recovery by budget") == 4
    assert "slope (T)" in done.output and "slope (A)" not in done.output
    words = " ".join(done.output.split())
    assert words.count("magnitude+sparse_transfer: from 100 steps to 1,400 steps") == 4
    assert set(pd.read_csv(csv)["model"]) == {"3 trainings of m", "m", "m:1", "m:2"}
    assert "slope (A)" in CliRunner().invoke(app, [*line.split(), "--all"]).output
