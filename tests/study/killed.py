"""A study in a process of its own, killed as soon as it has got somewhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.conftest import ROOT

SCRIPT = """
import importlib, sys
from junkdna_harness.study.run import run_study
run_study(importlib.import_module(sys.argv[1]).PLAN, sys.argv[2])
"""


def killed_at(module: str, folder: Path, sign: str) -> None:
    """Run the `PLAN` of a test module into `folder`, and kill it once a file that fits the pattern `sign` is there."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, module, str(folder)], env=environment, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 300
    while not list(folder.glob(sign)) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
