"""The items that tasks will ask, before any model has answered them: a baseline without scores, for planning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from difficulty.errors import UsageError
from difficulty.runs.metrics import choose_one
from difficulty.runs.table import some
from junkdna_harness.gate.items import RunItems, TaskItems
from junkdna_harness.harness.patches import quiet
from junkdna_harness.harness.tasks import find_tasks, leaves, load_tasks


def items_ahead(
    names: Sequence[str],
    include_path: str | None = None,
    limit: float | None = None,
    metric: str | None = None,
) -> RunItems:
    """Every item of these tasks with its cluster, as if each had scored 1. `limit`: items of each task, or a share, as `lm_eval --limit`.

    Raises:
        UsageError: a task is not known, cannot be loaded, or does not have the metric.
    """
    with quiet():
        loaded = load_tasks(*find_tasks(names, include_path))
    if loaded.failed:
        raise UsageError(
            f"the items of {some(loaded.failed)} cannot be counted: {next(iter(loaded.failed.values()))}. Give --baseline, a run that has them."
        )
    tasks = {name: _task(name, task, limit, metric) for name, task in sorted(loaded.tasks.items())}
    return RunItems("the tasks", {}, tasks)


def only(baseline: RunItems, names: Sequence[str], include_path: str | None = None) -> RunItems:
    """The baseline's items of these tasks.

    Raises:
        UsageError: the baseline lacks one of them.
    """
    wanted = list(leaves(*find_tasks(names, include_path)))
    missing = [name for name in wanted if name not in baseline.tasks]
    if missing:
        raise UsageError(
            f"the baseline has no items of {some(missing)}. Leave --tasks out to plan with what it has, or evaluate them."
        )
    kept = {key: task for key, task in baseline.tasks.items() if task.task in wanted}
    return replace(baseline, tasks=kept)


def _task(name: str, task: Any, limit: float | None, metric: str | None) -> TaskItems:
    docs = list(task.eval_docs)
    if limit is not None:
        docs = docs[: int(limit) if limit >= 1 else max(1, round(len(docs) * limit))]
    present = list(task.aggregation())
    chosen = choose_one(present, metric)
    if chosen is None:
        raise UsageError(
            f"the task {name!r} has no metric {metric!r}. It has: {', '.join(present)}."
            if metric
            else f"the task {name!r} has no metric, so that nothing can be judged by it. Leave it out."
        )
    metadata = task.config.metadata or {}
    field = metadata.get("cluster_field")
    tier = str(metadata.get("tier") or 1)
    return TaskItems(
        task=name,
        family=str(metadata.get("family") or name),
        axis=str(metadata.get("axis") or ""),
        tier=int(tier) if tier.isdecimal() else 1,
        metric=chosen,
        chance=0.0,
        item_ids=tuple(map(str, range(len(docs)))),
        values=np.ones(len(docs)),
        clusters=tuple(_cluster(name, number, doc, field) for number, doc in enumerate(docs)),
        higher_is_better=task.higher_is_better().get(chosen),
    )


def _cluster(name: str, number: int, doc: Any, field: object) -> str:
    named = doc.get(str(field)) if field and isinstance(doc, Mapping) else None
    return f"{name} {number}" if named is None else str(named)
