"""The real commands, each in a process of its own."""

from __future__ import annotations

import atexit
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

from tests.warm import Warm

OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
# What libraries read of their environment when they are imported; all else is read when it is needed.
_READ_AT_IMPORT = re.compile(
    "(PYTHON|PYTORCH|TORCH|HF_|TRANSFORMERS_|TOKENIZERS_|DATASETS_|OMP_|MKL_|OPENBLAS_|KMP_|LD_|CUDA_|TQDM_|ARROW_|NUMPY_|NPY_|XDG_|LC_|_TYPER_)"
    "|(HOME|TMPDIR|LANG|JUNKDNA_NO_AUTOLOAD|TERMINAL_WIDTH|FORCE_COLOR|PY_COLORS|NO_COLOR|GITHUB_ACTIONS)$"
)


@cache
def _warm() -> Warm:
    warm = Warm(os.environ | OFFLINE)
    atexit.register(warm.close)
    return warm


def command(
    module: str, *arguments: str, cwd: Path | None = None, fresh: bool = False, **environment: str
) -> subprocess.CompletedProcess[str]:
    """`python -m module arguments...`, never raising: tests look at the exit code.

    The process is forked from one that has imported torch and lm-eval, unless `fresh` says that it is to be a Python start of
    its own, or its environment may change what is imported.
    """
    wanted = os.environ | OFFLINE | environment
    warm = None if fresh else _warm()
    if warm and not any(_READ_AT_IMPORT.match(name) for name, _ in wanted.items() ^ warm.environment.items()):
        return warm.run(module, *arguments, cwd=cwd, environment=wanted)
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env=wanted,
    )


def lm_eval(
    *arguments: str, cwd: Path, model: str = "junkdna-pruned", fresh: bool = False
) -> subprocess.CompletedProcess[str]:
    """`lm_eval --model model arguments...`."""
    return command("lm_eval", "--model", model, *arguments, cwd=cwd, fresh=fresh)


def junkdna(
    *arguments: str, cwd: Path | None = None, fresh: bool = False, **environment: str
) -> subprocess.CompletedProcess[str]:
    """`junkdna arguments...`."""
    return command("junkdna_harness.cli", *arguments, cwd=cwd, fresh=fresh, **environment)
