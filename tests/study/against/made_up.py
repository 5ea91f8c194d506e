"""Points and runs with a known truth, made without a model and without any point of the paper."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from difficulty.runs.table import validate
from junkdna_harness.study.against.ours import Ours, ours_of

HEAD = "figure,panel,series,level,value"
Task = tuple[str, str, int, float]  # family, axis, tier, chance
TIERS: Mapping[str, Task] = {
    "difficulty_tiers_x_t1": ("x", "a", 1, 0.0),
    "difficulty_tiers_x_t2": ("x", "a", 2, 0.0),
    "difficulty_tiers_y_t1": ("y", "a", 1, 0.5),
    "difficulty_tiers_y_t3": ("y", "a", 3, 0.5),
}
LEVELS = (0.2, 0.4, 0.6, 0.8)


def points(folder: Path, *rows: str, head: str = HEAD) -> Path:
    """A CSV with some rows."""
    path = folder / "points.csv"
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return path


def line(figure: str, panel: str, series: str, values: Mapping[Any, float]) -> list[str]:
    """The rows of one series."""
    return [f"{figure},{panel},{series},{level},{value}" for level, value in values.items()]


def table(
    tasks: Mapping[str, Task],
    runs: Sequence[tuple[str, float]],
    score: Callable[[str, str, float], float],
    n: int = 100,
    models: Sequence[str] = ("m",),
) -> pd.DataFrame:
    """A tidy table in which `score(task, method, level)` of the items of each task are right, the first ones."""
    rows = []
    for model in models:
        for method, level in runs:
            for task, (family, axis, tier, chance) in tasks.items():
                right = round(n * score(task, method, level))
                rows += [
                    {
                        "model": model, "method": method, "level": level, "bits": None, "replicate": 0, "task": task, "family": family,
                        "axis": axis, "tier": tier, "item_id": f"{task}-{i}", "metric": "acc", "value": float(i < right), "chance": chance,
                    }
                    for i in range(n)
                ]  # fmt: skip
    return validate(pd.DataFrame(rows))


def ours(
    tasks: Mapping[str, Task] = TIERS,
    methods: Sequence[str] = ("magnitude",),
    score: Callable[[str, str, float], float] = lambda task, method, level: 1 - level,
    levels: Sequence[float] = LEVELS,
    plan: Mapping[str, object] | None = None,
    models: Sequence[str] = ("m",),
) -> Ours:
    """The one model of such a table; methods of dense are at level 0."""
    runs = [("dense", 0.0)]
    runs += [(m, 0.0) for m in methods if m.startswith("dense")]
    runs += [(m, level) for m in methods if not m.startswith("dense") for level in levels]
    return ours_of(table(tasks, runs, score, models=models), plan or {})[0]
