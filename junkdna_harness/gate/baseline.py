"""A baseline to compare with: a run folder, a table, or a small JSON file that can be committed.

The file holds what every item scored, since two runs can only be compared item by item. A task is two
strings: the first characters of the item hashes, and one digit per item, 1 right and 0 wrong; a third one holds
the first characters of the prompts' hashes, where they are known. 9,000 items take about 260 kB, and a diff shows
what changed.

Schema 3: a task may stand there once more, scored by a further metric, and have further columns. Schema 2: a cluster's number
means the same in all tasks. Schema 1, whose numbers began anew in every task, is
read too; there, only items of the same hash are known to be one cluster across tasks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from difficulty.errors import UsageError
from difficulty.json_files import WRONG_SHAPE, parsed
from difficulty.runs.direction import scale
from difficulty.runs.dtypes import DTYPE, plain_dtype
from difficulty.runs.identity import GUESS
from difficulty.runs.lm_eval_log import is_results
from difficulty.runs.read import Runs, read_runs
from difficulty.runs.table import KNOWN_BY, SCALES, some
from junkdna_harness.gate.items import RunItems, TaskItems, run_items
from junkdna_harness.gate.noise import floor_from_json, floor_to_json, with_floors

KIND = "junkdna-baseline"
SCHEMA = 3
PLAIN_SCHEMA = 2  # of a file without further metrics and columns, which older versions read too
_READABLE = (1, 2, 3)
_SHORTEST_HASH = 12
_PROMPT_HASH = 8
_NO_PROMPT = "-"

__all__ = ["RunItems", "TaskItems", "from_json", "read_baseline", "read_run", "to_json"]


def read_run(
    path: Runs | str | Path,
    run: str | None = None,
    metric: str | None = None,
    labels: Sequence[str] = (),
    also: Sequence[str] = (),
) -> RunItems:
    """One of the runs that were read, or the run in an lm-eval output folder, a sweep's folder or a tidy table; with the metrics
    named in `also` beside those that tasks are judged by.

    Raises:
        UsageError: there is nothing to read, or several runs and none named.
    """
    found = path if isinstance(path, Runs) else read_runs([path], labels=labels)
    name = found.one(run)
    items = run_items(found.table, name, metric, found.versions(name), also)
    sha256 = found.runs.set_index("run")["weights_sha256"].get(name)
    return replace(
        items,
        tasks=with_floors(items.tasks, found.noise.get(str(items.about["model"]))),
        notes=(*found.warnings, *items.notes),
        settings=found.settings(name),
        guessed=name in found.guessed,
        dtype=found.dtypes.get(name),
        weights_sha256=sha256 if isinstance(sha256, str) and sha256 else None,
    )


def read_baseline(
    path: str | Path,
    run: str | None = None,
    metric: str | None = None,
    labels: Sequence[str] = (),
    also: Sequence[str] = (),
) -> RunItems:
    """A baseline: a JSON file made with `to_json` (which holds the metrics that it was written with), or anything that `read_run` takes."""
    path = Path(path)
    if path.is_file() and path.suffix == ".json" and not is_results(path):
        return from_json(_parse(path), str(path), metric)
    return read_run(path, run, metric, labels, also)


def to_json(run: RunItems) -> str:
    """The baseline file of a run. The same run gives the same bytes."""
    document = {
        "kind": KIND,
        "schema": PLAIN_SCHEMA,
        "junkdna_version": version("junkdna-harness"),
        "run": run.name,
        **run.about,
        **({KNOWN_BY: GUESS} if run.guessed else {}),
        **({DTYPE: run.dtype} if run.dtype is not None else {}),
        **({"weights_sha256": run.weights_sha256} if run.weights_sha256 is not None else {}),
        "tasks": _tasks_to_json(run),
    }
    if any(name != task.task or task.columns for name, task in run.tasks.items()):
        document["schema"] = SCHEMA
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
    schema = document.get("schema")
    if schema not in _READABLE:
        raise UsageError(
            f"baseline {where!r} has schema {schema!r}, and this version reads {some(_READABLE)}. Write it again."
        )
    try:
        tasks = {name: _task_from_json(name, entry, schema) for name, entry in document["tasks"].items()}
    except WRONG_SHAPE as error:
        what = f"no {error.args[0]!r}" if isinstance(error, KeyError) else error
        raise UsageError(f"baseline {where!r} is damaged ({what}). Write it again.") from error
    if not tasks:
        raise UsageError(f"baseline {where!r} holds no tasks. Write it from a run that has items.")
    tasks, left_out = (tasks, {}) if metric is None else _judged_by(tasks, metric, where)
    about = {key: document.get(key) for key in ("model", "method", "level", "bits", "replicate")}
    guessed = document.get(KNOWN_BY) == GUESS
    guess = f"nothing said what was done to {about['model']!r} when the baseline {where!r} was written: that it is dense is a guess."
    notes = (guess,) if guessed else ()
    dtype = plain_dtype(document.get(DTYPE))
    entries = {name: document["tasks"].get(name, {}).get("settings") for name in tasks}
    settings = {name: found for name, found in entries.items() if isinstance(found, dict)}
    sha256 = document.get("weights_sha256")
    return RunItems(
        str(document.get("run", where)), about, tasks, left_out, notes, settings, guessed,
        dtype, sha256 if isinstance(sha256, str) else None,
    )  # fmt: skip


def _judged_by(
    tasks: Mapping[str, TaskItems], metric: str, where: str
) -> tuple[dict[str, TaskItems], dict[str, str]]:
    """The tasks by one metric, and why those that have it not are left out.

    Raises:
        UsageError: none has it.
    """
    found = {task.task: task for task in tasks.values() if task.metric == metric}
    left_out = {
        name: f"task {name!r} has {task.metric} in baseline {where!r}, not {metric!r}. Write it again with that --metric."
        for name, task in tasks.items()
        if name == task.task and name not in found
    }
    if not found:
        raise UsageError(next(iter(left_out.values())))
    return found, left_out


def _tasks_to_json(run: RunItems) -> dict[str, dict[str, Any]]:
    """Every task's entry. Ids of all tasks are cut alike, so that an item that two tasks ask is seen to be one."""
    tasks = run.tasks
    length = max((task.id_length or _id_length(task) for task in tasks.values()), default=_SHORTEST_HASH)
    shared = {c for task in tasks.values() if task.clusters != task.item_ids for c in task.clusters}
    numbers: dict[str, int] = {}
    entries = {}
    for name, task in sorted(tasks.items()):
        entries[name] = _task_to_json(task, length)
        if name != task.task:
            entries[name]["task"] = task.task
        elif run.settings.get(name):
            entries[name]["settings"] = dict(run.settings[name])
        if task.clusters != task.item_ids or not shared.isdisjoint(task.clusters):
            codes = [numbers.setdefault(cluster, len(numbers)) for cluster in task.clusters]
            entries[name]["clusters"] = " ".join(map(str, codes))
    return entries


