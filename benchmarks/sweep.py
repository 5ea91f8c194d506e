"""What `junkdna sweep` costs: against a loop over lm_eval, against bare forward passes, in memory, and as it grows.

    python benchmarks/sweep.py [--parts loop,bare,memory,growth]

Uses the embedded model and the suite difficulty_tiers (24 tasks, 6,000 items, 8,500 requests). Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LEVELS = "0:0.9:0.1"
LOOP = ("0.3", "0.6")  # calls of lm_eval that are timed; their mean stands for each of the ten
ENVIRONMENT = {
    **os.environ,
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def timed(command: list[str]) -> float:
    """Wall-clock seconds of a command that must succeed."""
    started = time.perf_counter()
    subprocess.run(command, check=True, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


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


def bare(scratch: Path) -> list[str]:
    """The sweep's work on ten levels against nothing but the model's forward passes on the same batches."""
    import torch

    from junkdna_harness.sweep import build_plan
    from junkdna_harness.sweep.machine import Machine
    from junkdna_harness.sweep.session import Session

    plan = build_plan(tasks="difficulty_tiers", methods="magnitude", sparsity=LEVELS)
    session = Session(plan, 0, Machine(device="cpu", threads=1))
    session.run(plan.cells[0])  # lays the requests out, once
    started = time.perf_counter()
    for cell in plan.cells:
        session.run(cell)
    whole = time.perf_counter() - started
    started = time.perf_counter()
    with torch.no_grad():
        for _ in plan.cells:
            for batch in session.suite._passes or []:
                for part in (batch.rows, *batch.tails):
                    session.lm.model(part.tokens, logits_to_keep=part.keep)
    forward = time.perf_counter() - started
    return [
        "| | seconds, one thread |", "| --- | ---: |", f"| bare forward passes of ten levels | {forward:.1f} |",
        f"| prune, score, tables, restore, ten levels | {whole:.1f} |", f"| ratio | **{whole / forward:.2f}** |",
    ]  # fmt: skip


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
        "| levels | items a task | seconds | seconds without start-up, a level and 1,000 items |",
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
    return [*lines, "", f"Start-up (one item a task, two levels): {start:.1f} s."]


PARTS = {"loop": loop, "bare": bare, "memory": memory, "growth": growth}


def main() -> None:
    """Print the parts that were asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", default=",".join(PARTS))
    chosen = parser.parse_args().parts.split(",")
    print("## Sweep\n\n`python benchmarks/sweep.py`\n")
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}.")
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen:
            function = PARTS[name]
            print(f"\n### {(function.__doc__ or name).strip().rstrip('.')}\n", flush=True)
            print("\n".join(function(Path(folder))), flush=True)


if __name__ == "__main__":
    main()
