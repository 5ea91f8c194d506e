"""Commands killed (SIGKILL), by turns while they write and at a random moment, and started again: what is lost, what is left, what differs.

python benchmarks/kills.py [--kills 20] [--seed 0]

A row per command: how often it was killed, and how often it ended well in between (then it begins anew); results that had been
finished and were not there after a kill; the most that a kill left beside them, what was left of it when the command had ended
well, and whether what it wrote each time is what an uninterrupted run writes.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

JUNKDNA = (sys.executable, "-m", "junkdna_harness.cli")
TASKS = "difficulty_tiers_copying_t1"


@dataclass(frozen=True)
class Job:
    """A command that writes `out`; `finished`: the results that count as there, with a hash of each."""

    name: str
    arguments: tuple[str, ...]
    finished: Callable[[Path], dict[str, str]]


def sha256(path: Path) -> str:
    """Of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def runs_of(out: Path) -> dict[str, str]:
    """Finished runs of a sweep, by the content of their samples."""
    from difficulty.errors import UsageError
    from difficulty.runs.store import SAMPLES, check_run, finished_runs, table_path

    found = {}
    for stem in finished_runs(out) if out.is_dir() else ():
        try:
            if check_run(out, stem) is None:
                found[stem] = sha256(table_path(out, SAMPLES, stem))
        except UsageError as error:
            found[stem] = f"unreadable: {error}"
    return found


def checkpoint_of(out: Path) -> dict[str, str]:
    """A checkpoint that is there, and whether every tensor is what its manifest says."""
    from junkdna_harness.compress.checkpoint import inspect_checkpoint

    if not out.exists():
        return {}
    return {"weights": sha256(out / "model.safetensors") if inspect_checkpoint(out).intact else "not intact"}


JOBS = (
    Job("sweep", ("sweep", "--methods", "magnitude,random", "--sparsity", "0.3,0.5,0.7", "--tasks", TASKS, "--limit", "50", "-o"), runs_of),
    Job("prune --force", ("prune", "--sparsity", "0.5", "--force", "-o"), checkpoint_of),
    Job("recover", ("recover", "--sparsity", "0.5", "--method", "magnitude", "--steps", "40", "--save-every", "8", "--force", "-o"), checkpoint_of),
)  # fmt: skip


def leftovers(folder: Path) -> tuple[int, int]:
    """Files whose name, or whose folder's name, says that they are parts of something, and their bytes."""
    found = [
        path
        for path in folder.rglob("*")
        if path.is_file() and any(part.endswith(".partial") for part in path.relative_to(folder).parts)
    ]
    return len(found), sum(path.stat().st_size for path in found)


def kill_after(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """The exit code of a process that ended before, else None."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return None


def kill_while_writing(process: subprocess.Popen[bytes], folder: Path, later: float) -> int | None:
    """As `kill_after`, `later` seconds after something partial of this process was seen in `folder`."""
    before = {path: path.stat().st_mtime_ns for path in parts_of(folder)}
    while process.poll() is None:
        for path in parts_of(folder):
            with suppress(OSError):
                if path.stat().st_mtime_ns != before.get(path):
                    return kill_after(process, later)
        time.sleep(0.002)
    return process.returncode


def parts_of(folder: Path) -> list[Path]:
    """What is partial in `folder` and one below."""
    return [*folder.glob(".*.partial"), *folder.glob("*/.*.partial"), *folder.glob("*/*/.*.partial")]


def run_and_kill(job: Job, folder: Path, kills: int, lot: random.Random) -> str:
    """The row of a job."""
    expected_out, out = folder / "whole", folder / "killed" / "out"
    begun = time.perf_counter()
    subprocess.run([*JUNKDNA, *job.arguments, str(expected_out)], check=True, capture_output=True)
    seconds = time.perf_counter() - begun
    expected = job.finished(expected_out)
    killed = lost = most = ended = left = 0
    equal, there = True, dict[str, str]()
    while killed < kills or not ended:
        process = subprocess.Popen([*JUNKDNA, *job.arguments, str(out)], stdout=-3, stderr=-3)
        if killed >= kills:
            code: int | None = process.wait()
        elif killed % 2:
            code = kill_after(process, lot.uniform(0.2, 1.0) * seconds)
        else:
            code = kill_while_writing(process, out.parent, lot.uniform(0, 0.5))
        killed += code is None
        now = job.finished(out)
        lost += sum(now.get(name) != value for name, value in there.items())
        there = now
        if code is None:
            most = max(most, leftovers(out.parent)[1] if out.parent.exists() else 0)
            continue
        ended += 1
        equal = equal and code == 0 and now == expected
        left = max(left, leftovers(out.parent)[1])
        shutil.rmtree(out)
        there = {}
    return f"| `{job.name}` | {killed} | {ended} | {lost} | {most / 1e6:.1f} MB | {left} B | {'yes' if equal else 'NO'} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=[job.name.split()[0] for job in JOBS])
    given = parser.parse_args()
    print(
        "| command | kills | ended well | results lost | most left by a kill | left at an end | as uninterrupted |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | --- |")
    for job in JOBS:
        if given.only in (None, job.name.split()[0]):
            with tempfile.TemporaryDirectory() as folder:
                print(run_and_kill(job, Path(folder), given.kills, random.Random(given.seed)), flush=True)


if __name__ == "__main__":
    main()
