from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from difficulty.errors import UsageError
from difficulty.runs.table import read_table, write_table
from junkdna_harness.commands.fit import fit
from junkdna_harness.commands.show import show
from junkdna_harness.commands.table import table as table_command
from tests.difficulty.judge.simulated import table
from tests.difficulty.runs.test_logs import block, both

app = typer.Typer()
for verb in (fit, show):
    app.command()(verb)
app.command("table")(table_command)


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "160"})
    if result.exception is not None:
        raise result.exception
    assert result.exit_code == 0
    return result.output


def test_fit_prints_verdicts_first_and_writes_what_is_asked(tmp_path: Path) -> None:
    write_table(table(0.4, items=60), tmp_path / "t.parquet")
    out = run(
        "fit", tmp_path / "t.parquet", "--resamples", 200, "--json", tmp_path / "f.json", "--csv", tmp_path / "f.csv",
        "--cells", tmp_path / "c.csv",
    )  # fmt: skip
    assert out.index("supported") < out.index("Methods")
    assert "not tested" in out
    assert json.loads((tmp_path / "f.json").read_text())["schema"] == 2
    assert len(pd.read_csv(tmp_path / "c.csv")) == 2 * 3 * 5
    assert set(pd.read_csv(tmp_path / "f.csv")["claim"]) == {"P1", "P2", "P3", "P4", "P4 memory", "P5", "P6"}
    again = json.loads(run("fit", tmp_path / "t.parquet", "--resamples", 200, "--json", "-"))
    assert again == json.loads((tmp_path / "f.json").read_text())


def test_markup_in_names_is_printed_as_it_is(tmp_path: Path) -> None:
    write_table(table(0.4, items=30).assign(model="[red]m[/red]"), tmp_path / "t.parquet")
    assert "[red]m[/red]" in run("fit", tmp_path / "t.parquet", "--resamples", 200)


def test_table_writes_the_tidy_rows_of_several_runs(tmp_path: Path) -> None:
    both(tmp_path / "a")
    both(tmp_path / "b", block("magnitude", 0.5))
    out = run("table", tmp_path / "a", tmp_path / "b", "-o", tmp_path / "t.csv")
    assert "16 rows, 2 runs, 4 items" in out
    assert read_table(tmp_path / "t.csv")["run"].nunique() == 2


def test_show_prints_a_run_by_tier_with_what_was_done(tmp_path: Path) -> None:
    both(tmp_path / "b", block("magnitude", 0.5, scope="layer", sparsity_targeted=0.5))
    out = run("show", tmp_path / "b")
    for part in ("tiny magnitude 0.5", "layer", "0.5000", "quiz", "recall", "options"):
        assert part in out


def test_show_of_several_runs_asks_which(tmp_path: Path) -> None:
    write_table(table(items=5), tmp_path / "t.parquet")
    with pytest.raises(UsageError, match="there are 5 runs in .*Choose one with --run"):
        run("show", tmp_path / "t.parquet")
    assert "m dense" in run("show", tmp_path / "t.parquet", "--run", "m dense")
