"""Seconds that `junkdna fit` and `junkdna report --html` take on a small sweep: ten levels, fifty items per task.

    python benchmarks/small_sweep.py [--repeats 5] [--against CHECKOUT]

`--against` names another checkout, whose commands are timed in alternation with this one's. Uses the embedded model.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent


def command(*words: str) -> list[str]:
    """A command of the package that Python finds."""
    return [sys.executable, "-m", "junkdna_harness.cli", *words]


def timed(words: list[str], checkout: Path) -> float:
    """Wall-clock seconds of a command of a checkout, which must succeed."""
    started = time.perf_counter()
    subprocess.run(
        command(*words),
        check=True,
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - started


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--against", type=Path)
    given = parser.parse_args()
    sides = {"this checkout": HERE, **({"the other": given.against.resolve()} if given.against else {})}
    with tempfile.TemporaryDirectory() as folder:
        sweep = [
            "sweep", "--methods", "magnitude", "--sparsity", "0:0.9:0.1", "--tasks", "difficulty_tiers", "--limit", "50",
        ]  # fmt: skip
        timed([*sweep, "--output", f"{folder}/r"], HERE)
        asked = {
            "fit": ["fit", f"{folder}/r"],
            "report --html": ["report", f"{folder}/r", "--html", f"{folder}/r.html"],
        }
        found: dict[tuple[str, str], list[float]] = {}
        for _ in range(given.repeats):
            for name, words in asked.items():
                for side, checkout in sides.items():
                    found.setdefault((name, side), []).append(timed(words, checkout))
    print("## Fit and report on a small sweep\n\n`python benchmarks/small_sweep.py`\n")
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; medians, and all runs.\n"
    )
    print("| | " + " | ".join(f"{side}, s | runs" for side in sides) + " |")
    print("| --- |" + " ---: | --- |" * len(sides))
    for name in asked:
        cells = []
        for side in sides:
            runs = found[name, side]
            cells += [f"{statistics.median(runs):.1f}", ", ".join(f"{s:.1f}" for s in sorted(runs))]
        print(f"| `junkdna {name}` | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
