"""What is left of our start-up line in any state of the package is silent: it would speak in every Python start of the environment."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINE = ROOT / "junkdna_harness.pth"
HERE = "any(type(finder).__module__ == 'junkdna_harness.autoload' for finder in sys.meta_path)"


def started(site: Path) -> subprocess.CompletedProcess[str]:
    """A Python start that reads the .pth files of `site`, and says whether our finder waits."""
    code = f"import site, sys; site.addsitedir({str(site)!r}); print({HERE})"
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False
    )


def package(site: Path) -> Path:
    folder = site / "junkdna_harness"
    folder.mkdir()
    for name in ("__init__.py", "autoload.py"):
        (folder / name).write_bytes((ROOT / "junkdna_harness" / name).read_bytes())
    return folder


def gone(site: Path) -> None:
    pass


def only_the_tasks(site: Path) -> None:
    """As an editable install leaves it when its checkout was moved."""
    (site / "junkdna_harness" / "task_configs").mkdir(parents=True)
    (site / "_editable_impl_junkdna_harness.pth").write_text(str(site / "moved") + "\n")


def without_autoload(site: Path) -> None:
    (package(site) / "autoload.py").unlink()


def only_bytecode(site: Path) -> None:
    folder = package(site)
    started(site)
    for path in folder.glob("*.py"):
        path.unlink()


def cut_off(site: Path) -> None:
    path = package(site) / "autoload.py"
    path.write_bytes(path.read_bytes()[:300])


def zeros(site: Path) -> None:
    """As a file is after the power went before it was on the disk."""
    path = package(site) / "autoload.py"
    path.write_bytes(bytes(path.stat().st_size))


def a_file_of_that_name(site: Path) -> None:
    (site / "junkdna_harness").write_text("")


def a_dangling_link(site: Path) -> None:
    (site / "junkdna_harness").symlink_to(site / "moved")


def an_init_that_fails(site: Path) -> None:
    (package(site) / "__init__.py").write_text("raise RuntimeError\n")


@pytest.mark.parametrize(
    "left",
    [
        *(gone, only_the_tasks, without_autoload, only_bytecode, cut_off, zeros),
        *(a_file_of_that_name, a_dangling_link, an_init_that_fails),
    ],
    ids=lambda left: left.__name__,
)
def test_a_start_without_the_package_says_nothing(left: Callable[[Path], None], tmp_path: Path) -> None:
    left(tmp_path)
    (tmp_path / LINE.name).write_bytes(LINE.read_bytes())
    run = started(tmp_path)
    assert (run.returncode, run.stdout, run.stderr) == (0, "False\n", "")


def test_a_start_with_it_waits(tmp_path: Path) -> None:
    package(tmp_path)
    (tmp_path / LINE.name).write_bytes(LINE.read_bytes())
    run = started(tmp_path)
    assert (run.returncode, run.stdout, run.stderr) == (0, "True\n", "")