def _task_to_json(task: TaskItems, length: int) -> dict[str, Any]:
    short = task.item_ids if task.id_length else task.keys(length)
    entry: dict[str, Any] = {
        "family": task.family,
        "axis": task.axis,
        "tier": task.tier,
        "metric": task.metric,
        "chance": task.chance,
        "version": task.version,
        "n_items": len(short),
        "id_length": task.id_length or length,
        "items": " ".join(short),
    }
    if task.higher_is_better is not None:
        entry["higher_is_better"] = task.higher_is_better
    if task.prompts is not None:
        hashes = [quote(prompt)[:_PROMPT_HASH] or _NO_PROMPT for prompt in task.prompts]
        entry["prompts"] = hashes[0] if len(set(hashes)) == 1 else " ".join(hashes)
    if task.scale != scale(task.metric, task.weights is not None):
        entry["scale"] = task.scale
    if task.weights is not None:
        entry["weights"] = [float(weight) for weight in task.weights]
    if task.columns:
        entry["columns"] = {name: _column_to_json(cells) for name, cells in sorted(task.columns.items())}
    if task.noise is not None:
        entry["noise_floor"] = floor_to_json(task.noise)
    if task.weights is None and np.isin(task.values, (0, 1)).all():
        entry["right"] = "".join("1" if value else "0" for value in task.values)
    else:
        entry["values"] = [float(value) for value in task.values]
    return entry


