"""The layout of a sweep's folder, without torch or lm-eval: which runs are there, and what is wrong with one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pandas as pd
import pytest

from difficulty.errors import UsageError
from difficulty.runs.store import (
    check_run,
    finished_runs,
    planned_runs,
    read_manifest,
    require_whole,
)


def write(folder: Path, stem: str = "magnitude_0.5", hashed: bool = True, **changes: object) -> Path:
    """A store with one run."""
    for table in ("samples", "responses", "runs"):
        (folder / table).mkdir(parents=True, exist_ok=True)
    manifest = {
        "run": "m magnitude 0.5",
        "model": "m",
        "method": "magnitude",
        "level": 0.5,
        "bits": None,
        "replicate": 0,
    }
    files = {}
    for table in ("samples", "responses"):
        path = folder / table / f"{stem}.parquet"
        pd.DataFrame({"run": [manifest["run"]] * 3, "value": [0.0, 1.0, 1.0]}).to_parquet(path, index=False)
        files[table] = hashlib.sha256(path.read_bytes()).hexdigest()
    extra = {"schema": 1, "files": files} if hashed else {}
    (folder / "runs" / f"{stem}.json").write_text(json.dumps({**manifest, **extra, **changes}))
    return folder


@pytest.mark.parametrize("hashed", [True, False])
def test_a_whole_run_has_no_problem(tmp_path, hashed):
    folder = write(tmp_path, hashed=hashed)
    assert finished_runs(folder) == ["magnitude_0.5"]
    assert check_run(folder, "magnitude_0.5") is None
    require_whole(folder, "magnitude_0.5")
    assert read_manifest(folder, "magnitude_0.5")["level"] == 0.5


def test_hashes_are_of_the_bytes(tmp_path):
    folder = write(tmp_path)
    path = folder / "samples" / "magnitude_0.5.parquet"
    pd.read_parquet(path).assign(value=1.0).to_parquet(path, index=False)
    assert (
        check_run(folder, "magnitude_0.5") == "its samples are not those that were written (sha256 differs)"
    )
    with pytest.raises(
        UsageError,
        match=r"run 'magnitude_0.5' in .* is damaged: its samples are not .*\. Start the same sweep",
    ):
        require_whole(folder, "magnitude_0.5")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"level": 7}, "the impossible level 7"),
        ({"level": True}, "the impossible level True"),
        ({"level": float("nan")}, "the impossible level nan"),
        ({"replicate": 0.5}, "the impossible replicate 0.5"),
        ({"run": None}, "names no run"),
        ({"run": "dense"}, "names no run"),
        ({"method": ""}, "names no run"),
        (
            {"model": "n"},
            "names itself 'm magnitude 0.5', but its model, method, level and bits make 'n magnitude 0.5'",
        ),
        ({"bits": 4}, "make 'm magnitude 0.5 4 bits'"),
        ({"manifest": []}, None),
        ({"results": [1]}, "no object as its results"),
        ({"schema": "1"}, "is of schema '1'"),
    ],
)
def test_what_no_run_can_be(tmp_path, changes, told):
    problem = check_run(write(tmp_path, **changes), "magnitude_0.5")
    assert problem is None if told is None else told in str(problem)
    if told is not None:
        with pytest.raises(UsageError, match="is damaged: its manifest"):
            read_manifest(tmp_path, "magnitude_0.5")


def test_the_plan_says_which_runs_there_are(tmp_path):
    folder = write(tmp_path)
    assert planned_runs(folder) == {}
    planned = {"magnitude_0.5": "m magnitude 0.5", "dense": "m dense"}
    (folder / "plan.json").write_text(json.dumps({"runs": planned}))
    assert planned_runs(folder) == planned and check_run(folder, "magnitude_0.5") is None
    (folder / "runs" / "magnitude_0.5.json").rename(folder / "runs" / "magnitude_0.50.json")
    assert check_run(folder, "magnitude_0.50") == "it is no run of this folder's plan"
    (folder / "plan.json").write_text('{"runs": [1]}')
    with pytest.raises(UsageError, match="has no readable list of runs"):
        check_run(folder, "magnitude_0.50")


def test_a_run_that_was_never_there(tmp_path):
    assert check_run(write(tmp_path), "wanda_0.5") == "its manifest is missing"
    assert not finished_runs(tmp_path / "no")
