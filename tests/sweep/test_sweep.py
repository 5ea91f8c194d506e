"""A sweep gives what separate lm_eval calls give, survives what happens to it, and says what went wrong."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from difficulty.errors import UsageError
from difficulty.runs.read import read_runs
from junkdna_harness.sweep import Store, build_plan, run_sweep
from junkdna_harness.sweep.engines.local import LocalEngine
from tests.commands import junkdna
from tests.conftest import ROOT

TASKS = "difficulty_tiers_copying_t1,difficulty_tiers_hypernyms_t3"
HERE = LocalEngine(workers=1)
KEY = ["run", "task", "item_id", "metric"]


def plan(**options):
    return build_plan(
        **{"tasks": TASKS, "methods": "magnitude", "sparsity": "0,0.5,0.9", "limit": 12, **options}
    )


def rows(folder: Path) -> pd.DataFrame:
    return Store(folder).samples().sort_values(KEY).reset_index(drop=True)


@pytest.fixture(scope="module")
def swept(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sweep") / "s"
    assert run_sweep(plan(patterns="2:4"), folder, engine=HERE).exit_code == 0
    return folder


@pytest.fixture(scope="module")
def separate():
    """Samples of a separate lm_eval call at sparsity 0.5."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    from junkdna_harness.autoload import install, tasks_dir

    install()
    manager = TaskManager(include_path=tasks_dir(), include_defaults=False)
    return lm_eval.simple_evaluate(
        "junkdna-pruned", "method=magnitude,sparsity=0.5", TASKS.split(","), limit=12, task_manager=manager,
        device="cpu", bootstrap_iters=0,
    )  # fmt: skip


def test_scores_equal_a_separate_lm_eval_call_sample_by_sample(swept, separate):
    store = Store(swept)
    given = store.plan()
    (cell,) = [cell for cell in given.cells if cell.level == 0.5 and not cell.pattern]
    found = store.responses(given, cell).set_index(["task", "doc_id"])
    compared = 0
    for task, samples in separate["samples"].items():
        for sample in samples:
            row = found.loc[(task, sample["doc_id"])]
            answers = json.loads(row["filtered_resps"])
            assert [a[1] for a in answers] == [a[1] for a in sample["filtered_resps"]]
            assert [a[0] for a in answers] == pytest.approx(
                [a[0] for a in sample["filtered_resps"]], abs=1e-4
            )
            assert json.loads(row["metrics"]) == {name: sample[name] for name in sample["metrics"]}
            compared += 1
    assert compared == 24
    results = next(m for m in store.manifests() if m["run"] == "embedded magnitude 0.5")["results"]["results"]
    for task, result in separate["results"].items():
        assert results[task]["acc,none"] == result["acc,none"]


def test_the_masks_are_those_of_a_separate_lm_eval_call(swept, separate):
    manifests = {m["run"]: m for m in Store(swept).manifests()}
    block = separate["config"]["junkdna"]
    assert manifests["embedded magnitude 0.5"]["weights_sha256"] == block["weights_sha256"]


def test_the_store_reads_as_a_tidy_table(swept):
    runs = read_runs(swept)
    assert list(runs.runs["run"]) and set(runs.table["run"]) == {
        "embedded dense", "embedded magnitude 0.5", "embedded magnitude 0.9", "embedded magnitude 2:4 0.5",
    }  # fmt: skip
    assert set(runs.table["metric"]) >= {"acc", "margin"}
    assert runs.runs["effective_bits"].notna().all()
    assert runs.runs.set_index("run").loc["embedded dense", "effective_bits"] == 16


def test_items_join_to_samples(swept):
    store = Store(swept)
    joined = store.samples().merge(store.items(), on=["task", "item_id"], validate="many_to_one")
    assert len(joined) == len(store.samples())
    copied = joined[joined["task"] == "difficulty_tiers_copying_t1"].iloc[0]
    assert copied["prompt"].rstrip().endswith("Copy:")
    assert list(copied["answers"]) == [copied["target"]]


def test_export_is_a_verb_of_its_own_beside_the_plan_that_sweep_takes(swept, tmp_path):
    run = junkdna("sweep", "export", str(swept), str(tmp_path / "out"))
    assert run.returncode == 0 and "runs in lm-eval's layout" in run.stderr, run.stderr
    assert list((tmp_path / "out").rglob("results_*.json"))
    assert "sweep export" in junkdna("sweep", "export", "--help").stdout
    alone = junkdna("sweep", "export", str(swept))
    assert alone.returncode == 2 and "Missing argument 'OUT'" in alone.stderr
    two = junkdna("sweep", "export.yaml", "other.yaml")
    assert two.returncode == 2 and "more than one plan" in two.stderr


