"""Which rows of a tidy table one leaderboard may average: one metric per task, of one kind in all tasks.

Shares (0 to 1) where higher is better are one kind, and count most. Shares where lower is better, shares that nobody knows
the direction of, and each metric that is no share (a perplexity, a length) are kinds of their own. What is of another kind
than most is left out by name, never averaged in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from difficulty.errors import UsageError
from difficulty.runs.direction import bounded
from difficulty.runs.metrics import are_log_likelihoods, choose, higher_is_better, scale_of
from difficulty.runs.table import some
from difficulty.stats.mean import Scale

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Kind:
    """What tasks must share so that their items may be averaged. `metric` is empty for shares, whose names may differ."""

    share: bool
    higher_is_better: bool | None
    scale: Scale
    metric: str

    @property
    def bounded(self) -> bool | None:
        """As `mean_interval` takes it: what is no share is not bounded, whatever the items of one column score."""
        return None if self.share else False

    @property
    def rank(self) -> tuple[bool, int]:
        """Kinds that stand for a table before others: shares, higher better, then lower, then unknown."""
        return not self.share, {True: 0, False: 1, None: 2}[self.higher_is_better]


@dataclass(frozen=True)
class Comparable:
    """`rows` of one metric per task, all of one `kind`; `notes` say what was left out and why."""

    rows: pd.DataFrame = field(repr=False)
    kind: Kind
    notes: tuple[str, ...]


def comparable(items: pd.DataFrame, metric: str | None = None) -> Comparable:
    """The rows that a leaderboard shows. `metric` overrides the choice among a task's metrics.

    Raises:
        UsageError: no task has `metric`, there are no rows, or no task can be shown.
    """
    found = choose(items, metric)
    rows, notes = found.rows, list(found.notes)
    parts = {str(task): part for task, part in rows.groupby("task", sort=True)}
    wrong = [task for task, part in parts.items() if are_log_likelihoods(part)]
    if wrong:
        reason = (
            f"their perplexity is 0 or less, which no perplexity is: {', '.join(wrong)} (log-likelihoods, it seems; give them "
            "as negative ones with a column weight)"
        )
        if len(wrong) == len(parts):
            raise UsageError(f"no task can be shown, as {reason}.")
        notes.append(f"left out, as {reason}")
    kinds = {task: _kind(part) for task, part in parts.items() if task not in wrong}
    by_kind: dict[Kind, list[str]] = {}
    for task, kind in kinds.items():
        by_kind.setdefault(kind, []).append(task)
    chosen = min(by_kind, key=lambda kind: (kind.rank, -len(by_kind[kind]), kind.metric))
    for kind, tasks in by_kind.items():
        if kind != chosen:
            notes.append(
                f"left out, as {_why(kind)} and cannot be averaged with the others: {', '.join(tasks)} (see them with --select task=...)"
            )
    if chosen.higher_is_better is None:
        notes.append(
            f"whether higher {some(sorted(rows['metric'].unique()))} is better is not known, so nothing is compared with dense"
        )
    rows = rows[rows["task"].isin(by_kind[chosen])]
    whole, absent = _in_every_run(rows)
    if whole:
        rows, notes = rows[rows["task"].isin(whole)], [*notes, *absent]
    return Comparable(rows, chosen, tuple(notes))


def weights_of(rows: pd.DataFrame, keyed: pd.DataFrame) -> np.ndarray | None:
    """The weight of each item of `keyed` (columns task, item_id); None where items have none.

    Raises:
        UsageError: an item has another weight in another run, or none.
    """
    if "weight" not in rows or rows["weight"].isna().all():
        return None
    known = (
        rows[["task", "item_id", "weight"]]
        .assign(weight=rows["weight"].astype(float).round(9))
        .drop_duplicates()
    )
    twice = known[known.duplicated(["task", "item_id"]) | ~(known["weight"] > 0)]
    if len(twice):
        raise UsageError(
            f"{len(twice)} items of task {twice['task'].iloc[0]!r} have no weight, or other weights in other runs: their words or "
            "bytes are counted differently. Evaluate all runs with the same version of the task."
        )
    merged = keyed[["task", "item_id"]].merge(known, how="left", on=["task", "item_id"])
    found: np.ndarray = merged["weight"].to_numpy(dtype=float)
    return found


def require_same_items(rows: pd.DataFrame) -> None:
    """Every run must have every item, once: an average over other items is another number.

    Raises:
        UsageError: names the runs, the task and some of the items.
    """
    twice = rows[rows.duplicated(["run", "task", "item_id", "metric"])]
    if len(twice):
        first = twice.iloc[0]
        raise UsageError(
            f"run {first['run']!r} has {len(twice)} items twice, e.g. {str(first['item_id'])[:16]!r} of task {first['task']!r}. "
            "Give one evaluation of each item."
        )
    items = rows[["task", "item_id", "cluster_id"]].drop_duplicates()
    split = items[items.duplicated(["task", "item_id"])]
    if len(split):
        raise UsageError(
            f"{len(split)} items have another cluster in another run, e.g. {str(split['item_id'].iloc[0])[:16]!r} of task "
            f"{split['task'].iloc[0]!r}. Evaluate all runs with the same version of the task."
        )
    for task, part in rows.groupby("task", sort=True):
        sets = {str(run): set(ids) for run, ids in part.groupby("run")["item_id"]}
        everything = set().union(*sets.values())
        for run in rows["run"].unique():
            absent = everything - sets.get(str(run), set())
            if absent:
                some = ", ".join(sorted(str(a)[:16] for a in absent)[:3])
                whole = (
                    "no items"
                    if str(run) not in sets
                    else f"{len(absent)} of {len(everything)} items missing ({some})"
                )
                raise UsageError(
                    f"run {run!r} has {whole} of task {task!r}: other items, or another version of the task. "
                    "Evaluate all runs alike, or leave some out with --select."
                )


def _in_every_run(rows: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Tasks that every run has samples of, and a note on each other one."""
    names = set(rows["run"].unique())
    whole, absent = [], []
    for task, runs in rows.groupby("task")["run"].unique().items():
        lacking = sorted(names - set(runs))
        if lacking:
            absent.append(
                f"left out: task {task!r}, of which {some(lacking, 3)} {'have' if len(lacking) > 1 else 'has'} no samples"
            )
        else:
            whole.append(str(task))
    return whole, absent


def _kind(part: pd.DataFrame) -> Kind:
    metric, read, higher = str(part["metric"].iloc[0]), scale_of(part), higher_is_better(part)
    share = read == "mean" and bounded(metric) is not False and bool(part["value"].between(0, 1).all())
    return Kind(share, False if read != "mean" else higher, read, "" if share else metric)


def _why(kind: Kind) -> str:
    if not kind.share:
        return "their metric is no share"
    return (
        "lower is better" if kind.higher_is_better is False else "it is not known which way they are better"
    )
