"""How long the main line takes, and how much of it is lm-eval's own start: `python benchmarks/main_job.py`.

The start is lm-eval's `dummy` model (no weights, no forward pass) on one item of one of the suite's tasks; the main
job is all of the suite. Both run offline, as lm-eval's `dummy` otherwise waits for the hub where there is none.
Wall-clock seconds of whole commands, by turns, medians of three.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time

RUNS = 3
START = ["--model", "dummy", "--tasks", "difficulty_tiers_hypernyms_t1", "--limit", "1"]
MAIN = ["--model", "junkdna-pruned", "--tasks", "difficulty_tiers"]


def seconds(arguments: list[str]) -> float:
    """Wall-clock seconds of one `lm_eval` command."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "lm_eval", *arguments],
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
        )
        return time.perf_counter() - began


def main() -> None:
    """Print both medians and their difference."""
    start, job = [], []
    for _ in range(RUNS):
        start.append(seconds(START))
        job.append(seconds(MAIN))
    a, b = statistics.median(start), statistics.median(job)
    print(f"lm_eval's own start {a:.1f} s; main job {b:.1f} s; {b - a:.1f} s beyond the start")


if __name__ == "__main__":
    main()
