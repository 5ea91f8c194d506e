"""A sweep that lost its folder writes nothing more, and even two in one folder leave no run that counts and is wrong."""

from __future__ import annotations

import json
import multiprocessing
import random
import time
from pathlib import Path

import pytest

from difficulty.errors import UsageError
from difficulty.runs.store import check_run
from junkdna_harness.sweep import Store, build_plan, run_sweep
from junkdna_harness.sweep.engines import Finished
from junkdna_harness.sweep.engines.local import LocalEngine
from junkdna_harness.sweep.evaluated import Evaluated

PLAN = build_plan(
    tasks="difficulty_tiers_copying_t1", methods="magnitude", sparsity="0.1,0.3,0.5,0.7,0.9", limit=6
)


def test_a_sweep_whose_lock_was_taken_over_stops_before_it_writes(tmp_path: Path) -> None:
    folder, there = tmp_path / "s", []

    def steal(event: object) -> None:
        if isinstance(event, Finished) and len(list((folder / "runs").iterdir())) == 2:
            (folder / "lock").unlink()
            (folder / "lock").write_text("another's\n")
            there.extend(sorted(path for path in folder.rglob("*")))

    with pytest.raises(UsageError, match="no longer held by this process"):
        run_sweep(PLAN, folder, engine=LocalEngine(workers=1), listener=steal)
    assert sorted(path for path in folder.rglob("*")) == there
    assert (folder / "lock").read_text() == "another's\n"
    (folder / "lock").unlink()
    outcome = run_sweep(PLAN, folder, engine=LocalEngine(workers=1))
    assert len(outcome.skipped) == 2 and outcome.exit_code == 0


def made(writer: str, turn: int, run: str) -> Evaluated:
    content = f"{writer} {turn} {run} ".encode() * 200
    return Evaluated(
        b"samples " + content, b"responses " + content, {"run": run, "writer": f"{writer} {turn} {run} "}
    )


def write_for_ever(folder: Path, writer: str) -> None:
    """Runs of other contents all the time, without a lock."""
    store, turn = Store(folder), 0
    while True:
        turn += 1
        cell = random.choice(PLAN.cells)
        store.write_run(PLAN, cell, made(writer, turn, PLAN.run_id(cell)))
        if turn % 5 == 0:
            store.write_failure(PLAN, random.choice(PLAN.cells), "failed")


def test_of_two_writers_without_a_lock_that_are_killed_no_run_counts_that_is_a_mixture(
    tmp_path: Path,
) -> None:
    folder, whole, broken = tmp_path / "s", 0, 0
    Store(folder).write_plan(PLAN)
    for _ in range(6):
        writers = [
            multiprocessing.get_context("fork").Process(target=write_for_ever, args=(folder, writer))
            for writer in "AB"
        ]
        for writer in writers:
            writer.start()
        time.sleep(0.3)
        for writer in writers:
            writer.kill()
            writer.join()
        for cell in PLAN.cells:
            stem = PLAN.file_name(cell)
            manifest = folder / "runs" / f"{stem}.json"
            if not manifest.is_file():
                continue
            if check_run(folder, stem) is not None:
                broken += 1
                continue
            whole += 1
            writer = json.loads(manifest.read_text())["writer"].encode()
            for table in ("samples", "responses"):
                assert (
                    folder / table / f"{stem}.parquet"
                ).read_bytes() == table.encode() + b" " + writer * 200
    assert whole > 0
    print(f"{whole} runs that count, {broken} that are evaluated again")
    store = Store(folder)
    with store.locked():  # what is damaged is found, and is whole after it was written by one
        store.adopt(store.joined(PLAN, extend=False))
        for cell in PLAN.cells:
            store.write_run(PLAN, cell, made("C", 0, PLAN.run_id(cell)))
        state = store.state(PLAN)
    assert len(state.whole) == len(PLAN.cells) and not state.damaged
    assert not list(folder.rglob("*.partial")) and not list((folder / "failed").iterdir())
