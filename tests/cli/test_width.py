"""Everything that a terminal of 80 columns is shown fits it, also of long model names, thirteen families, eight tiers, several models."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rich.cells import cell_len
from typer.testing import CliRunner

from difficulty.cut.tiers import Tier
from difficulty.runs.identity import Method, Run
from difficulty.stats.flips import Flips
from difficulty.stats.result import Estimate
from junkdna_harness.cli import app
from junkdna_harness.doctor import Finding
from junkdna_harness.presentation.lines import show_lines
from junkdna_harness.sweep.display import order, runs_table
from junkdna_harness.tiers.comparison import Comparison, Named, Row, comparison_text
from tests.cli.awkward import FAMILIES, MODELS, STATES, TIERS, awkward

WIDTH = 80
ONE = "--run|MODEL magnitude 0.5".replace("MODEL", MODELS[0]).split("|")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`all.parquet`, both models; `one.parquet`, one of them; `few.parquet`, both, of two families; `dense.parquet`, one run."""
    path = tmp_path_factory.mktemp("awkward")
    table = awkward()
    one = table[table["model"] == MODELS[1]]
    table.to_parquet(path / "all.parquet")
    one.to_parquet(path / "one.parquet")
    table[table["family"].isin(FAMILIES[:2])].to_parquet(path / "few.parquet")
    one[one["method"] == "dense"].to_parquet(path / "dense.parquet")
    return path


def printed(folder: Path, *arguments: str, width: int = WIDTH) -> str:
    """What a command prints at a terminal of `width` columns, stdout and stderr together."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run = CliRunner().invoke(app, list(arguments), env={"COLUMNS": str(width)})
    if run.exception is not None and not isinstance(run.exception, SystemExit):
        raise run.exception
    return run.output


def too_wide(text: str, width: int = WIDTH) -> list[str]:
    return [line for line in text.splitlines() if cell_len(line) > width]


VERBS = [
    ("report", "all.parquet"),
    ("report", "few.parquet", "--by", "task"),
    ("show", "all.parquet", *ONE),
    ("fit", "one.parquet", "--resamples", "100", "--all"),
    ("fit", "few.parquet", "--resamples", "100"),
    ("check", "one.parquet", "--run", "embedded magnitude 0.3", "--against", "dense.parquet", "--all"),
    ("power", "--baseline", "dense.parquet"),
    ("table", "few.parquet", "--output", "tidy.csv"),
    ("sweep", "--methods", "magnitude,random", "--sparsity", "0.5,0.7", "--match-loss", "--tasks", "difficulty_tiers_copying", "--dry-run"),
]  # fmt: skip


@pytest.mark.parametrize("arguments", VERBS, ids=lambda verb: " ".join(verb)[:40])
def test_no_line_is_wider_than_the_terminal(arguments: tuple[str, ...], folder: Path) -> None:
    text = printed(folder, *arguments)
    assert text.strip()
    assert too_wide(text) == []
    if arguments[0] != "check":  # which shows the ends of what was asked
        assert "…" not in text


def test_every_score_of_a_report_is_printed_whole(folder: Path) -> None:
    narrow, wide = (
        printed(folder, "report", "all.parquet", "--by", "tier", width=width) for width in (80, 400)
    )
    cell = re.compile(r"\d+\.\d\d \[\d+\.\d\d, \d+\.\d\d\]")
    assert sorted(cell.findall(narrow)) == sorted(cell.findall(wide))
    assert len(cell.findall(narrow)) == len(MODELS) * len(STATES) * (1 + TIERS)
    for model in MODELS:
        assert model in narrow.split()


def test_rows_are_sorted_by_model_and_dense_comes_first_and_levels_are_numbers(folder: Path) -> None:
    text = printed(folder, "report", "all.parquet", "--by", "tier", width=400)
    heads = [line.strip() for line in text.splitlines() if line.strip() in MODELS]
    assert heads == sorted(MODELS)
    names = re.findall(r"^ +(dense|magnitude|random|wanda 4:8) +(-|\d+ %)", text, re.M)
    states = [("dense", "-"), *(("magnitude", f"{level} %") for level in (30, 50, 70))]
    states += [("random", "50 %"), ("wanda 4:8", "50 %")]
    assert names == 2 * states


def test_what_all_rows_share_is_told_once(folder: Path) -> None:
    text = printed(folder, "show", "one.parquet", "--run", "embedded magnitude 0.5")
    told = " ".join(text.split())
    assert "all rows: axis training_frequency, metric acc, items 10, chance 25.00" in told
    assert told.count("training_frequency") == 1


def test_what_doctor_finds_folds_at_words(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [Finding("torch", "2.13.0", True), Finding("tasks in lm_eval", "word " * 40, False)]
    monkeypatch.setattr("junkdna_harness.doctor.examine", lambda: found)
    run = CliRunner().invoke(app, ["doctor"], env={"COLUMNS": "80"})
    assert run.exit_code == 1
    assert too_wide(run.output) == []
    assert run.output.split().count("word") == 40


def test_tiers_a_comparison_and_a_text_fit(tmp_path: Path) -> None:
    run_a = Named("a/folder/of/a/rather/long/name" * 2, f"{MODELS[0]} dense")
    tier = Tier(1, 0.5, 12.5, 100)
    estimate = Estimate(-0.0123, -0.0345, 0.0123, 0.0421, 250, 250)
    rows = tuple(
        Row(
            f"difficulty_tiers_{family}_t8",
            "exact_match",
            one,
            0.9876,
            0.9753,
            estimate,
            Flips(12, 3, 0.06, 0.0352, 250),
        )
        for family in FAMILIES[-3:]
        for one in (tier, None)
    )
    for by in ("steps:a_column_of_a_long_name", None):
        text = comparison_text(Comparison(run_a, run_a, by, rows, ("a note " * 30,)))
        assert [line for line in too_wide(text) if "/" not in line] == []  # a path is to be copied
        assert text.count("-0.0123 [-0.0345, +0.0123]") == len(rows)


def test_a_sweeps_runs_fit_and_are_sorted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    states = [
        ("wanda", 0.5, None),
        ("magnitude", 0.7, None),
        ("magnitude", 0.05, None),
        ("rtn", None, 4.0),
        ("dense", 0.0, None),
    ]
    manifests = [
        {"run": str(Run(model, Method.parse(method), level, bits)), "model": model, "method": method, "level": level, "bits": bits}
        for method, level, bits in states
        for model in MODELS
    ]  # fmt: skip
    ordered = [manifest["run"] for manifest in sorted(manifests, key=order)]
    assert ordered[:5] == [
        "embedded dense", "embedded magnitude 0.05", "embedded magnitude 0.7", "embedded rtn 4 bits", "embedded wanda 0.5",
    ]  # fmt: skip
    scores = {f"difficulty_tiers_{family}": {"acc,none": 0.5} for family in FAMILIES}
    whole = [
        {
            **one,
            "effective_bits": 9.0,
            "seconds": {"score": 1.5},
            "results": {"groups": scores, "results": scores},
        }
        for one in manifests
    ]
    show_lines(runs_table(whole))
    text = capsys.readouterr().out
    assert too_wide(text) == []
    assert text.count("50.00") >= len(whole) * 6