def test_the_export_reads_as_the_store_does(swept, tmp_path):
    from junkdna_harness.sweep.export import export

    export(swept, tmp_path / "out")
    there, here = read_runs(tmp_path / "out").table, read_runs(swept).table
    a, b = (t.sort_values(KEY).reset_index(drop=True) for t in (there, here))
    pd.testing.assert_frame_equal(a[KEY], b[KEY])
    assert list(a["value"]) == pytest.approx(list(b["value"]), abs=1e-12)
    results = json.loads(next((tmp_path / "out").rglob("results_*.json")).read_text())
    assert {"results", "configs", "versions", "n-shot", "config", "task_hashes"} <= set(results)


def test_a_finished_sweep_does_nothing_again(swept):
    before = {path: path.stat().st_mtime_ns for path in swept.rglob("*.parquet")}
    outcome = run_sweep(plan(patterns="2:4"), swept, engine=HERE)
    assert not outcome.finished and len(outcome.skipped) == 4
    assert before == {path: path.stat().st_mtime_ns for path in swept.rglob("*.parquet")}


def test_several_processes_give_the_same_rows(swept, tmp_path):
    run_sweep(plan(patterns="2:4"), tmp_path / "s", engine=LocalEngine(workers=2))
    pd.testing.assert_frame_equal(rows(tmp_path / "s"), rows(swept))


def test_extend_adds_and_keeps(tmp_path):
    run_sweep(plan(sparsity="0.5", tasks="difficulty_tiers_copying_t1"), tmp_path / "s", engine=HERE)
    more = plan(sparsity="0.5", methods="magnitude,random", tasks="difficulty_tiers_copying_t1")
    with pytest.raises(UsageError, match="--extend"):
        run_sweep(more, tmp_path / "s", engine=HERE)
    outcome = run_sweep(more, tmp_path / "s", engine=HERE, extend=True)
    assert [cell.method for cell in outcome.finished] == ["random"]


def command(
    folder: Path, sparsity: str = "0.1:0.9:0.1", method: str = "tests.sweep.methods:slow"
) -> list[str]:
    code = "from junkdna_harness.sweep import build_plan, run_sweep; import sys; " \
        "run_sweep(build_plan(tasks=sys.argv[2], methods=sys.argv[3], sparsity=sys.argv[4], limit=12), sys.argv[1])"  # fmt: skip
    return [sys.executable, "-c", code, str(folder), TASKS, method, sparsity]


