"""Time, memory and size of what reads and shows large studies: a table of 1,000,000 rows, a sweep of 200 runs, logs of 200,000 samples.

    python benchmarks/scale.py [--inputs FOLDER] [--only table,sweep,logs] [--commands report,fit]

Inputs are made once (`scale_inputs.py`) and kept in FOLDER. Each command runs in a process of its own, which is measured with all it starts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import scale_inputs

Words = list[str]
MAKE: dict[str, tuple[str, Callable[[Path], None]]] = {
    "table": ("table.parquet", scale_inputs.table),
    "sweep": ("sweep", scale_inputs.sweep),
    "logs": ("logs", scale_inputs.logs),
}
RUN = {"table": "scale-a magnitude 0.5", "sweep": "scale-a magnitude 0.5", "logs": "logged magnitude 0.5"}
DENSE = {"table": "scale-a dense", "sweep": "scale-a dense", "logs": "logged dense"}


def commands(kind: str, given: str, out: Path) -> dict[str, Words]:
    """Name -> what is run on one input."""
    both = ["--run", RUN[kind], "--baseline-run", DENSE[kind]]
    found = {
        "report": ["report", given],
        "report --html": ["report", given, "--html", f"{out}/r.html"],
        "report --plots": ["report", given, "--plots", f"{out}/plots"],
        "report --markdown": ["report", given, "--markdown", f"{out}/r.md"],
        "report --latex": ["report", given, "--latex", f"{out}/r.tex"],
        "table": ["table", given, "-o", f"{out}/t.parquet"],
        "table (CSV)": ["table", given, "-o", f"{out}/t.csv"],
        "show": ["show", given, "--run", RUN[kind]],
        "fit": ["fit", given, "--json", f"{out}/fit.json"],
        "check": ["check", given, "--against", given, *both, "--max-drop", "0.5"],
    }
    if kind != "table":
        found["compare"] = ["compare", given, given, "--run-a", DENSE[kind], "--run-b", RUN[kind]]
    return found


def measured(words: Words, out: Path) -> dict[str, float]:
    """Wall and CPU seconds, peak memory (GB) and written megabytes of one command, which must succeed."""
    script = (
        "import json, resource, subprocess, sys, time\n"
        "s = time.perf_counter(); rc = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)\n"
        "u = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(json.dumps([rc.returncode, time.perf_counter() - s, u.ru_utime + u.ru_stime, u.ru_maxrss / 1e6, rc.stderr.decode()[-500:]]))"
    )
    command = [sys.executable, "-c", script, sys.executable, "-m", "junkdna_harness.cli", *words]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": _path()}
    )
    code, wall, cpu, peak, said = json.loads(done.stdout)
    if code not in (0, 1):  # 1: a gate that fails
        raise SystemExit(f"{' '.join(words)} ended with {code}: {said}")
    written = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    return {"wall": wall, "cpu": cpu, "gb": peak, "mb": written / 1e6}


def _path() -> str:
    return os.environ.get("PYTHONPATH", str(Path(__file__).resolve().parent.parent))


def main() -> None:
    """Make what is missing of the inputs, run everything, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=Path)
    parser.add_argument("--only", default="table,sweep,logs")
    parser.add_argument("--commands", default="", help="only those whose name begins with one of these")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        inputs: Path = arguments.inputs or Path(temporary) / "inputs"
        print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}.\n")
        print(
            "| input | `junkdna` | wall, s | CPU, s | peak memory, GB | written, MB |\n| --- | --- | ---: | ---: | ---: | ---: |"
        )
        for kind in arguments.only.split(","):
            name, make = MAKE[kind]
            given = inputs / name
            if not given.exists():
                given.parent.mkdir(parents=True, exist_ok=True)
                make(given)
            for name in commands(kind, str(given), Path()):
                if not name.startswith(tuple(arguments.commands.split(","))):
                    continue
                with tempfile.TemporaryDirectory() as written:
                    m = measured(commands(kind, str(given), Path(written))[name], Path(written))
                print(
                    f"| {kind} | {name} | {m['wall']:.1f} | {m['cpu']:.1f} | {m['gb']:.2f} | {m['mb']:.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
