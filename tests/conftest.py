"""Fixtures shared by all rooms."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from junkdna_harness.lock import locked
from tests.commands import lm_eval
from tests.warm import remember_task_files, remember_what_is_installed

ROOT = Path(__file__).resolve().parent.parent

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Hundreds of processes import the same modules, which are compiled once.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# Test processes share the cores: their threads would wait for each other.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def what_never_changes() -> None:
    """Where a test of this process uses lm-eval, what lm-eval brings along and what is installed is looked at once."""
    if "lm_eval" in sys.modules:
        remember_task_files()
        remember_what_is_installed()


@pytest.fixture(scope="session")
def benchmark_data() -> Path:
    """The folder of real benchmark rows, or a skip that says where it was looked for."""
    folder = Path(os.environ.get("JUNKDNA_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real benchmark rows are not at {folder}: set JUNKDNA_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def dense_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folder of `lm_eval` on the dense embedded model, all families, samples logged. Made once, whatever the number of workers."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return _evaluated(tmp_path_factory.mktemp("dense"))
    folder = tmp_path_factory.getbasetemp().parent / "dense"  # of the whole session
    folder.mkdir(exist_ok=True)
    with locked(folder / "lock", "another worker still evaluates the dense model", patience=900):
        return folder / "out" if (folder / "done").exists() else _evaluated(folder)


def _evaluated(folder: Path) -> Path:
    tasks = "difficulty_tiers,difficulty_tiers_memory"
    run = lm_eval(
        "--model_args",
        "sparsity=0",
        "--tasks",
        tasks,
        "--log_samples",
        "--output_path",
        "out",
        cwd=folder,
        fresh=True,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    (folder / "stderr").write_text(run.stderr)  # what a new user sees, for tests/harness/test_first_run.py
    (folder / "done").touch()
    return folder / "out"
