"""The versions of lm-eval that we say we work with are worked with: a sweep agrees with lm-eval itself in each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.commands import OFFLINE
from tests.conftest import ROOT

VERSIONS = ("0.4.13", "0.5.0.dev1")


def folder_of(wanted: str, folder: Path) -> list[str]:
    """What goes in front on the path so that lm-eval `wanted` is imported; a skip where it cannot be had."""
    if version("lm-eval") == wanted:
        return []
    got = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-q",
            "--no-deps",
            "--target",
            str(folder),
            f"lm-eval=={wanted}",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if got.returncode:
        pytest.skip(
            f"lm-eval {wanted} cannot be installed here: {(got.stderr.strip().splitlines() or ['?'])[-1]}"
        )
    return [str(folder)]


@pytest.mark.slow
@pytest.mark.parametrize("wanted", VERSIONS)
def test_a_sweep_agrees_with_lm_eval_itself(wanted: str, tmp_path: Path) -> None:
    path = os.pathsep.join([*folder_of(wanted, tmp_path / "lm_eval"), str(ROOT)])
    (tmp_path / "tasks").mkdir()
    run = subprocess.run(
        [sys.executable, "-m", "tests.harness.agreement", str(tmp_path / "tasks")],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | OFFLINE | {"PYTHONPATH": path},
    )
    assert run.returncode == 0, run.stderr[-3000:]
    found = json.loads(run.stdout.strip().splitlines()[-1])
    assert (found["version"], found["differences"]) == (wanted, [])
    assert len(found["tasks"]) == 11
