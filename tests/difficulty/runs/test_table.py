from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from difficulty.errors import UsageError
from difficulty.runs.read import read_runs
from difficulty.runs.table import COLUMNS, read_table, read_tables, run_name, validate, write_table
from tests.difficulty.judge.simulated import table


def plain() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "model": "m", "method": ["dense", "dense", "magnitude", "magnitude"], "level": [0, 0, 0.5, 0.5], "tier": [1, 2, 1, 2],
            "doc_hash": ["00123", "b", "00123", "b"], "metric": "acc", "value": [1, 1, 0, 1],
        }
    )  # fmt: skip


def test_a_plain_table_gets_the_defaults_of_the_schema() -> None:
    found = validate(plain())
    assert tuple(found.columns[: len(COLUMNS)]) == COLUMNS
    assert found["run"].tolist() == ["m dense", "m dense", "m magnitude 0.5", "m magnitude 0.5"]
    assert found["cluster_id"].tolist() == found["item_id"].tolist()
    assert found["task"].tolist() == ["all_t1", "all_t2"] * 2
    assert (found["chance"] == 0).all() and (found["n_symbols"] == 1).all() and found["bits"].isna().all()


@pytest.mark.parametrize("name", ["t.parquet", "t.csv"])
def test_what_is_written_is_read_back(tmp_path: Path, name: str) -> None:
    rows = validate(table(items=5).assign(option_loglik=[[-1.5, -2.25]] + [None] * (5 * 2 * 3 * 2 * 5 - 1)))
    rows["model"] = "=cmd()"  # text that a spreadsheet would run
    rows["axis"] = "'quoted"
    write_table(rows, tmp_path / name)
    back = read_table(tmp_path / name)
    assert_frame_equal(
        back.drop(columns="option_loglik"), rows.drop(columns="option_loglik"), check_dtype=False
    )
    assert list(back["option_loglik"].iloc[0]) == [-1.5, -2.25]
    if name.endswith("csv"):
        assert "'=cmd()" in (tmp_path / name).read_text()


def test_ids_of_digits_keep_their_zeros_in_csv(tmp_path: Path) -> None:
    write_table(plain(), tmp_path / "t.csv")
    assert read_table(tmp_path / "t.csv")["item_id"].iloc[0] == "00123"


def test_the_same_table_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.parquet", "b.parquet"):
        write_table(table(items=4), tmp_path / name)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"value": [1, np.nan, 0, 1]}, "value=nan for item 'b' of run 'm dense'"),
        ({"value": [1, np.inf, 0, 1]}, "must be finite"),
        ({"value": ["1", "x", "0", "1"]}, "value='x' in row 2"),
        ({"level": [0, 0, 1.0, 0.5]}, r"level must be in \[0, 1\)"),
        ({"tier": [0, 2, 1, 2]}, "tier must be 1"),
        ({"tier": [1.5, 2, 1, 2]}, "whole number"),
        ({"chance": [1.0, 0, 0, 0]}, "chance must be in"),
        ({"doc_hash": ["b", "b", "00123", "b"], "tier": [2, 2, 1, 2]}, "1 item twice in run 'm dense': b"),
        ({"run": ["x", "x", "x", "x"]}, "one name stands for two runs"),
        ({"run": ["x", "y", "z", "z"]}, "one run has two names"),
    ],
)
def test_a_broken_table_is_refused_with_what_is_broken(change: dict[str, list[object]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        validate(plain().assign(**change))


def test_a_missing_column_is_named() -> None:
    with pytest.raises(UsageError, match="lacks the column tier"):
        validate(plain().drop(columns="tier"))


def test_unreadable_files_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_text("not parquet")
    for path, message in (("x.parquet", "cannot be read"), ("none.csv", "no file"), ("x.txt", "no file")):
        with pytest.raises(UsageError, match=message):
            read_table(tmp_path / path)
    with pytest.raises(UsageError, match=r"neither .parquet nor .csv"):
        write_table(plain(), tmp_path / "x.json")
    with pytest.raises(UsageError, match="no rows"):
        validate(plain().iloc[:0])


def test_several_files_are_what_each_is_alone_whatever_their_shapes(tmp_path: Path) -> None:
    tables = {
        "a": plain(), "b": plain().assign(model="n"), "more": plain().assign(replicate=1, higher_is_better=True),
    }  # fmt: skip
    for name, one in tables.items():
        one.to_parquet(tmp_path / f"{name}.parquet")
    for names in (["a", "b"], ["a", "more"], ["b"], []):
        paths = [tmp_path / f"{name}.parquet" for name in names]
        for found, path in zip(read_tables(paths), paths, strict=True):
            assert_frame_equal(found, read_table(path))


def test_of_several_files_the_broken_one_is_named_and_equal_ones_are_no_fault(tmp_path: Path) -> None:
    plain().to_parquet(tmp_path / "a.parquet")
    plain().assign(value=np.inf).to_parquet(tmp_path / "b.parquet")
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    with pytest.raises(UsageError, match="'b.parquet' has value=inf"):
        read_tables(paths)
    plain().iloc[:0].to_parquet(tmp_path / "b.parquet")
    with pytest.raises(UsageError, match="'b.parquet' has no rows"):
        read_tables(paths)
    assert (
        len(read_tables([paths[0], paths[0]])) == 2
    )  # whether a run may be there twice is not theirs to say


def test_run_names_say_what_identifies_a_run() -> None:
    assert run_name("m", "rtn", None, 4.0) == "m rtn 4 bits"
    assert run_name("m", "random", 0.30000000000000004, np.nan, 2) == "m random 0.3 #2"


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_a_run_matched_by_loss_is_one_still_when_read_again(tmp_path: Path, ending: str) -> None:
    given = plain().assign(matched=[False, False, True, True])
    write_table(given, tmp_path / f"a.{ending}")
    runs = read_runs(tmp_path / f"a.{ending}")
    assert dict(zip(runs.runs["run"], runs.runs["matched"], strict=True)) == {
        "m dense": False, "m magnitude 0.5": True,
    }  # fmt: skip
    assert "matched" not in runs.table
    write_table(runs.tidy(), tmp_path / f"b.{ending}")
    assert read_runs(tmp_path / f"b.{ending}").runs["matched"].tolist() == runs.runs["matched"].tolist()


def test_a_table_without_the_column_has_no_matched_run(tmp_path: Path) -> None:
    write_table(plain(), tmp_path / "a.csv")
    runs = read_runs(tmp_path / "a.csv")
    assert runs.runs["matched"].tolist() == [False, False]
    assert "matched" not in runs.tidy()


def test_a_matched_that_is_no_truth_value_is_refused() -> None:
    with pytest.raises(UsageError, match="matched='maybe'"):
        validate(plain().assign(matched="maybe"))
