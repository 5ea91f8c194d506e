"""A sweep in lm-eval's layout: whole or not at all, whatever its names and the disk do."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from difficulty.errors import StorageError, UsageError
from difficulty.runs.read import read_runs
from junkdna_harness.harness.written_log import model_folder, write_log
from junkdna_harness.sweep.export import export
from junkdna_harness.sweep.plan import build_plan
from junkdna_harness.sweep.run import run_sweep
from tests.difficulty.runs.logged import generated
from tests.sweep.test_sweep import HERE

RESULTS: dict[str, Any] = {"results": {}, "configs": {}, "n-samples": {}}


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep") / "s"
    plan = build_plan(tasks="difficulty_tiers_copying_t1", methods="magnitude", sparsity="0.5", limit=3)
    assert run_sweep(plan, folder, engine=HERE).exit_code == 0
    return folder


@pytest.mark.parametrize(
    "model", ["..", ".", "", "/etc", "../../x", "-rf", "a\x00b", "m\x1b]0;x\x07", "m" * 300, "日本" * 100, "a/../..", "CON", "\udc80"]
)  # fmt: skip
def test_a_log_lies_in_its_own_folder_whatever_the_model_is_called(tmp_path: Path, model: str) -> None:
    home = tmp_path / "out" / "run"
    write_log(
        home, "junkdna-sweep", model.replace("\udc80", "x"), dict(RESULTS), {"t": [generated(1, acc=1.0)]}
    )
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [len(path.relative_to(home).parts) for path in files] == [2, 2]
    assert all(part.isprintable() for path in files for part in path.relative_to(tmp_path).parts)
    assert len(model_folder(model).encode()) <= 255


def test_models_whose_names_are_made_safe_keep_folders_of_their_own() -> None:
    names = ["..", ".", "", "...", "a\x00", "a\x01", "-", "--", "m" * 300, "m" * 301]
    assert len({model_folder(name) for name in names}) == len(names)


@pytest.mark.parametrize("task", ["a/b", "/etc/passwd", "../../x", "a\0b", "t" * 250, "é" * 120])
def test_a_task_that_no_file_can_be_named_after_is_refused_before_anything_is_written(
    tmp_path: Path, task: str
) -> None:
    with pytest.raises(UsageError, match="has a name that no file can have"):
        write_log(tmp_path / "run", "s", "m", dict(RESULTS), {task: [generated(1, acc=1.0)]})
    assert list(tmp_path.iterdir()) == []


def test_what_lm_eval_swallows_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="could not write the log of model 'm'"):
        write_log(
            tmp_path / "run", "s", "m", dict(RESULTS), {"t": [{**generated(1, acc=1.0), "doc": "\udc80"}]}
        )
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        write_log(tmp_path / "file", "s", "m", dict(RESULTS), {"t": [generated(1, acc=1.0)]})


def test_an_export_that_fails_in_the_middle_leaves_nothing(
    swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lm_eval.loggers import EvaluationTracker

    whole = EvaluationTracker.save_results_samples
    seen: list[str] = []

    def full(self: Any, task_name: str, samples: Any) -> None:
        seen.append(task_name)
        if len(seen) == 2:
            samples = [{**samples[0], "doc": "\udc80"}]
        whole(self, task_name, samples)

    monkeypatch.setattr(EvaluationTracker, "save_results_samples", full)
    with pytest.raises(UsageError, match="could not write"):
        export(swept, tmp_path / "out")
    assert len(seen) == 2
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    assert len(export(swept, tmp_path / "out")) == 2
    assert len(read_runs(tmp_path / "out").runs) == 2


def test_a_full_disk_ends_the_export_with_its_exit_code(swept: Path, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "junkdna_harness.cli", "sweep", "export", str(swept), str(tmp_path / "out")],
        capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000)),
    )  # fmt: skip
    assert run.returncode == StorageError.exit_code, run.stderr
    assert "Traceback" not in run.stderr
    assert list(tmp_path.iterdir()) == []
