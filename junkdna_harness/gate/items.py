"""One run as the gate sees it: for each task, the items and what each of them scored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from difficulty.errors import UsageError, did_you_mean
from difficulty.judge.panel import PREFERRED as ACCURACIES
from difficulty.runs.table import some

if TYPE_CHECKING:
    import pandas as pd

# What a task is judged by when it logs several metrics: the first of these that it has.
PREFERRED = (*ACCURACIES, "word_perplexity", "byte_perplexity", "bits_per_byte", "perplexity")
_LOWER_IS_BETTER = ("perplexity", "bits_per_byte", "loss", "nll", "brier", "wer", "ter", "error", "latency")


@dataclass(frozen=True)
class TaskItems:
    """The items of one task. `item_ids`, `clusters` and `values` have the same length and order."""

    task: str
    family: str
    axis: str
    tier: int
    metric: str
    chance: float
    item_ids: tuple[str, ...]
    values: NDArray[np.float64] = field(repr=False)
    clusters: tuple[str, ...] = field(repr=False)
    version: str | None = None
    id_length: int | None = None  # ids were cut to this many characters, as in a baseline file

    def keys(self, id_length: int | None) -> tuple[str, ...]:
        """The item ids as they are written in a file whose ids are cut to `id_length` characters."""
        return tuple(_cut(item, id_length) for item in self.item_ids) if id_length else self.item_ids


@dataclass(frozen=True)
class RunItems:
    """All tasks of one run, by name, and who made them: `about` holds model, method, level, bits, replicate."""

    name: str
    about: Mapping[str, object]
    tasks: Mapping[str, TaskItems]


def lower_is_better(metric: str, extra: Iterable[str] = ()) -> bool:
    """True for metrics where more is worse: perplexity, bits per byte, losses and error rates, and those in `extra`."""
    return metric in set(extra) or any(word in metric.lower().replace(",", "_") for word in _LOWER_IS_BETTER)


def runs_in(table: pd.DataFrame) -> list[str]:
    """The ids of the runs in a tidy table, in the order of their first row."""
    return [str(run) for run in table["run"].unique()]


def run_items(
    table: pd.DataFrame,
    run: str | None = None,
    metric: str | None = None,
    versions: Mapping[str, str] | None = None,
) -> RunItems:
    """One run of a tidy table. `metric` overrides the choice among a task's metrics (see `PREFERRED`).

    Raises:
        UsageError: the table has no rows, several runs and none named, a run or metric that is not there,
            or an item twice.
    """
    if len(table) == 0:
        raise UsageError(
            "the run holds no items. Evaluate with --log_samples, so that there is something to compare."
        )
    names = runs_in(table)
    if run is None and len(names) > 1:
        raise UsageError(
            f"there are {len(names)} runs ({some(names)}). Say which one, e.g. --run {names[0]}."
        )
    if run is not None and run not in names:
        raise UsageError(f"there is no run {run!r}.{did_you_mean(run, names)} Runs: {some(names)}.")
    wanted = names[0] if run is None else run
    rows = table[table["run"].astype(str) == wanted]
    tasks = {
        str(task): _task_items(str(task), part, metric, (versions or {}).get(str(task)))
        for task, part in rows.groupby("task", sort=True)
    }
    first = rows.iloc[0]
    about = {key: _plain(first[key]) for key in ("model", "method", "level", "bits", "replicate")}
    return RunItems(wanted, about, tasks)


def _task_items(task: str, rows: pd.DataFrame, metric: str | None, version: str | None) -> TaskItems:
    chosen = _choose_metric(task, [str(m) for m in rows["metric"].unique()], metric)
    rows = rows[rows["metric"] == chosen].sort_values("item_id", kind="stable")
    ids = tuple(str(i) for i in rows["item_id"])
    if len(set(ids)) != len(ids):
        seen: set[str] = set()
        twice = [i for i in ids if i in seen or seen.add(i)]  # type: ignore[func-returns-value]
        raise UsageError(
            f"task {task!r} holds {len(twice)} items twice ({some(twice)}). Give one evaluation of each item."
        )
    values = rows["value"].to_numpy(dtype=float)
    if not np.isfinite(values).all():
        bad = [ids[i] for i in np.flatnonzero(~np.isfinite(values))]
        raise UsageError(
            f"task {task!r} has {len(bad)} items whose {chosen} is not a number ({some(bad)}). Evaluate them again."
        )
    first = rows.iloc[0]
    return TaskItems(
        task=task,
        family=str(first["family"]),
        axis=str(first["axis"]),
        tier=int(first["tier"]),
        metric=chosen,
        chance=float(first["chance"]),
        item_ids=ids,
        values=values,
        clusters=tuple(str(c) for c in rows["cluster_id"]),
        version=version,
    )


def _cut(item: str, length: int) -> str:
    """The first characters of an id without blanks; a copy's number (`#2`) stays."""
    name, mark, copy = item.partition("#")
    return quote(name)[:length] + mark + quote(copy)


def _choose_metric(task: str, present: list[str], wanted: str | None) -> str:
    if wanted is not None:
        if wanted not in present:
            raise UsageError(
                f"task {task!r} has no metric {wanted!r}.{did_you_mean(wanted, present)} It has: {', '.join(sorted(present))}."
            )
        return wanted
    for name in PREFERRED:
        for metric in present:
            if metric.split(",")[0] == name:
                return metric
    return min((m for m in present if m != "margin"), default=present[0])


def _plain(value: object) -> object:
    """A value of a table cell as plain Python; None for a missing one."""
    if hasattr(value, "item"):
        value = value.item()
    return None if value is None or value != value else value
