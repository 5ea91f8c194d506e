"""What `junkdna sweep` costs: against bare forward passes, against a loop over lm_eval, in memory, and as it grows.

    python benchmarks/sweep.py [--parts limit,loop,memory,growth]

Uses the embedded model and the suite difficulty_tiers. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

LEVELS = "0:0.9:0.1"
REPEATS = 3
START = 6  # seconds for the imports of torch and lm_eval, the tasks, and loading the model
LOOP = ("0.3", "0.6")  # calls of lm_eval that are timed; their mean stands for each of the ten
ENVIRONMENT = {
    **os.environ,
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def timed(command: list[str], own_clock: bool = False) -> float:
    """Wall-clock seconds of a command that must succeed; those that it prints, where it has a clock of its own."""
    started = time.perf_counter()
    done = subprocess.run(
        command, check=True, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    return float(done.stdout) if own_clock else time.perf_counter() - started


def sweep(folder: Path, levels: str = LEVELS, *more: str) -> list[str]:
    """The command of a sweep into a fresh folder."""
    shutil.rmtree(folder, ignore_errors=True)
    junkdna = [
        sys.executable,
        "-m",
        "junkdna_harness.cli",
        "sweep",
        "--methods",
        "magnitude",
        "--sparsity",
        levels,
    ]
    return [*junkdna, "--tasks", "difficulty_tiers", "--output", str(folder), *more]


def loop(scratch: Path) -> list[str]:
    """Ten levels at once against ten calls of lm_eval."""
    calls = []
    for sparsity in LOOP:
        model = ["--model", "junkdna-pruned", "--model_args", f"sparsity={sparsity}"]
        command = [sys.executable, "-m", "lm_eval", *model, "--tasks", "difficulty_tiers"]
        calls.append(timed([*command, "--output_path", str(scratch / f"l{sparsity}"), "--log_samples"]))
    once = timed(sweep(scratch / "r"))
    ten = 10 * sum(calls) / len(calls)
    return [
        "| | seconds |", "| --- | ---: |",
        f"| ten calls of lm_eval ({', '.join(f'{c:.1f}' for c in calls)} s measured, times ten) | {ten:.0f} |",
        f"| one sweep of ten levels | {once:.1f} |", f"| ratio | **{ten / once:.1f}** |",
    ]  # fmt: skip


def limit(scratch: Path) -> list[str]:
    """A sweep of ten levels against its limit: nothing but the model's forward passes on the same batches, on all cores."""
    sweeps, passes = [], []
    for _ in range(REPEATS):  # in alternation, so that what else the machine does falls on both
        passes.append(timed([sys.executable, __file__, "--passes"], own_clock=True))
        sweeps.append(timed(sweep(scratch / "r")))
    beyond = statistics.median(sweeps) - START
    return [
        f"| medians of {REPEATS} in alternation | seconds | all runs |", "| --- | ---: | --- |",
        f"| bare forward passes of ten levels | {statistics.median(passes):.1f} | {listed(passes)} |",
        f"| one sweep of ten levels, from the start of Python to its end | {statistics.median(sweeps):.1f} | {listed(sweeps)} |",
        f"| what it takes beyond {START} s of start | {beyond:.1f} | |",
        f"| ratio to the bare forward passes | **{beyond / statistics.median(passes):.2f}** | |",
    ]  # fmt: skip


def listed(seconds: list[float]) -> str:
    return ", ".join(f"{s:.1f}" for s in seconds)


def bare_passes() -> None:
    """Print the seconds of the forward passes of ten levels, one process a core, each with its share of the levels."""
    from junkdna_harness.sweep import build_plan
    from junkdna_harness.sweep.machine import Machine, available_cores
    from junkdna_harness.sweep.session import Session

    plan = build_plan(tasks="difficulty_tiers", methods="magnitude", sparsity=LEVELS)
    session = Session(plan, 0, Machine(device="cpu", threads=1))
    session.run(plan.cells[0])  # lays the requests out, once
    batches = [part for batch in session.suite._passes or [] for part in (batch.rows, *batch.tails)]
    # Levels and batches are dealt out together, so that no core waits for another's last level.
    work = [part for _ in plan.cells for part in batches]
    cores = available_cores()
    processes = [
        multiprocessing.get_context("fork").Process(
            target=run_passes, args=(session.lm.model, work[k::cores])
        )
        for k in range(cores)
    ]
    started = time.perf_counter()
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert not any(process.exitcode for process in processes)
    print(time.perf_counter() - started)


def run_passes(model: Any, parts: list[Any]) -> None:
    """Nothing but forward passes."""
    import torch

    with torch.no_grad():
        for part in parts:
            model(part.tokens, logits_to_keep=part.keep)


def memory(scratch: Path) -> list[str]:
    """Largest resident memory of the sweep's process at few and many levels."""
    lines = ["| levels | largest resident memory, MB |", "| ---: | ---: |"]
    for levels in ("0:0.2:0.2", "0:0.95:0.05"):
        command = sweep(scratch / "m", levels, "--limit", "100", "--workers", "1")
        code = (
            "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=-3, stderr=-3);"
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
        )
        found = subprocess.run(
            [sys.executable, "-c", code, *command],
            env=ENVIRONMENT,
            check=True,
            capture_output=True,
            text=True,
        )
        first, last, step = map(float, levels.split(":"))
        lines.append(f"| {round((last - first) / step) + 1} | {int(found.stdout) / 1024:.0f} |")
    return lines


def growth(scratch: Path) -> list[str]:
    """Seconds against the number of levels and of items."""
    lines = [
        "| levels | items per task | seconds | seconds without start-up, a level and 1,000 items |",
        "| ---: | ---: | ---: | ---: |",
    ]
    start = timed(sweep(scratch / "g", "0.5", "--limit", "1", "--workers", "1"))
    for levels, limit in (
        ("0:0.45:0.05", 50),
        ("0:0.95:0.05", 50),
        ("0:0.45:0.05", 100),
        ("0:0.45:0.05", 200),
    ):
        seconds = timed(sweep(scratch / "g", levels, "--limit", str(limit), "--workers", "1"))
        first, last, step = map(float, levels.split(":"))
        n = round((last - first) / step) + 1
        lines.append(f"| {n} | {limit} | {seconds:.1f} | {(seconds - start) / (n * 24 * limit / 1000):.2f} |")
    return [*lines, "", f"Start-up (one item per task, two levels): {start:.1f} s."]


PARTS = {"limit": limit, "loop": loop, "memory": memory, "growth": growth}


def main() -> None:
    """Print the parts that were asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--passes", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.passes:
        bare_passes()
        return
    chosen = given.parts.split(",")
    print("## Sweep\n\n`python benchmarks/sweep.py`\n")
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}.")
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen:
            function = PARTS[name]
            print(f"\n### {(function.__doc__ or name).strip().rstrip('.')}\n", flush=True)
            print("\n".join(function(Path(folder))), flush=True)


if __name__ == "__main__":
    main()
