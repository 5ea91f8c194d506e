"""What a sweep loses when a part of it is killed: on a Ray cluster of two nodes, and with the local pool of processes.

    python benchmarks/ray_cluster.py [NUMBER ...]

Each case (all, or those with the given numbers) is a sweep of ten cells of the embedded model with `junkdna sweep`, in which something is killed when three cells are
done. Where the command ends before all cells are there, it is started again. Printed per case: exit codes, cells that are missing at the
end, cells that were stored twice by one command, differences from the folder of a sweep that nobody disturbed, seconds.
Both nodes of the cluster are raylets on this machine, with one core and an object store of 80 MB each.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.sweep.same_store import differences  # noqa: E402

TASK, METHOD, CELLS = "difficulty_tiers_copying_t1", "tests.sweep.methods:troubled", 10
PATIENCE = 480.0
COMMAND = "from junkdna_harness.cli import main; main()"


@dataclass
class Case:
    """What is killed, who runs the cells, what the method does once (`orders`), and what the folder then lacks on purpose."""

    name: str
    engine: str
    kill: str = ""
    orders: tuple[str, ...] = ()
    more: str = ""  # a second method, which fails always
    again: str = ""  # the engine of the second start, where it is another
    differs: tuple[str, ...] = ()
    settings: dict[str, str] = field(default_factory=dict)


CASES = [
    Case("a node (its raylet, SIGKILL)", "ray", "node"),
    Case("the driver (SIGKILL)", "ray", "driver"),
    Case("a worker (SIGKILL)", "ray", orders=("do-1-kill",)),
    Case("three workers, one after another", "ray", orders=("do-1-kill", "do-2-kill", "do-3-kill")),
    Case("each worker at one cell", "ray", more="tests.sweep.methods:dies"),
    Case("a worker that takes all memory", "ray", orders=("do-1-eat",)),
    Case("each worker at one cell, for memory", "ray", more="tests.sweep.methods:eats"),
    Case("a result of 200 MB, store of 80 MB", "ray", orders=("do-1-huge",), differs=("responses", "runs")),
    Case("the head (raylet and GCS), then local", "ray", "head", again="local"),
    Case("the driver's raylet, then local", "ray", "raylet", again="local"),
    Case("a worker (SIGKILL)", "local", orders=("do-1-kill",)),
    Case("each worker at one cell", "local", more="tests.sweep.methods:dies"),
    Case("the driver (SIGKILL)", "local", "driver"),
]


def command(folder: Path, engine: str, more: str) -> list[str]:
    """The sweep."""
    methods = f"{METHOD},{more}" if more else METHOD
    grid = (
        ["--methods", methods, "--sparsity", "0.1:0.9:0.1"]
        if not more
        else ["--methods", methods, "--sparsity", "0.3"]
    )
    workers = ["--workers", "2"] if engine == "local" else []
    sweep = ["sweep", "--tasks", TASK, *grid, "--limit", "6", "--engine", engine, *workers, "-o", str(folder)]
    return [sys.executable, "-c", COMMAND, *sweep]


@contextlib.contextmanager
def cluster(settings: dict[str, str]) -> Iterator[Any]:
    """A head with one core, and a second node."""
    from ray.cluster_utils import Cluster

    before = dict(os.environ)
    os.environ.update(settings)
    node = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    made = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        made.add_node(**node)
        os.environ["RAY_ADDRESS"] = made.address
        yield made
    finally:
        made.shutdown()
        os.environ.clear()
        os.environ.update(before)


def kill(what: str, driver: subprocess.Popen[bytes], ray: Any) -> None:
    """End a part of a sweep without a word."""
    if what == "driver":
        driver.kill()
        return
    node = ray.head_node if what in ("head", "raylet") else next(iter(ray.worker_nodes))
    for name in ("raylet", "gcs_server") if what == "head" else ("raylet",):
        for process in node.all_processes[name]:
            os.kill(process.process.pid, signal.SIGKILL)


def stored(folder: Path) -> int:
    """How many manifests are there."""
    return len(list((folder / "runs").glob("*.json")))


def start(case: Case, folder: Path, engine: str, ray: Any, what: str) -> tuple[int, str]:
    """Exit code and output of one start, in which `what` is killed."""
    with (folder.parent / "output").open("w+b") as output:
        driver = subprocess.Popen(command(folder, engine, case.more), stdout=output, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + PATIENCE
        while what and stored(folder) < 3 and driver.poll() is None:
            time.sleep(0.05)
        if what:
            kill(what, driver, ray)
        with contextlib.suppress(subprocess.TimeoutExpired):
            driver.wait(max(deadline - time.monotonic(), 1))
        if driver.poll() is None:
            driver.kill()
            driver.wait()
            return 999, "hangs"
        output.seek(0)
        return driver.returncode, output.read().decode(errors="replace")


def memory_threshold() -> str:
    """The share of memory at which Ray ends a worker: somewhat above what is taken now."""
    facts = dict(re.findall(r"(\w+):\s+(\d+)", Path("/proc/meminfo").read_text()))
    taken = 1 - int(facts["MemAvailable"]) / int(facts["MemTotal"])
    return f"{taken + 0.1:.3f}"


def carry_out(case: Case, place: Path, undisturbed: Path) -> str:
    """A row of the table."""
    folder, marks = place / "sweep", place / "marks"
    marks.mkdir(parents=True)
    for order in case.orders:
        (marks / order).touch()
    os.environ["JUNKDNA_TEST_MARK"] = str(marks)
    settings = dict(case.settings)
    if "memory" in case.name:
        settings |= {"RAY_memory_usage_threshold": memory_threshold(), "RAY_memory_monitor_refresh_ms": "100"}
    begun, codes, twice, said = time.perf_counter(), [], 0, ""
    with cluster(settings) if case.engine == "ray" else contextlib.nullcontext() as ray:
        engine, what = case.engine, case.kill
        for _ in range(2):
            code, text = start(case, folder, engine, ray, what)
            codes.append(code)
            ended = Counter(re.findall(r"^\[\d+\] (.*?)(?:: | FAILED)", text, re.MULTILINE))
            twice += sum(count - 1 for count in ended.values())
            said = "; ".join(re.findall(r"^(?:junkdna: (?!note)|failed: ).*", text, re.MULTILINE)) or said
            if code == 0 or case.more:
                break
            engine, what = case.again or engine, ""
    cells = 3 if case.more else CELLS
    expected = 1 if case.more else 0  # cells that fail always
    found = [] if case.more else differences(folder, undisturbed)
    found = [name for name in found if not name.startswith(case.differs or ("?",))]
    row = f"| {case.engine} | {case.name} | {', '.join(map(str, codes))} | {cells - stored(folder) - expected} | {twice} | {len(found)} | "
    return f"{row}{time.perf_counter() - begun:.0f} |" + (f"\n    {said}" if said else "")


def main(wanted: list[str]) -> None:
    """Print the table."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as place:
        whole = Path(place) / "whole"
        (Path(place) / "none").mkdir()
        os.environ["JUNKDNA_TEST_MARK"] = str(Path(place) / "none")
        subprocess.run(command(whole, "local", ""), check=True, capture_output=True)
        print("| engine | killed | exit codes | cells lost | stored twice | files that differ | seconds |")
        print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
        for number in map(int, wanted or range(len(CASES))):
            print(carry_out(CASES[number], Path(place) / str(number), whole), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
