"""Threads of a sweep: no more than OMP_NUM_THREADS says, and the caller's own afterwards."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from junkdna_harness.sweep import Store, build_plan, run_sweep
from junkdna_harness.sweep.engines.local import LocalEngine
from junkdna_harness.sweep.machine import threads_of_each


@pytest.mark.parametrize(
    ("said", "workers", "threads"),
    [("", 1, 8), ("", 3, 2), ("", 9, 1), ("3", 1, 3), ("1", 1, 1), ("3", 4, 2), ("2,1", 1, 2), ("0", 1, 1), ("many", 1, 8)],
)  # fmt: skip
def test_threads_are_a_share_of_the_cores_and_at_most_those_that_are_allowed(
    said: str, workers: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert threads_of_each(workers) == threads


def test_a_sweep_takes_one_thread_where_one_is_allowed_and_gives_the_callers_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    plan = build_plan(tasks="difficulty_tiers_hypernyms_t1", methods="magnitude", sparsity="0.5", limit=2)
    torch.set_num_threads(2)
    try:
        run_sweep(plan, tmp_path / "s", engine=LocalEngine(workers=1))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert {manifest["threads"] for manifest in Store(tmp_path / "s").manifests()} == {1}
