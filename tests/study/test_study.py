"""The whole study, small, twice: once cut off in the middle."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from difficulty.errors import UsageError
from junkdna_harness.embedded import model_path
from junkdna_harness.recover.alone import alone
from junkdna_harness.study.plan import StudyPlan
from junkdna_harness.study.run import claim, run_study
from junkdna_harness.study.stages import checkpoint, train_one
from junkdna_harness.sweep.engines.local import LocalEngine
from tests.study.killed import killed_at

PLAN = StudyPlan(
    tasks=("difficulty_tiers_agreement", "difficulty_tiers_names"), limit=40, methods=("magnitude",), sparsity="0,0.6,0.8",
    patterns=None, quantize="rtn:4,2", recovery_levels=(0.6,), steps=(4,), batch_size=4,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study."""
    path = tmp_path_factory.mktemp("study") / "s"
    outcome = run_study(PLAN, path, say=lambda _: None)
    assert not outcome.failed
    lines = outcome.verdicts.lines()
    assert lines[0].startswith(
        "The hypothesis is inconclusive: "
    )  # P6 too is judged, by controls at equal loss
    assert [line[:9].strip() for line in lines[1:]] == ["P1", "P2", "P3", "P4", "P4 memory", "P5", "P6"]
    assert " in these 2 families" in lines[1]
    return path


@pytest.mark.slow
def test_a_study_ends_with_a_verdict_on_each_claim_and_a_report(folder: Path) -> None:
    fit = json.loads((folder / "fit.json").read_text())
    pooled = {c["claim"]: c["verdict"] for c in fit["claims"] if c["family"] == "pooled"}
    assert set(pooled) == {"P1", "P2", "P3", "P4", "P4 memory", "P5", "P6"}
    assert pooled["P5"] != "not tested" != pooled["P6"]
    matched = {
        run["matched_to"]["level"]
        for run in json.loads((folder / "sweep" / "plan.json").read_text())["matches"]
    }
    assert matched == {0.6, 0.8}
    report = (folder / "report.html").read_text()
    assert all(f"<h4>{claim}: " in report for claim in pooled)


@pytest.mark.slow
def test_recovered_runs_are_scored_on_the_items_of_the_dense_run(folder: Path) -> None:
    from difficulty.runs.read import read_runs

    table = read_runs([folder / "sweep", folder / "recovered"]).table
    items = table[table["metric"] == "acc"].groupby("method")["item_id"].agg(lambda ids: tuple(sorted(ids)))
    recovered = [name for name in items.index if "+" in name]
    assert sorted(recovered) == [
        "dense+dense_transfer", "magnitude+dense_freezing", "magnitude+sparse_to_dense", "magnitude+sparse_transfer",
    ]  # fmt: skip
    assert all(items[name] == items["dense"] for name in recovered)


@pytest.mark.slow
def test_a_finished_study_is_not_done_again(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}
    samples = {path: path.stat().st_mtime_ns for path in folder.rglob("samples/*.parquet")}
    said: list[str] = []
    run_study(PLAN, folder, say=said.append)
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}
    assert samples == {path: path.stat().st_mtime_ns for path in folder.rglob("samples/*.parquet")}
    assert not any(line.startswith("[") for line in said)


@pytest.mark.slow
def test_a_checkpoint_that_was_trained_anew_is_evaluated_again(folder: Path, tmp_path: Path) -> None:
    study = Path(shutil.copytree(folder, tmp_path / "s"))
    job = PLAN.jobs()[1]
    shutil.rmtree(checkpoint(study, PLAN, job))
    other = replace(PLAN, lr=(1e-4,))
    train_one(other, study, other.jobs()[1])
    said: list[str] = []
    run_study(PLAN, study, say=said.append)
    name = "embedded magnitude+sparse_transfer 0.6"
    assert [line.partition(": its checkpoint")[0] for line in said if "again" in line] == [
        f"run '{name}' is evaluated again"
    ]
    assert [line.split("] ")[1].startswith(name) for line in said if line.startswith("[")] == [True]


