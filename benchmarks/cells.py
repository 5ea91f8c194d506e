"""A sweep of very many cells: how long it takes to start where all but one are finished, and to show the folder.

    python benchmarks/cells.py FOLDER [CELLS] [ENTRIES]

evaluates one cell of the embedded model into FOLDER/sweep, copies it under the names of CELLS - 1 others (default: 10,000 cells: magnitude
pruning at that many levels; a folder that is there is used again), and measures each step that `junkdna sweep` takes on such a
folder. Then the gate's history: ENTRIES decisions (default: as many as cells) in FOLDER/history.jsonl, to which one more is
appended, and of which the trend is read.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from difficulty.runs import store as layout
from junkdna_harness.gate.history import append, read_history
from junkdna_harness.gate.trend import trend
from junkdna_harness.sweep.display import print_plan, print_summary
from junkdna_harness.sweep.engines.local import LocalEngine
from junkdna_harness.sweep.evaluated import parquet_bytes
from junkdna_harness.sweep.plan import Plan, build_plan
from junkdna_harness.sweep.run import run_sweep
from junkdna_harness.sweep.store import Store

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.gate.made_up import keep, two_tiers

TASK = "difficulty_tiers_copying_t1"


def plan_of(cells: int) -> Plan:
    """The dense model and magnitude pruning at all other levels."""
    levels = [round((i + 1) / (cells + 1), 6) for i in range(cells - 1)]
    return build_plan(tasks=TASK, methods="magnitude", sparsity=levels, limit=4)


def fill(folder: Path, plan: Plan) -> None:
    """All cells of `plan` but the last, as finished runs."""
    small = build_plan(tasks=TASK, methods="magnitude", sparsity=[plan.cells[1].level], limit=4)
    store = Store(folder)
    run_sweep(small, folder, engine=LocalEngine(workers=1))
    store.write_plan(plan)
    one = small.cells[1]
    manifest = layout.read_manifest(folder, small.file_name(one))
    samples = pd.read_parquet(layout.table_path(folder, layout.SAMPLES, small.file_name(one)))
    responses = layout.table_path(folder, layout.RESPONSES, small.file_name(one))
    for cell in plan.cells[2:-1]:
        stem, run = plan.file_name(cell), plan.run_id(cell)
        content = parquet_bytes(samples.assign(run=run, level=cell.level))
        layout.table_path(folder, layout.SAMPLES, stem).write_bytes(content)
        shutil.copy(responses, layout.table_path(folder, layout.RESPONSES, stem))
        made_of = {**manifest["made_of"], "arguments": dict(cell.arguments)}
        files = {**manifest["files"], layout.SAMPLES: hashlib.sha256(content).hexdigest()}
        record = {**manifest, "run": run, "level": cell.level, "made_of": made_of, "files": files}
        layout.manifest_path(folder, stem).write_text(json.dumps(record, indent=1))


def measured(name: str, function: Callable[[], Any]) -> Any:
    """What the function returns, with a line on how long it took, and on the processor's time (others may work on the machine)."""
    started, used = time.perf_counter(), time.process_time()
    found = function()
    print(
        f"{name:60} {time.perf_counter() - started:8.2f} s {time.process_time() - used:8.2f} s of CPU",
        flush=True,
    )
    return found


def quietly(function: Callable[[], Any]) -> Any:
    """What it returns; what it prints is not shown."""
    shown, sys.stdout = sys.stdout, io.StringIO()
    try:
        return function()
    finally:
        sys.stdout = shown


def sweep(folder: Path, cells: int) -> None:
    """The steps of a sweep on a folder of many cells."""
    plan = measured(f"plan of {cells:,} cells", lambda: plan_of(cells))
    if folder.exists():
        Store(folder).discard(plan, plan.cells[-1])
    else:
        measured("write all but one", lambda: fill(folder, plan))
    measured("hash all files", lambda: [layout.file_sha256(p) for p in folder.glob("[sr]*/*.parquet")])
    store = Store(folder)
    measured("read the plan", store.plan)
    measured("compare the plans", lambda: store.joined(plan, extend=False))
    measured("--dry-run", lambda: quietly(lambda: print_plan(plan, folder)))
    measured("state of the folder", lambda: store.state(plan))
    begun = time.perf_counter()
    first: list[float] = []

    def hear(_: object) -> None:
        first.append(time.perf_counter() - begun)

    outcome = measured(
        "sweep with one cell left",
        lambda: run_sweep(plan, folder, engine=LocalEngine(workers=1), listener=hear),
    )
    assert len(outcome.finished) == 1 and len(outcome.skipped) == cells - 1
    print(f"{'  of which until its model is loaded':60} {first[0]:8.2f} s")
    measured("sweep with none left", lambda: run_sweep(plan, folder))
    measured("summary", lambda: quietly(lambda: print_summary(outcome)))
    measured("table of all samples", store.samples)


def history(path: Path, entries: int) -> None:
    """A file of decisions, all of them like two that are made here."""
    path.unlink(missing_ok=True)
    runs = [two_tiers("base", (1, 2)), two_tiers("first", (3, 4)), two_tiers("second", (5, 6))]
    gates = keep(path, runs)
    line = json.loads(path.read_text().splitlines()[-1])
    with path.open("a") as handle:
        for number in range(2, entries):
            digest = hashlib.sha256(str(number).encode()).hexdigest()
            record = {**line, "commit": digest, "new": {**line["new"], "sha256": digest}}
            handle.write(json.dumps(record, separators=(",", ":")) + "\n")
    print(f"{'a history of':60} {entries:8,} entries, {path.stat().st_size / 1e6:.1f} MB")
    measured("check --history", lambda: append(path, gates[-1], 0, "one more"))
    found = measured("read it", lambda: read_history(path))
    assert len(found.entries) == entries + 1
    measured("check --trend", lambda: trend(found))


if __name__ == "__main__":
    place, number = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
    sweep(place / "sweep", number)
    history(place / "history.jsonl", int(sys.argv[3]) if len(sys.argv) > 3 else number)
