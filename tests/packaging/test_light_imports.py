"""What must stay cheap stays cheap: the line that runs in every Python start, and the package's own import."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

HEAVY = {"torch", "numpy", "lm_eval", "transformers", "pandas", "scipy", "matplotlib", "statsmodels"}


def loaded_after(statement: str, **environment: str) -> set[str]:
    """Top-level modules loaded in a fresh interpreter after `statement`."""
    code = f"import sys\n{statement}\nprint(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ | environment
    )
    return set(run.stdout.split())


def test_python_start_loads_our_autoload_and_nothing_heavy() -> None:
    loaded = loaded_after("pass")
    assert "junkdna_harness" in loaded, "the .pth line did not run"
    assert not loaded & HEAVY
    assert not loaded & {"pathlib", "typing", "json", "importlib.metadata", "inspect", "dataclasses"}


@pytest.mark.parametrize(
    "statement",
    [
        "import junkdna_harness",
        "import difficulty",
        "import junkdna_harness.cli",
        "import junkdna_harness.embedded",
    ],
)
def test_our_packages_import_without_torch(statement: str) -> None:
    assert not loaded_after(statement) & HEAVY


def test_the_whole_of_difficulty_needs_neither_torch_nor_lm_eval() -> None:
    statement = (
        "import importlib, pkgutil, difficulty\n"
        "for m in pkgutil.walk_packages(difficulty.__path__, 'difficulty.'): importlib.import_module(m.name)"
    )
    assert not loaded_after(statement) & {"torch", "lm_eval", "transformers", "junkdna_harness.models"}


def test_the_variable_turns_autoload_off() -> None:
    check = "import sys; print(any(type(f).__module__ == 'junkdna_harness.autoload' for f in sys.meta_path))"
    on = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    environment = os.environ | {"JUNKDNA_NO_AUTOLOAD": "1"}
    off = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True, env=environment
    )
    assert (on.stdout.strip(), off.stdout.strip()) == ("True", "False")
