"""Runs of a small made-up suite, and histories of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from junkdna_harness.gate import Gate, Limits, RunItems, TaskItems, check
from junkdna_harness.gate.history import append
from tests.report.synthetic import item_hash

ITEMS = 200


def task(family: str, tier: int, values: np.ndarray, metric: str = "acc", **others: object) -> TaskItems:
    """A task whose items scored `values`."""
    name = f"{family}_t{tier}"
    ids = tuple(sorted(item_hash(f"{name}{i}") for i in range(len(values))))
    made = TaskItems(
        name, family, "size", tier, metric, 0.0, ids, np.asarray(values, dtype=float), ids, "1.0"
    )
    return replace(made, **others)  # type: ignore[arg-type]


def run(name: str, tasks: Sequence[TaskItems]) -> RunItems:
    """A dense run of one model."""
    about = {"model": "m", "method": "dense", "level": 0.0, "bits": None, "replicate": 0}
    return RunItems(name, about, {one.task: one for one in tasks})


def answers(wrong: int, n: int = ITEMS, first: int = 0) -> np.ndarray:
    """Right (1) but for `wrong` items from number `first` on."""
    values = np.ones(n)
    values[first : first + wrong] = 0
    return values


def two_tiers(name: str, wrong: Sequence[int], n: int = ITEMS) -> RunItems:
    """A family of two tiers with so many wrong answers each."""
    return run(name, [task("addition", tier, answers(w, n)) for tier, w in enumerate(wrong, 1)])


def keep(
    path: Path, runs: Sequence[RunItems], limits: Limits | None = None, rolling: bool = True
) -> list[Gate]:
    """Judge every run but the first against the one before (or the first), and append all decisions to a history."""
    gates = []
    for number, new in enumerate(runs[1:], 1):
        gate = check(new, runs[number - 1] if rolling else runs[0], limits or Limits(0.05))
        append(path, gate, gate.exit_code, f"{number:06d}abc")
        gates.append(gate)
    return gates
