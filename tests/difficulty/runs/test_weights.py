"""How many weights a model has, as sweeps, lm-eval's results and tables say it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from difficulty.errors import UsageError
from difficulty.runs.part import weights_in
from difficulty.runs.read import read_runs
from difficulty.runs.table import read_table, validate, write_table
from tests.difficulty.runs.logged import chosen, results_of, write_log


def logged(folder: Path, block: dict[str, Any] | None = None, **config: Any) -> Path:
    tasks = {"t": [chosen(i, [-1.0, -2.0], i % 2) for i in range(4)]}
    write_log(folder, tasks, "multiple_choice", config={"metadata": {"tier": 1}}, block=block)
    path = results_of(folder)
    results = json.loads(path.read_text())
    results["config"] |= config
    path.write_text(json.dumps(results))
    return folder


def weights(folder: Path) -> list[float | None]:
    return [None if pd.isna(n) else float(n) for n in read_runs(folder).runs["n_weights"]]


def block(**more: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "kind": "pruned",
        "method": "magnitude",
        "level": 0.5,
        "bits": None,
        "seed": 0,
    } | more


def test_lm_evals_own_count_is_read(tmp_path: Path) -> None:
    assert weights(logged(tmp_path, model_num_parameters=70_426_624)) == [70_426_624]


@pytest.mark.parametrize("nothing", [-1, None, "many", 7.5, True, 0])
def test_what_is_no_count_is_not_known(tmp_path: Path, nothing: object) -> None:
    assert weights(logged(tmp_path, model_num_parameters=nothing)) == [None]


def test_our_own_block_says_it(tmp_path: Path) -> None:
    assert weights(logged(tmp_path, block(weights_all=1_302_560, sparsity_all=0.4))) == [1_302_560]


def test_packed_codes_are_not_counted_as_weights(tmp_path: Path) -> None:
    packed = block(kind="quantized", method="gptq", level=None, bits=4, weights_all=500, sparsity_all=None)
    assert weights_in(packed) is None
    assert weights(logged(tmp_path, packed, model_num_parameters=500)) == [None]


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_a_written_table_keeps_it(tmp_path: Path, ending: str) -> None:
    read = read_runs(logged(tmp_path / "log", model_num_parameters=70_426_624))
    write_table(read.tidy(), tmp_path / f"t.{ending}")
    again = read_runs(tmp_path / f"t.{ending}")
    assert again.runs["n_weights"].tolist() == [70_426_624]
    assert "n_weights" not in again.table


def test_a_table_of_which_nothing_is_known_gets_no_column(tmp_path: Path) -> None:
    assert "n_weights" not in read_runs(logged(tmp_path)).tidy()


@pytest.mark.parametrize("wrong", [0, -3, 1.5, float("inf")])
def test_a_wrong_count_is_refused(tmp_path: Path, wrong: float) -> None:
    read = read_runs(logged(tmp_path / "log")).tidy()
    with pytest.raises(UsageError, match="n_weights must be a whole number, 1 or more"):
        validate(read.assign(n_weights=wrong))
    assert len(validate(read.assign(n_weights=float("nan")))) == len(read)
    write_table(read.assign(n_weights=12), tmp_path / "t.csv")
    assert set(read_table(tmp_path / "t.csv")["n_weights"]) == {12}
