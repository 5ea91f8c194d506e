"""The real commands, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}


def command(
    module: str, *arguments: str, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """`python -m module arguments...`, never raising: tests look at the exit code."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | OFFLINE | environment,
    )


def lm_eval(*arguments: str, cwd: Path, model: str = "junkdna-pruned") -> subprocess.CompletedProcess[str]:
    """`lm_eval --model model arguments...`."""
    return command("lm_eval", "--model", model, *arguments, cwd=cwd)


def junkdna(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """`junkdna arguments...`."""
    return command("junkdna_harness.cli", *arguments, cwd=cwd, **environment)
