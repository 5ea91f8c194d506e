"""Trainings on one task each: every task of a run is answered by its own checkpoint, and that is written down."""

from __future__ import annotations

import json
import random
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from difficulty.errors import UsageError
from difficulty.runs.read import read_runs
from junkdna_harness.study.plan import StudyPlan
from junkdna_harness.study.run import check_trainings, run_study
from junkdna_harness.study.stages import checkpoint, recovered_plan, train_one
from junkdna_harness.sweep.by_task import joined
from tests.commands import lm_eval
from tests.study.killed import killed_at

GROUP = "difficulty_tiers_finetune_inference"
TASKS = (f"{GROUP}_t1", f"{GROUP}_t2")
PLAN = StudyPlan(
    pretrained=("embedded",), tasks=(GROUP,), limit=30, methods=("magnitude",), sparsity="0,0.5,0.7", patterns=None, quantize=None,
    controls=(), per_task=True, arms=("dense_transfer", "sparse_transfer"), recovery_levels=(0.5,), steps=(3,), batch_size=4,
)  # fmt: skip
RUN = "embedded magnitude+sparse_transfer 0.5"


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Validation rows of both tasks."""
    folder, rng = tmp_path_factory.mktemp("rows"), random.Random(0)
    for name, columns in (("glue_qnli", ("question", "sentence")), ("glue_rte", ("sentence1", "sentence2"))):
        (folder / name).mkdir()
        rows = [
            {**{column: f"{rng.choice(('dogs', 'cats'))} ran {i} {column}" for column in columns}, "label": i % 2, "idx": i}
            for i in range(80)
        ]  # fmt: skip
        (folder / name / "validation.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(autouse=True)
def local_rows(rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUNKDNA_DATA", str(rows))


@pytest.fixture(scope="module")
def folder(rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study."""
    path = tmp_path_factory.mktemp("study") / "s"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUNKDNA_DATA", str(rows))
        outcome = run_study(PLAN, path, say=lambda _: None)
    assert outcome.failed == {}
    return path


def test_every_arm_is_trained_once_for_each_task() -> None:
    jobs = PLAN.jobs()
    assert [(job.arm, job.task) for job in jobs] == [
        (arm, task) for arm in ("dense_transfer", "sparse_transfer") for task in TASKS
    ]
    assert [PLAN.recover_spec(job).data for job in jobs[:2]] == [f"task:{task}" for task in TASKS]
    assert len({job.folder("magnitude") for job in jobs}) == len(jobs)
    cells = recovered_plan(PLAN).cells
    assert [cell.method for cell in cells] == ["dense+dense_transfer", "magnitude+sparse_transfer"]
    assert all(list(cell.by_task) == list(TASKS) for cell in cells)
    assert list(check_trainings(PLAN, None)) == [f"training data task:{task}" for task in TASKS]


def test_data_of_all_tasks_and_trainings_on_each_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="with per_task each sees the training rows of one task"):
        replace(PLAN, data=f"task:{GROUP}")


def test_what_checkpoints_say_alike_is_said_of_the_run_and_the_rest_of_each() -> None:
    def block(sha256: str, failed: bool) -> dict[str, object]:
        return {
            "level": 0.5,
            "weights_sha256": sha256,
            "recovery": {"arm": "x", "data": sha256, "failed": failed},
        }

    found = joined({"one": block("a", False), "two": block("b", True)})
    assert {name: found[name] for name in found if name != "checkpoints"} == {
        "level": 0.5, "recovery": {"arm": "x", "failed": True},
    }  # fmt: skip
    assert {task: one["recovery"]["data"] for task, one in found["checkpoints"].items()} == {
        "one": "a",
        "two": "b",
    }


@pytest.mark.slow
def test_the_manifest_says_which_checkpoint_answered_which_task(folder: Path) -> None:
    runs = read_runs([folder / "sweep", folder / "recovered"])
    block = runs.manifests[RUN]
    assert "weights_sha256" not in block and list(block["checkpoints"]) == list(TASKS)
    for job in PLAN.jobs()[2:]:
        answered = block["checkpoints"][job.task]
        made = json.loads((checkpoint(folder, PLAN, job) / "junkdna.json").read_text())
        assert answered["pretrained"] == str(checkpoint(Path(), PLAN, job))
        assert answered["weights_sha256"] == made["weights_sha256"]
        assert answered["recovery"] == made["recovery"]
        assert made["recovery"]["data_rows"] == "validation rows split by seed 0: 48 train, 32 test"
    rows = f"{TASKS[0]}: validation rows split by seed 0: 48 train, 32 test"
    assert any(warning.startswith(f"training and test rows: {rows}") for warning in runs.warnings)
    assert "validation rows split by seed 0" in (folder / "report.html").read_text()


@pytest.mark.slow
def test_each_task_is_scored_as_lm_eval_scores_its_checkpoint_on_it(folder: Path, tmp_path: Path) -> None:
    ours = read_runs(folder / "recovered").table
    manifest = json.loads(next((folder / "recovered" / "runs").glob("*sparse_transfer*.json")).read_text())
    calls = manifest["lm_eval"].split(" && ")
    assert len(calls) == len(TASKS)
    for task, call in zip(TASKS, calls, strict=True):
        asked = re.search(r"--model_args (\S+) --tasks (\S+)", call)
        assert asked and asked[2] == task
        done = lm_eval("--model_args", asked[1], "--tasks", task, "--limit", "30", "--log_samples", "--batch_size",
                       manifest["batch_size"], "--output_path", str(tmp_path / task), cwd=folder)  # fmt: skip
        assert done.returncode == 0, done.stderr
        theirs = read_runs(tmp_path / task).table
        both = [
            part[part["task"] == task].set_index(["item_id", "metric"])["value"].sort_index()
            for part in (ours[ours["run"] == RUN], theirs)
        ]
        pd.testing.assert_series_equal(both[0], both[1], check_exact=True)


@pytest.mark.slow
def test_a_checkpoint_that_was_trained_anew_is_asked_again(folder: Path, tmp_path: Path) -> None:
    study = Path(shutil.copytree(folder, tmp_path / "s"))
    job = PLAN.jobs()[-1]
    shutil.rmtree(checkpoint(study, PLAN, job))
    train_one(PLAN, study, replace(job, lr=1e-4))
    said: list[str] = []
    run_study(PLAN, study, say=said.append)
    assert next(line for line in said if "again" in line).startswith(
        f"run '{RUN}' is evaluated again: of task {job.task}, its checkpoint was trained anew"
    )
    assert len([line for line in said if line.startswith("[")]) == 1


@pytest.mark.slow
def test_a_killed_study_goes_on_and_comes_to_the_same_tables(folder: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    killed_at(__name__, cut, "checkpoints/*/junkdna.json")
    assert not (cut / "fit.json").exists()
    run_study(PLAN, cut, say=lambda _: None)
    for name in ("fit.json", "claims.csv", "cells.csv"):
        assert (cut / name).read_text() == (folder / name).read_text()
