"""Two runs put side by side: the same tasks, asked alike, item by item, by one metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from difficulty.errors import UsageError, did_you_mean
from difficulty.runs.direction import scale
from difficulty.runs.metrics import are_log_likelihoods, choose, scale_of
from difficulty.runs.read import Runs
from difficulty.runs.same import (
    different_prompts,
    different_settings,
    different_versions,
    require_same,
    tasks_without_prompts,
    unknown_prompts,
)
from difficulty.runs.table import SCALE, WEIGHT, some
from difficulty.stats.clusters import linked_codes
from difficulty.stats.mean import Scale


@dataclass(frozen=True)
class Side:
    """One of the two runs: `run` of what was `read` from `folder` (as the user named it)."""

    folder: str
    run: str
    read: Runs = field(repr=False)


@dataclass(frozen=True)
class Pair:
    """The same items of one task in both runs, arrays of shape (n_items,). `scale` and `weights` as in `paired_loss`."""

    task: str
    metric: str
    items: list[str]
    clusters: np.ndarray = field(repr=False)
    first: np.ndarray = field(repr=False)
    second: np.ndarray = field(repr=False)
    scale: Scale = "mean"
    weights: np.ndarray | None = field(default=None, repr=False)


def pair_up(
    sides: tuple[Side, Side], tasks: Sequence[str], metric: str | None, allow_different_prompts: bool
) -> tuple[list[Pair], list[str]]:
    """Each task's items in both runs, and what to say of the runs. `tasks` empty: all that both have.

    Raises:
        UsageError: no task in common, other prompts or versions, other items of a task, or another metric.
    """
    tables = [side.read.rows(side.run) for side in sides]
    notes = [note for side in sides for note in side.read.warnings]
    chosen = _common(tables, sides, tasks)
    alone = sorted({t for table in tables for t in table["task"].unique()} - set(chosen)) if not tasks else []
    if alone:
        notes.append(f"only one of the two runs has {some(alone)}: not compared.")
    tables = [table[table["task"].isin(chosen)] for table in tables]
    lettered = dict(zip("AB", sides, strict=True))
    versions = {
        letter: {task: version for task, version in side.read.versions(side.run).items() if task in chosen}
        for letter, side in lettered.items()
    }
    settings = {letter: side.read.settings(side.run) for letter, side in lettered.items()}
    problems = (
        different_versions(versions),
        different_prompts(*tables),
        different_settings(settings, tasks_without_prompts(*tables)),
    )
    notes += (*require_same(problems, allow_different_prompts), *unknown_prompts(*tables))
    return _paired(tables, sides, metric, notes), notes


def _common(tables: Sequence[pd.DataFrame], sides: Sequence[Side], tasks: Sequence[str]) -> list[str]:
    """The tasks to compare: those named, or all that both runs have."""
    having = [list(dict.fromkeys(table["task"])) for table in tables]
    for task in tasks:
        for names, side in zip(having, sides, strict=True):
            if task not in names:
                raise UsageError(
                    f"{side.folder!r} has no samples of {task!r}; it has {some(names)}.{did_you_mean(task, names)}"
                )
    chosen = list(tasks) or [task for task in having[0] if task in set(having[1])]
    if not chosen:
        raise UsageError(
            f"{sides[0].folder!r} has {some(having[0])} and {sides[1].folder!r} has {some(having[1])}: no task in common. "
            "Evaluate both on the same tasks."
        )
    return chosen


def _paired(
    tables: Sequence[pd.DataFrame], sides: Sequence[Side], metric: str | None, notes: list[str]
) -> list[Pair]:
    """Each task's items in both runs, by one metric.

    Raises:
        UsageError: the runs hold other items of a task.
    """
    both = pd.concat(
        [table.assign(run=letter) for letter, table in zip("AB", tables, strict=True)], ignore_index=True
    )
    judged = choose(both, metric)
    notes += judged.notes
    sides_of = [_by_task(judged.rows[judged.rows["run"] == letter]) for letter in "AB"]
    found = []
    for task, a in sides_of[0].items():
        b = sides_of[1][task]
        _same_items(a.items, b.items, sides, task)
        place = {item: i for i, item in enumerate(b.items)}
        at = np.array([place[item] for item in a.items])
        metric = judged.metrics[task]
        read = _same_scale(a, b, at, task, metric)
        clusters = linked_codes(a.clusters.tolist(), b.clusters[at].tolist())
        found.append(Pair(task, metric, a.items, clusters, a.values, b.values[at], read, a.weights))
    if any(pair.scale != "mean" for pair in found):
        notes.append(
            "perplexities and bits are those of all items together, not means of items; lower is better, so B - A above 0 is a loss."
        )
    return found


@dataclass(frozen=True)
class _Scored:
    """What one run scored on the items of one task, arrays of shape (n_items,)."""

    items: list[str]
    values: np.ndarray
    clusters: np.ndarray
    scale: Scale
    weights: np.ndarray | None


def _by_task(rows: pd.DataFrame) -> dict[str, _Scored]:
    """Task -> what was scored. Plain arrays: slicing a table for each of thousands of tasks takes long."""
    items, clusters = rows["item_id"].to_numpy(dtype=object), rows["cluster_id"].to_numpy(dtype=str)
    values = rows["value"].to_numpy(dtype=float)
    given = rows[WEIGHT].to_numpy(dtype=float) if WEIGHT in rows else None
    special = _special(rows)
    found = {}
    for name, at in rows.groupby("task", sort=False).indices.items():
        task = str(name)
        read: Scale = "mean"
        if task in special:
            part = rows.iloc[at]
            read = scale_of(part)
            if are_log_likelihoods(part):
                raise UsageError(
                    f"task {task!r} has a {part['metric'].iloc[0]} of 0 or less, which no perplexity is: its items seem to be "
                    "log-likelihoods. Give them as negative log-likelihoods with a column weight."
                )
        weights = None if given is None or np.isnan(given[at]).all() else np.nan_to_num(given[at], nan=1.0)
        found[task] = _Scored(list(items[at]), values[at], clusters[at], read, weights)
    return found


def _special(rows: pd.DataFrame) -> set[str]:
    """The tasks whose metric may be no mean of items."""
    odd = rows["metric"].isin([name for name in rows["metric"].unique() if scale(str(name), True) != "mean"])
    if SCALE in rows:
        odd |= rows[SCALE].notna() & (rows[SCALE] != "mean")
    return {str(task) for task in rows.loc[odd, "task"].unique()}


def _same_scale(a: _Scored, b: _Scored, at: np.ndarray, task: str, metric: str) -> Scale:
    """The scale of the metric in both runs.

    Raises:
        UsageError: one run logged it in another way, or other weights for the same items.
    """
    one, other = a.weights is None, b.weights is None
    if a.scale != b.scale or one != other:
        raise UsageError(
            f"{metric} of task {task!r} is logged in another way in the two runs (with and without weights, or units), so that they "
            "do not compare. Evaluate both with the same version of lm-eval."
        )
    if (
        a.weights is not None
        and b.weights is not None
        and not np.allclose(a.weights, b.weights[at], rtol=1e-6)
    ):
        raise UsageError(
            f"items of task {task!r} have other weights in the two runs: their words or bytes are counted differently. "
            "Evaluate both with the same version of the task."
        )
    return a.scale


def _same_items(first: Sequence[str], second: Sequence[str], sides: Sequence[Side], task: str) -> None:
    a, b = sides
    for here, there, name, other in ((first, second, a, b), (second, first, b, a)):
        known = set(there)
        missing = [item for item in here if item not in known]
        if missing:
            raise UsageError(
                f"{len(missing)} of {len(here)} items of {task!r} in {name.folder!r} are not in {other.folder!r} "
                f"({some([item[:12] for item in missing])}). Evaluate both on the same data, version and --limit."
            )
