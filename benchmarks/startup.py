"""What the line in `junkdna_harness.pth` costs every Python start: `python benchmarks/startup.py`.

Starts of `python -c pass` with autoload on and off by turns; medians. "Off" still imports the module, so the
import alone is printed as well, timed inside one process.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 40


def start(environment: dict[str, str], *flags: str) -> float:
    """Milliseconds of one `python -c pass`."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *flags, "-c", "pass"], env=environment, check=True)
    return (time.perf_counter() - began) * 1e3


def moved_aside(pth: Path) -> Path:
    """The name under which `pth` is not read."""
    return pth.with_suffix(".pth.off")


def main() -> None:
    """Print the medians and their difference."""
    import site

    (pth,) = [p for d in site.getsitepackages() for p in Path(d).glob("junkdna_harness.pth")]
    # An installed package has its bytecode; a variable that forbids writing it would time the compiler.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    with_line, without = [], []
    for _ in range(RUNS):
        with_line.append(start(environment))
        pth.rename(moved_aside(pth))
        try:
            without.append(start(environment))
        finally:
            moved_aside(pth).rename(pth)
    a, b = statistics.median(with_line), statistics.median(without)
    print(
        f"python -c pass, median of {RUNS}: {a:.2f} ms with the line, {b:.2f} ms without, {a - b:.2f} ms more"
    )


if __name__ == "__main__":
    main()
