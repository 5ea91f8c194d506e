"""A wheel, a source distribution and an editable install each make `lm_eval` find models and tasks, from any folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "JUNKDNA_NO_AUTOLOAD"}}
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env=clean | environment,
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project without what a checkout collects."""
    copy = tmp_path_factory.mktemp("source") / "project"
    ignored = shutil.ignore_patterns(
        ".git", ".venv", "venv", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis"
    )

    def left_out(folder: str, names: list[str]) -> set[str]:
        # Sweeps of the checkout's user; `difficulty/runs` is a room.
        return {*ignored(folder, names), *({"runs"} if Path(folder) == ROOT else ())}

    shutil.copytree(ROOT, copy, ignore=left_out)
    return copy


@pytest.fixture(scope="module")
def artefacts(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str | Path]]:
    """pip's arguments for each kind of install."""
    folder = tmp_path_factory.mktemp("dist")
    built = run(sys.executable, "-m", "build", "--outdir", folder, source, cwd=folder)
    assert built.returncode == 0, built.stderr[-2000:]
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return {"wheel": [wheel], "sdist": [sdist], "editable": ["-e", source]}


@pytest.mark.parametrize("kind", ["wheel", "sdist", "editable"])
def test_lm_eval_finds_models_and_tasks_in_a_fresh_environment(
    kind: str, artefacts: dict[str, list[str | Path]], tmp_path: Path
) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = tmp_path / "venv" / "lib" / version / "site-packages"
    # The dependencies come from this environment by path alone: its own .pth files, ours among them, are not run there.
    (site / "zz_dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    installed = run(python, "-m", "pip", "install", "-q", "--no-deps", *artefacts[kind], cwd=tmp_path)
    assert installed.returncode == 0, installed.stderr[-2000:]

    listed = run(python, "-m", "lm_eval", "ls", "tasks", cwd=tmp_path)
    assert "difficulty_tiers_agreement_t4" in listed.stdout, listed.stderr[-2000:]
    where = run(tmp_path / "venv" / "bin" / "junkdna", "tasks-dir", cwd=tmp_path).stdout.strip()
    assert (str(ROOT) not in where) and (Path(where) / "graded" / "difficulty_tiers.yaml").is_file()
    find = "import importlib.util as u; print(*u.find_spec('junkdna_harness.task_configs').submodule_search_locations)"
    assert (
        run(python, "-c", find, cwd=tmp_path).stdout.strip() == where
    )  # what the entry point lm_eval.tasks names
    scored = run(
        *(python, "-m", "lm_eval", "--model", "junkdna-pruned", "--tasks", "difficulty_tiers_hypernyms_t1"),
        *("--limit", "4"),
        cwd=tmp_path,
    )
    assert scored.returncode == 0, scored.stderr[-2000:]
    assert "difficulty_tiers_hypernyms_t1" in scored.stdout

    line = (site / "junkdna_harness.pth").read_text()
    removed = run(python, "-m", "pip", "uninstall", "-q", "-y", "junkdna-harness", cwd=tmp_path)
    assert (removed.returncode, list(site.glob("*junkdna*.pth"))) == (0, []), removed.stderr[-2000:]
    (site / "junkdna_harness.pth").write_text(line)  # as one that was put there by hand, or copied, stays
    start = run(python, "-c", "pass", cwd=tmp_path)
    assert (start.returncode, start.stdout, start.stderr) == (0, "", "")


def test_without_autoload_lm_eval_does_not_know_us_and_the_manual_way_works(tmp_path: Path) -> None:
    plain = run(sys.executable, "-m", "lm_eval", "ls", "tasks", cwd=tmp_path, JUNKDNA_NO_AUTOLOAD="1")
    assert plain.returncode == 0
    assert "difficulty_tiers" not in plain.stdout
    ours = run(
        sys.executable,
        "-m",
        "junkdna_harness.cli",
        "lm-eval",
        "ls",
        "tasks",
        cwd=tmp_path,
        JUNKDNA_NO_AUTOLOAD="1",
    )
    assert "difficulty_tiers_agreement_t4" in ours.stdout, ours.stderr[-2000:]
