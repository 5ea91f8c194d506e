"""A baseline to compare with: a run folder, a table, or a small JSON file that can be committed.

The file holds what every item scored, since two runs can only be compared item by item. A task is two
strings: the first characters of the item hashes, and one digit an item, 1 right and 0 wrong. 6,000 items
take about 90 kB, and a diff shows what changed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from difficulty.errors import UsageError
from junkdna_harness.gate.items import RunItems, TaskItems, run_items

KIND = "junkdna-baseline"
SCHEMA = 1
_SHORTEST_HASH = 12

__all__ = ["RunItems", "TaskItems", "from_json", "read_baseline", "read_run", "to_json"]


def read_run(path: str | Path, run: str | None = None, metric: str | None = None) -> RunItems:
    """The run in an lm-eval output folder, a sweep store or a tidy table (parquet, CSV).

    Raises:
        UsageError: there is nothing to read, or several runs and none named.
    """
    from difficulty.runs.read import read_runs

    found = read_runs([path])
    rows = found.runs if run is None else found.runs[found.runs["run"] == run]
    versions = json.loads(str(rows["task_versions"].iloc[0] or "{}")) if len(rows) else {}
    return run_items(
        found.table, run, metric, {task: str(v) for task, v in versions.items() if v is not None}
    )


def read_baseline(path: str | Path, run: str | None = None, metric: str | None = None) -> RunItems:
    """A baseline: a JSON file made with `to_json`, or anything that `read_run` takes."""
    path = Path(path)
    if path.is_file() and path.suffix == ".json":
        return from_json(_parse(path), str(path), metric)
    return read_run(path, run, metric)


def to_json(run: RunItems) -> str:
    """The baseline file of a run. The same run gives the same bytes."""
    from junkdna_harness import __version__

    document = {
        "kind": KIND,
        "schema": SCHEMA,
        "junkdna_version": __version__,
        "run": run.name,
        **run.about,
        "tasks": {name: _task_to_json(task) for name, task in sorted(run.tasks.items())},
    }
    return json.dumps(document, indent=1, ensure_ascii=True) + "\n"


def from_json(document: Mapping[str, Any], where: str, metric: str | None = None) -> RunItems:
    """The run that a baseline document describes; `where` names it in messages.

    Raises:
        UsageError: it is not such a document, a newer schema, or holds another metric than `metric`.
    """
    if document.get("kind") != KIND:
        raise UsageError(
            f"{where!r} is not a baseline file. Write one with: junkdna check RUN --write-baseline FILE."
        )
    if document.get("schema") != SCHEMA:
        raise UsageError(
            f"baseline {where!r} has schema {document.get('schema')!r}, and this version reads {SCHEMA}. Write it again."
        )
    try:
        tasks = {name: _task_from_json(name, entry) for name, entry in document["tasks"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"baseline {where!r} is damaged ({error}). Write it again.") from error
    if not tasks:
        raise UsageError(f"baseline {where!r} holds no tasks. Write it from a run that has items.")
    for task in tasks.values():
        if metric is not None and task.metric != metric:
            raise UsageError(
                f"baseline {where!r} holds {task.metric} of task {task.task!r}, not {metric!r}. "
                "Write it again with that --metric."
            )
    about = {key: document.get(key) for key in ("model", "method", "level", "bits", "replicate")}
    return RunItems(str(document.get("run", where)), about, tasks)


def _task_to_json(task: TaskItems) -> dict[str, Any]:
    length = task.id_length or _id_length(task)
    short = task.item_ids if task.id_length else task.keys(length)
    entry: dict[str, Any] = {
        "family": task.family,
        "axis": task.axis,
        "tier": task.tier,
        "metric": task.metric,
        "chance": task.chance,
        "version": task.version,
        "n_items": len(short),
        "id_length": length,
        "items": " ".join(short),
    }
    if np.isin(task.values, (0, 1)).all():
        entry["right"] = "".join("1" if value else "0" for value in task.values)
    else:
        entry["values"] = [float(value) for value in task.values]
    if task.clusters != task.item_ids:
        order = {name: str(i) for i, name in enumerate(dict.fromkeys(task.clusters))}
        entry["clusters"] = " ".join(order[name] for name in task.clusters)
    return entry


def _task_from_json(name: str, entry: Mapping[str, Any]) -> TaskItems:
    ids = tuple(entry["items"].split())
    values = (
        [float(digit) for digit in entry["right"]]
        if "right" in entry
        else [float(v) for v in entry["values"]]
    )
    clusters = tuple(entry["clusters"].split()) if "clusters" in entry else ids
    if not len(ids) == len(values) == len(clusters) == int(entry["n_items"]):
        raise ValueError(f"task {name}: {len(ids)} items but {len(values)} values")
    if len(set(ids)) != len(ids):
        raise ValueError(f"task {name}: an item twice")
    return TaskItems(
        task=name,
        family=str(entry["family"]),
        axis=str(entry["axis"]),
        tier=int(entry["tier"]),
        metric=str(entry["metric"]),
        chance=float(entry["chance"]),
        item_ids=ids,
        values=np.asarray(values),
        clusters=clusters,
        version=entry.get("version"),
        id_length=int(entry["id_length"]),
    )


def _id_length(task: TaskItems) -> int:
    """How many characters of the ids keep all of them apart: at least 12."""
    length = _SHORTEST_HASH
    while len(set(task.keys(length))) < len(task.item_ids):
        length += 4
    return length


def _parse(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UsageError(f"baseline {str(path)!r} cannot be read ({error}). Write it again.") from error
    if not isinstance(document, dict):
        raise UsageError(
            f"{str(path)!r} is not a baseline file. Write one with: junkdna check RUN --write-baseline FILE."
        )
    return document