@pytest.mark.slow
def test_a_checkpoint_whose_weights_are_not_those_of_its_manifest_is_refused(
    folder: Path, tmp_path: Path
) -> None:
    study = Path(shutil.copytree(folder, tmp_path / "s"))
    changed, other = (checkpoint(study, PLAN, job) for job in PLAN.jobs()[1:3])
    shutil.copy(other / "model.safetensors", changed / "model.safetensors")
    shutil.rmtree(study / "recovered")
    outcome = run_study(PLAN, study, say=lambda _: None)
    assert list(outcome.failed) == ["embedded magnitude+sparse_transfer 0.6"]
    assert "is not what its junkdna.json says" in next(iter(outcome.failed.values()))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "weights_sha256_before",
            "'magnitude-sparse_transfer-0.6' started from other weights (sha256 other...) than the sweep",
        ),
        (
            "data_sha256",
            "'magnitude-sparse_transfer-0.6' saw another training text (sha256 other...) than dense-dense_transfer",
        ),
    ],
)
@pytest.mark.slow
def test_a_training_of_another_model_or_text_is_refused(
    folder: Path, tmp_path: Path, name: str, told: str
) -> None:
    study = Path(shutil.copytree(folder, tmp_path / "s"))
    path = checkpoint(study, PLAN, PLAN.jobs()[1]) / "junkdna.json"
    manifest = json.loads(path.read_text())
    manifest["recovery"][name] = "other"
    path.write_text(json.dumps(manifest))
    with pytest.raises(UsageError, match=re.escape(told)):
        run_study(PLAN, study, say=lambda _: None)


@pytest.mark.slow
def test_a_model_that_changed_between_sweep_and_training_is_refused(tmp_path: Path) -> None:
    model = Path(shutil.copytree(model_path(), tmp_path / "m"))
    plan = replace(PLAN, pretrained=(str(model),), arms=(), limit=4)
    with contextlib.suppress(UsageError):  # too few items for a verdict
        run_study(plan, tmp_path / "s", say=lambda _: None)
    (tmp_path / "s" / "study.json").unlink()
    weights = load_file(model / "model.safetensors")
    save_file(
        {name: weight * 1.1 for name, weight in weights.items()},
        model / "model.safetensors",
        {"format": "pt"},
    )
    (tmp_path / "t").mkdir()
    shutil.move(tmp_path / "s" / "sweep", tmp_path / "t" / "sweep")
    trained = replace(plan, arms=PLAN.arms)
    (tmp_path / "t" / "study.json").write_text(json.dumps(trained.to_dict()))
    with pytest.raises(UsageError, match="have changed since it was swept"):
        run_study(trained, tmp_path / "t", say=lambda _: None)
    assert not (tmp_path / "t" / "checkpoints").exists()


def test_a_training_that_another_process_just_finished_is_not_done_again(tmp_path: Path) -> None:
    """A worker of a killed study lives on for a moment, and may finish what the next study has begun to wait for."""
    job = PLAN.jobs()[0]
    output = checkpoint(tmp_path, PLAN, job)
    held = threading.Event()

    def orphan() -> None:
        with alone(output):
            held.set()
            time.sleep(0.5)
            output.mkdir()
            (output / "junkdna.json").write_text("{}")

    thread = threading.Thread(target=orphan)
    thread.start()
    held.wait()
    assert train_one(PLAN, tmp_path, job).endswith("trained already")
    thread.join()
    assert sorted(path.name for path in output.parent.iterdir()) == [output.name]


@pytest.mark.slow
def test_a_killed_study_goes_on_and_comes_to_the_same_verdicts(folder: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    killed_at(__name__, cut, "checkpoints/*/junkdna.json")
    assert not (cut / "fit.json").exists()
    run_study(PLAN, cut, say=lambda _: None)
    assert (cut / "fit.json").read_text() == (folder / "fit.json").read_text()


@pytest.mark.slow
def test_two_trainings_are_replicates_of_each_arm_and_of_its_control(tmp_path: Path) -> None:
    """Begun and left after one training; the study goes on with it, and the statistics see two draws."""
    from difficulty.judge.fit import fit
    from difficulty.runs.read import read_runs

    plan = replace(PLAN, seeds=(5, 6), arms=("dense_transfer", "sparse_transfer"), quantize=None, limit=20)
    path = tmp_path / "s"
    claim(path, plan)
    first = plan.jobs()[0]
    train_one(plan, path, first)
    there = (checkpoint(path, plan, first) / "model.safetensors").stat().st_mtime_ns
    said: list[str] = []
    # Two workers, so two trainings at a time, each in a process that shares nothing with this one.
    assert not run_study(plan, path, LocalEngine(workers=2), say=said.append).failed
    assert (checkpoint(path, plan, first) / "model.safetensors").stat().st_mtime_ns == there
    assert len([line for line in said if " steps, " in line]) == 3
    runs = read_runs([path / "sweep", path / "recovered"])
    seeds = {run: m["recovery"]["seed"] for run, m in runs.manifests.items() if m.get("recovery")}
    assert seeds == {
        "embedded dense+dense_transfer 0": 5, "embedded dense+dense_transfer 0 #1": 6,
        "embedded magnitude+sparse_transfer 0.6": 5, "embedded magnitude+sparse_transfer 0.6 #1": 6,
    }  # fmt: skip
    cells = fit(runs.table, claims=("P5",), n_resamples=100).cells
    told = cells.groupby("method")["n_replicates"].agg(set).to_dict()
    assert told["dense+dense_transfer"] == told["magnitude+sparse_transfer"] == {2}