def _column_to_json(cells: Sequence[str]) -> dict[str, Any]:
    """The values of a column, each once, and which of them every item has."""
    values = sorted(set(cells))
    numbers = {value: number for number, value in enumerate(values)}
    return {"values": values, "items": " ".join(str(numbers[cell]) for cell in cells)}


def _column_from_json(entry: Mapping[str, Any]) -> tuple[str, ...]:
    values = [str(value) for value in entry["values"]]
    return tuple(values[int(number)] for number in entry["items"].split())


def _task_from_json(name: str, entry: Mapping[str, Any], schema: int) -> TaskItems:
    ids = tuple(entry["items"].split())
    given = entry["right"] if "right" in entry else entry["values"]
    values = np.asarray([float(value) for value in given])
    weights = np.asarray(entry["weights"], dtype=float) if "weights" in entry else None
    prompts = entry["prompts"].split() if "prompts" in entry else None
    if prompts is not None:
        prompts = ["" if prompt == _NO_PROMPT else prompt for prompt in prompts]
        prompts = prompts * len(ids) if len(prompts) == 1 else prompts
    clusters = ids
    if "clusters" in entry:
        # An item's own hash is no number, so neither can be taken for the other.
        prefix = f"{name}/" if schema == 1 else "#"
        clusters = tuple(prefix + number for number in entry["clusters"].split())
    further = {str(key): _column_from_json(column) for key, column in entry.get("columns", {}).items()}
    columns = [
        values,
        clusters,
        *further.values(),
        *(column for column in (weights, prompts) if column is not None),
    ]
    if not all(len(column) == len(ids) == int(entry["n_items"]) for column in columns):
        raise ValueError(f"task {name}: {len(ids)} items but {len(values)} values")
    if len(set(ids)) != len(ids):
        raise ValueError(f"task {name}: an item twice")
    if not np.isfinite(values).all() or (
        weights is not None and not (np.isfinite(weights) & (weights > 0)).all()
    ):
        raise ValueError(f"task {name}: a value or weight that is no number")
    direction = entry.get("higher_is_better")
    if direction not in (None, True, False):
        raise ValueError(f"task {name}: higher_is_better is {direction!r}")
    metric = str(entry["metric"])
    read = entry.get("scale", scale(metric, weights is not None))
    if read not in SCALES:
        raise ValueError(f"task {name}: scale is {read!r}")
    return TaskItems(
        task=str(entry.get("task", name)),
        family=str(entry["family"]),
        axis=str(entry["axis"]),
        tier=int(entry["tier"]),
        metric=metric,
        chance=float(entry["chance"]),
        item_ids=ids,
        values=values,
        clusters=clusters,
        version=entry.get("version"),
        id_length=int(entry["id_length"]),
        higher_is_better=direction,
        prompts=None if prompts is None else tuple(prompts),
        columns=further,
        weights=weights,
        scale=read,
        noise=floor_from_json(name, entry["noise_floor"], read) if "noise_floor" in entry else None,
    )


def _id_length(task: TaskItems) -> int:
    """How many characters of the ids keep all of them apart: at least 12."""
    length = _SHORTEST_HASH
    while len(set(task.keys(length))) < len(task.item_ids):
        length += 4
    return length


def _parse(path: Path) -> dict[str, Any]:
    try:
        document = parsed(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # not UTF-8 and not JSON are ValueErrors
        raise UsageError(f"baseline {str(path)!r} cannot be read ({error}). Write it again.") from error
    if not isinstance(document, dict):
        raise UsageError(
            f"{str(path)!r} is not a baseline file. Write one with: junkdna check RUN --write-baseline FILE."
        )
    return document