@pytest.mark.slow
def test_killed_and_resumed_equals_uninterrupted(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(command(tmp_path / "whole"), env=environment, check=True)
    process = subprocess.Popen(command(tmp_path / "killed"), env=environment)
    while len(list((tmp_path / "killed" / "runs").glob("*.json"))) < 3 and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 3 <= len(list((tmp_path / "killed" / "runs").glob("*.json"))) < 10
    subprocess.run(command(tmp_path / "killed"), env=environment, check=True)
    pd.testing.assert_frame_equal(rows(tmp_path / "killed"), rows(tmp_path / "whole"))


def test_a_second_sweep_on_a_folder_is_refused(tmp_path):
    with Store(tmp_path / "s").locked(), pytest.raises(UsageError, match="another sweep is running"):
        run_sweep(plan(), tmp_path / "s", engine=HERE)


def test_a_second_process_on_a_folder_is_refused(tmp_path):
    with Store(tmp_path / "s").locked():
        found = subprocess.run(
            command(tmp_path / "s"),
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
    assert found.returncode != 0 and "another sweep is running" in found.stderr


def test_a_strange_folder_is_refused(tmp_path):
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(UsageError, match=r"holds no sweep but 'holiday.jpg'"):
        run_sweep(plan(), tmp_path, engine=HERE)


def test_all_unknown_tasks_are_named_before_a_model_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "junkdna_harness.sweep.session.load_model", lambda *_: pytest.fail("a model was loaded")
    )
    with pytest.raises(UsageError, match=r"'no_such_task'.*'another_one'"):
        run_sweep(plan(tasks="difficulty_tiers,no_such_task,another_one"), tmp_path / "s", engine=HERE)


@pytest.mark.parametrize(
    ("method", "told"), [("nan_scores", "NaN scores"), ("nan_weights", "log-likelihoods are not a number")]
)
def test_a_level_that_fails_is_recorded_and_the_others_go_on(tmp_path, method, told):
    bad = f"tests.sweep.methods:{method}"
    given = plan(methods=f"{bad},magnitude", sparsity="0.5", tasks="difficulty_tiers_copying_t1")
    outcome = run_sweep(given, tmp_path / "s", engine=HERE)
    assert outcome.exit_code == 1
    assert [cell.method for cell in outcome.finished] == ["dense", "magnitude"]
    ((run, error),) = Store(tmp_path / "s").failures().items()
    assert bad in run and told in error
    healthy = plan(sparsity="0.5", tasks="difficulty_tiers_copying_t1")
    run_sweep(healthy, tmp_path / "h", engine=HERE)
    pd.testing.assert_frame_equal(
        rows(tmp_path / "s"), rows(tmp_path / "h")
    )  # nothing of the failure stayed behind


def test_a_worker_that_dies_fails_its_level_only(tmp_path):
    given = plan(
        methods="tests.sweep.methods:dies,magnitude", sparsity="0.3,0.5", tasks="difficulty_tiers_copying_t1"
    )
    outcome = run_sweep(given, tmp_path / "s", engine=LocalEngine(workers=2))
    assert sorted(cell.method for cell in outcome.finished) == ["dense", "magnitude", "magnitude"]
    assert list(outcome.failed.values()) == ["its process died (exit code 9)"] * 2


def test_a_full_disk_stops_the_sweep_and_leaves_nothing_half_written(tmp_path, monkeypatch):
    replace = os.replace

    def full(source, target):
        if "runs" in str(target):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    given = plan(sparsity="0.5", tasks="difficulty_tiers_copying_t1")
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(UsageError, match="No space left"):
            run_sweep(given, tmp_path / "s", engine=HERE)
    assert not Store(tmp_path / "s").finished(given)
    assert not list((tmp_path / "s").rglob("*.partial"))
    assert run_sweep(given, tmp_path / "s", engine=HERE).exit_code == 0


def test_the_pristine_copy_may_be_mapped_from_a_file(monkeypatch, tmp_path):
    from junkdna_harness.sweep import pristine as room
    from tests.models_factory import make_model

    model, _ = make_model("llama", dtype=torch.bfloat16)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    monkeypatch.setattr(room, "free_memory", lambda: 10)
    pristine = room.Pristine(model, (), (), tmp_path)
    assert pristine.mapped and not list(tmp_path.iterdir())
    with torch.no_grad():
        for parameter in pristine.parameters:
            parameter.zero_()
    pristine.restore()
    assert all(torch.equal(before[name], p) for name, p in model.named_parameters())


@pytest.mark.slow
def test_one_shot_statistics_are_gathered_once_and_give_the_first_layer_the_same_mask(tmp_path, monkeypatch):
    from junkdna_harness.compress import calibrated
    from junkdna_harness.sweep import one_shot, session
    from junkdna_harness.sweep.machine import Machine

    options = {
        "methods": "wanda",
        "tasks": "difficulty_tiers_copying_t1",
        "model_args": "nsamples=4,seqlen=64",
    }
    walks: list[str] = []
    for module in (calibrated, one_shot):
        walk = module.walk
        monkeypatch.setattr(module, "walk", lambda *a, walk=walk, **k: walks.append("walk") or walk(*a, **k))
    masks: dict[bool, dict[float, list[torch.Tensor]]] = {}
    for once in (False, True):
        walks.clear()
        given = plan(sparsity="0.3,0.6", one_shot=once, **options)
        opened = session.Session(given, 0, Machine(device="cpu"))
        masks[once] = {}
        for cell in given.cells[1:]:
            with opened.state.holding(cell):
                masks[once][cell.level] = [(p == 0).clone() for p in opened.state.pristine.parameters]
        assert len(walks) == (1 if once else 2)
    for level in (0.3, 0.6):
        assert torch.equal(masks[True][level][0], masks[False][level][0])
        assert [m.sum() for m in masks[True][level]] == [m.sum() for m in masks[False][level]]
        assert any(
            not torch.equal(a, b) for a, b in zip(masks[True][level], masks[False][level], strict=True)
        )
