"""`module:function` of a user's own: what is no such function is refused before it is called, and which file is run is said."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from difficulty import own_code
from difficulty.cut.axes import parse_rule
from difficulty.errors import UsageError
from difficulty.own_code import check_takes, own_function
from junkdna_harness.compress.allocation import find_allocation
from junkdna_harness.compress.formats import get_format
from junkdna_harness.compress.registry import check_method, sparsifier

ROOT = Path(__file__).resolve().parents[2]
ENTRIES: dict[str, Callable[[str], object]] = {
    "method": check_method,
    "quantizer": get_format,
    "allocation": find_allocation,
    "rule": parse_rule,
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on Python's path."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(own_code, "_said", set())
    return tmp_path


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize(
    "given", ["os:system", "random:shuffle", "shutil:rmtree", "builtins:exec", "subprocess:run", "antigravity:x", "os.path:join"]
)  # fmt: skip
def test_functions_of_python_itself_are_no_methods(entry: str, given: str) -> None:
    with pytest.raises(UsageError, match="is a module of Python itself"):
        ENTRIES[entry](given)
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize(
    "given",
    [
        "numpy:add",
        "numpy:save",
        "pandas:DataFrame",
        "yaml:SafeLoader",
        "numpy:pi",
        "nowhere_at_all:f",
        "a:",
        ".:f",
    ],
)
def test_what_is_no_such_function_is_refused_uncalled(entry: str, given: str) -> None:
    with pytest.raises(UsageError, match=f"{entry}|method|rule"):
        ENTRIES[entry](given)


@pytest.mark.parametrize("signature", ["()", "(a)", "(a, b, c)", "(*, blocks, sparsity)"])
def test_a_function_of_other_arguments_is_refused(signature: str, folder: Path) -> None:
    name = f"own_{abs(hash(signature))}"
    (folder / f"{name}.py").write_text(f"def f{signature}:\n    open('ran', 'w')\n")
    with pytest.raises(
        UsageError, match=r"takes .*\. Name a Python function that takes \(blocks, sparsity\)\."
    ):
        find_allocation(f"{name}:f")


def test_a_function_that_takes_them_is_taken_and_its_file_said_once(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "own_good.py").write_text("def f(blocks, sparsity, *more, steepness=2):\n    return []\n")
    for _ in range(2):
        assert own_function("own_good:f", "allocation", ("blocks", "sparsity"))([], 0.5) == []
    assert (
        capsys.readouterr().err
        == f"junkdna: note: allocation='own_good:f' runs code of {folder / 'own_good.py'}\n"
    )


CALLED = """
import functools

class Above:
    def __call__(self, blocks, sparsity):
        return []

class Below(Above):
    def method(self, blocks, sparsity):
        return []

@functools.cache
def cached(blocks, sparsity):
    return []

inherited, method, part = Below(), Below().method, functools.partial(Below().method, sparsity=0)
less = functools.lru_cache(lambda: [])
"""


def test_what_is_called_like_a_function_is_taken(folder: Path) -> None:
    (folder / "own_called.py").write_text(CALLED)
    for name in ("inherited", "method", "cached"):
        own_function(f"own_called:{name}", "allocation", ("blocks", "sparsity"))
    own_function("own_called:part", "allocation", ("blocks",))
    with pytest.raises(UsageError, match=r"takes \(\)\."):
        own_function("own_called:less", "allocation", ("blocks", "sparsity"))


def test_a_method_of_other_arguments_is_refused_when_it_is_registered() -> None:
    for function in (lambda: None, lambda weight, inputs: weight, print):
        with pytest.raises(UsageError, match=r"the method 'test_takes' .*\(weight\)"):
            sparsifier("test_takes")(function)
    check_takes(lambda *weights: weights, "it", ("weight",))


@pytest.mark.parametrize(
    "text", ["raise SystemError('no')", "def f(:", "import nowhere_at_all", "raise SystemExit(3)"]
)
def test_a_module_that_fails_is_one_sentence(text: str, folder: Path) -> None:
    name = f"own_fails_{abs(hash(text))}"
    (folder / f"{name}.py").write_text(text)
    with pytest.raises((UsageError, SystemExit), match="could not be imported|3"):
        find_allocation(f"{name}:f")


def started(cwd: Path, *how: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *how], cwd=cwd, capture_output=True, text=True, check=False,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | environment,
    )  # fmt: skip


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A current folder with a module of the user's, and a program to start there by `-m`; ours are on the path."""
    (tmp_path / "cwd").mkdir()
    (tmp_path / "cwd" / "own_here.py").write_text(
        "def f(blocks, sparsity):\n    return [1 for _ in blocks]\n"
    )
    (tmp_path / "programs").mkdir()
    (tmp_path / "programs" / "program.py").write_text(
        "import sys\nfrom difficulty.errors import UsageError\nfrom difficulty.own_code import own_function\n"
        "try:\n    own_function(sys.argv[1], 'allocation', ('blocks', 'sparsity'))\n"
        "except UsageError as error:\n    sys.exit(str(error))\n"
    )
    return tmp_path


def test_the_current_folder_is_searched_by_dash_m_alone_and_that_is_said(here: Path) -> None:
    cwd, path = here / "cwd", f"{here / 'programs'}{os.pathsep}{ROOT}"
    by_module = started(cwd, "-m", "program", "own_here:f", PYTHONPATH=path)
    assert by_module.returncode == 0, by_module.stderr
    assert f"runs code of {cwd / 'own_here.py'}" in by_module.stderr
    assert "only because Python was started with -m" in by_module.stderr
    as_command = started(cwd, str(here / "programs" / "program.py"), "own_here:f", PYTHONPATH=path)
    assert as_command.returncode == 1
    assert "lies in this folder, which is not on Python's path: set PYTHONPATH=." in as_command.stderr
    told = started(
        cwd, str(here / "programs" / "program.py"), "own_here:f", PYTHONPATH=f".{os.pathsep}{path}"
    )
    assert told.returncode == 0 and "warning" not in told.stderr


def test_a_file_of_the_current_folder_that_hides_an_installed_module_is_refused(here: Path) -> None:
    (here / "programs" / "own_here.py").write_text("def f(blocks, sparsity):\n    raise SystemExit(9)\n")
    run = started(
        here / "cwd", "-m", "program", "own_here:f", PYTHONPATH=f"{here / 'programs'}{os.pathsep}{ROOT}"
    )
    assert run.returncode == 1 and "names two modules, one in this folder and" in run.stderr
