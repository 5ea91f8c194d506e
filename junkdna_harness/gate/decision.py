"""One decision of the gate as a line of a history (`gate.history`): who was judged, by what, with what outcome, item by item."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from difficulty.stats.result import Floats
from junkdna_harness.gate.items import RunItems
from junkdna_harness.gate.packed import pack, unpack
from junkdna_harness.gate.pairs import Paired, pair_items
from junkdna_harness.gate.rule import Comparison, Gate
from junkdna_harness.gate.suite import Suite, content_sha256, short_ids, suite_of

KIND = "junkdna-gate"
SCHEMA = 1
COLUMNS = (
    "name",
    "kind",
    "severity",
    "metric",
    "cells",
    "limit",
    "before",
    "after",
    "loss",
    "low",
    "high",
    "n",
    "verdict",
)


def decision(
    gate: Gate, exit_code: int, commit: str | None, looks: int | None
) -> tuple[Suite, dict[str, Any]]:
    """The suite that was judged, and the line as plain values. `looks`: of a sequential gate."""
    new, baseline = gate.new, gate.baseline
    pairs = {
        key: pair_items(new.tasks[key], old, None)[0]
        for key, old in baseline.tasks.items()
        if key in new.tasks
    }
    positions = {key: (pair.at_old, pair.at_new) for key, pair in pairs.items()}
    suite = suite_of(baseline, new, positions, gate.policy)
    outcomes = [_outcomes(task.n_items, pairs.get(task.key)) for task in suite.tasks]
    policy = asdict(gate.policy)
    policy.pop("name")  # where the file lies
    return suite, {
        "kind": KIND,
        "schema": SCHEMA,
        "time": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": commit,
        "junkdna_version": version("junkdna-harness"),
        "verdict": gate.verdict,
        "exit_code": exit_code,
        "new": _who(new),
        "baseline": _who(baseline),
        "policy": content_sha256(policy),
        "suite": suite.sha256,
        "items": int(sum((~np.isnan(values)).sum() for values in outcomes)),
        "looks": looks,
        "missing": list(gate.missing),
        "text": [
            {"name": one.name, "value": _short(one.value), "limit": one.limit, "verdict": one.verdict}
            for one in gate.text
        ],
        "comparisons": _columns(gate.comparisons, suite, gate.alpha),
        "outcomes": [pack(values) for values in outcomes],
    }


def run_sha256(run: RunItems) -> str:
    """Hash of what every item scored: the same for a run and for the baseline file that was written from it."""
    tasks = [
        [key, task.metric, content_sha256(short_ids(task)), task.values.astype("<f8").tobytes().hex()]
        for key, task in sorted(run.tasks.items())
    ]
    return content_sha256(tasks)


def _outcomes(n_items: int, pair: Paired | None) -> Floats:
    found = np.full(n_items, np.nan)
    if pair is not None:
        found[list(pair.at_old)] = pair.after
    return found


def _who(run: RunItems) -> dict[str, Any]:
    return {"run": run.name, **run.about, "sha256": run_sha256(run), "weights_sha256": run.weights_sha256}


def _columns(comparisons: Sequence[Comparison], suite: Suite, alpha: float) -> dict[str, Any]:
    """The comparisons as columns; one that is the same for all of them stands there once."""
    rows = []
    for one in comparisons:
        low, high = one.loss.bounds(alpha)
        rows.append(
            {
                "name": one.name,
                "kind": one.planned.kind,
                "severity": one.severity,
                "metric": one.metric,
                "cells": _cells_to_json(one, suite),
                "limit": _short(one.limit),
                "before": _short(one.loss.before),
                "after": _short(one.loss.after),
                "loss": _short(one.loss.loss),
                "low": _short(low),
                "high": _short(high),
                "n": one.loss.n_items,
                "verdict": one.verdict,
            }  # fmt: skip
        )
    columns: dict[str, Any] = {}
    for name in COLUMNS:
        cells = [row[name] for row in rows]
        alike = name not in ("name", "cells") and all(cell == cells[0] for cell in cells)
        columns[name] = cells[0] if alike else cells
    return columns


def _cells_to_json(one: Comparison, suite: Suite) -> str:
    """The tasks that a comparison is about, by their number in the suite (`0-3 7`); with bits where it is about some items alone."""
    parts: list[str] = []
    run: list[int] = []
    for number, task in enumerate(suite.tasks):
        positions = one.planned.cells.get(task.key)
        if positions is None:
            continue
        if len(positions) == task.n_items:
            if run and run[-1] == number - 1:
                run.append(number)
                parts[-1] = f"{run[0]}-{number}"
            else:
                run = [number]
                parts.append(str(number))
        else:
            run = []
            chosen = np.zeros(task.n_items)
            chosen[positions] = 1
            parts.append(f"{number}:{pack(chosen)}")
    return " ".join(parts)


def cells_from_json(text: str, suite: Suite) -> dict[str, NDArray[np.intp]]:
    """Task -> positions of the items that a comparison is about.

    Raises:
        ValueError: it names no tasks of the suite.
    """
    found = {}
    for part in text.split():
        numbers, _, bits = part.partition(":")
        first, _, last = numbers.partition("-")
        for number in range(int(first), int(last or first) + 1):
            task = suite.tasks[number]
            found[task.key] = (
                np.flatnonzero(unpack(bits, task.n_items) > 0.5) if bits else np.arange(task.n_items)
            )
    if not found:
        raise ValueError("a comparison of no task")
    return found


def _short(value: float) -> float | None:
    """Six digits, enough to read; the outcomes are exact."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
