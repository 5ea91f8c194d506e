"""One run as the gate sees it: for each task, the items and what each of them scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from difficulty.errors import UsageError, did_you_mean
from difficulty.runs.direction import NO_SCORE, declared, same_metric, scale
from difficulty.runs.metrics import base, choose_one, scale_of, several
from difficulty.runs.noise import Floor
from difficulty.runs.table import COLUMNS, MARGIN, OPTIONAL, some
from difficulty.stats.mean import Scale
from difficulty.stats.result import Floats

if TYPE_CHECKING:
    import pandas as pd

_KNOWN_COLUMNS = frozenset((*COLUMNS, *OPTIONAL, "prompt_hash", "prompt", "target", "answer"))


@dataclass(frozen=True)
class TaskItems:
    """The items of one task. `item_ids`, `clusters` and `values` have the same length and order.

    A cluster's name means the same in every task. `higher_is_better`: as the run's own results say, None where they do not.
    `prompts` (hashes) and `weights` have the same order; None where there are none; so have `columns`, the further columns of a
    table by name. With weights, `values` of a perplexity
    or of bits are negative log-likelihoods in nats per unit of weight.
    """

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
    higher_is_better: bool | None = None
    prompts: tuple[str, ...] | None = field(default=None, repr=False)
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    weights: Floats | None = field(default=None, repr=False)
    scale: Scale = "mean"  # how the items are averaged
    noise: Floor | None = None  # what two evaluations of the model's dense weights differ by

    def keys(self, id_length: int | None) -> tuple[str, ...]:
        """The item ids as they are written in a file whose ids are cut to `id_length` characters."""
        return tuple(_cut(item, id_length) for item in self.item_ids) if id_length else self.item_ids


@dataclass(frozen=True)
class RunItems:
    """All tasks of one run, and who made them: `about` holds model, method, level, bits, replicate.

    `tasks`: by name; what a task scored by a further metric stands under `key_of(task, metric)`.

    `left_out`: tasks that cannot be compared, each with the reason. `notes`: what a reader must know of the run.
    """

    name: str
    about: Mapping[str, object]
    tasks: Mapping[str, TaskItems]
    left_out: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    settings: Mapping[str, Mapping[str, object]] = field(
        default_factory=dict, repr=False
    )  # task -> what decided its prompts
    guessed: bool = False  # nothing says what was done to its model
    dtype: str | None = None  # what its model computed in, where that is known
    weights_sha256: str | None = None  # of its model, where that is known

    @property
    def answer_key(self) -> tuple[object, ...]:
        """What decides a model's answers, beside its prompts: the method with its level and width, and the numbers."""
        return (
            self.weights_sha256,
            *(self.about.get(name) for name in ("method", "level", "bits")),
            self.dtype,
        )


def runs_in(table: pd.DataFrame) -> list[str]:
    """The ids of the runs in a tidy table, in the order of their first row."""
    return [str(run) for run in table["run"].unique()]


def run_items(
    table: pd.DataFrame,
    run: str | None = None,
    metric: str | None = None,
    versions: Mapping[str, str] | None = None,
    also: Sequence[str] = (),
) -> RunItems:
    """One run of a tidy table. `metric` overrides the choice among a task's metrics (see `difficulty.runs.metrics`); those
    named in `also` are kept beside it where a task has them.

    A task that cannot be compared (no such metric, values that are no numbers) is left out by name.

    Raises:
        UsageError: the table has no rows, several runs and none named, a run that is not there, an item twice,
            or no task that can be compared.
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
    tasks: dict[str, TaskItems] = {}
    left_out: dict[str, str] = {}
    for name, part in rows.groupby("task", sort=True):
        task = str(name)
        try:
            tasks[task] = _task_items(task, part, metric, (versions or {}).get(task))
        except _CannotBeCompared as error:
            left_out[task] = str(error)
            continue
        for further in _further(part, tasks[task].metric, also):
            with suppress(_CannotBeCompared):  # a rule that names it finds it missing
                found = _task_items(task, part, further, (versions or {}).get(task))
                tasks[key_of(task, further)] = found
    if not tasks:
        raise UsageError(next(iter(left_out.values())))
    first = rows.iloc[0]
    about = {key: _plain(first[key]) for key in ("model", "method", "level", "bits", "replicate")}
    judged = {name: task.metric for name, task in tasks.items() if name == task.task}
    notes = [] if also else several(rows[rows["metric"] != MARGIN], judged)
    return RunItems(wanted, about, tasks, left_out, tuple(notes))


def key_of(task: str, metric: str) -> str:
    """Under which name a run holds what a task scored by a metric that is not the one it is judged by."""
    return f"{task} {metric}"


def _further(rows: pd.DataFrame, judged_by: str, also: Sequence[str]) -> list[str]:
    """The metrics of a task's rows that are named in `also`, but the one that it is judged by."""
    present = [str(metric) for metric in rows["metric"].unique() if metric != judged_by]
    return [metric for metric in present if any(same_metric(metric, name) for name in also)]


def _columns(rows: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """The columns of a table beyond those with a meaning of their own, as texts: 3.0 is 3, an empty cell is empty."""
    further = [str(name) for name in rows.columns if name not in _KNOWN_COLUMNS]
    found = {}
    for name in further:
        cells = rows[name]
        if not cells.map(
            lambda cell: cell is None or isinstance(cell, (str, int, float, bool, np.generic))
        ).all():
            continue  # lists and the like are nothing to select by
        found[name] = tuple(
            "" if cell != cell or cell is None else f"{cell:g}" if isinstance(cell, float) else str(cell)
            for cell in cells
        )
    return {name: cells for name, cells in found.items() if any(cells)}


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
    values = _values(task, rows, chosen, ids)
    read = scale_of(rows)
    weights = _weights(task, rows, chosen, ids, read)
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
        higher_is_better=_said(task, rows),
        prompts=_prompts(rows),
        weights=weights,
        scale=read,
        columns=_columns(rows),
    )


class _CannotBeCompared(UsageError):
    """Why one task is left out; the message is for the user where nothing else is left."""


def _values(task: str, rows: pd.DataFrame, metric: str, ids: tuple[str, ...]) -> Floats:
    values: Floats = rows["value"].to_numpy(dtype=float)
    if not np.isfinite(values).all():
        bad = [ids[i] for i in np.flatnonzero(~np.isfinite(values))]
        raise _CannotBeCompared(
            f"task {task!r} has {len(bad)} items whose {metric} is not a number ({some(bad)}). Evaluate them again."
        )
    return values


def _weights(task: str, rows: pd.DataFrame, metric: str, ids: tuple[str, ...], read: Scale) -> Floats | None:
    """The column `weight`; None where it says nothing that counts."""
    given = rows["weight"].to_numpy(dtype=float) if "weight" in rows else np.full(len(rows), np.nan)
    if np.isnan(given).all():
        if read == "mean" and scale(metric, True) == "perplexity" and (rows["value"] <= 0).any():
            raise _CannotBeCompared(
                f"task {task!r} has a {metric} of 0 or less, which no perplexity is: its items seem to be log-likelihoods. "
                "Give them as negative log-likelihoods with a column weight."
            )
        return None
    if not (np.isfinite(given) & (given > 0)).all():
        bad = [ids[i] for i in np.flatnonzero(~(np.isfinite(given) & (given > 0)))]
        raise _CannotBeCompared(
            f"task {task!r} has {len(bad)} items whose weight is not a number above 0 ({some(bad)}). Evaluate them again."
        )
    return None if read == "mean" and (given == given[0]).all() else given


def _said(task: str, rows: pd.DataFrame) -> bool | None:
    """What the column `higher_is_better` says of the task's metric."""
    if "higher_is_better" not in rows:
        return None
    said = declared(rows["higher_is_better"].unique())
    if len(said) > 1:
        raise _CannotBeCompared(
            f"task {task!r} says that higher is better for some items and lower for others. Give one direction per metric."
        )
    return said.pop() if said else None


def _prompts(rows: pd.DataFrame) -> tuple[str, ...] | None:
    if "prompt_hash" not in rows or rows["prompt_hash"].isna().all():
        return None
    return tuple(str(prompt) for prompt in rows["prompt_hash"].fillna(""))


def _cut(item: str, length: int) -> str:
    """The first characters of an id without blanks; a copy's number (`#2`) stays."""
    name, mark, copy = item.partition("#")
    return quote(name)[:length] + mark + quote(copy)


def _choose_metric(task: str, present: list[str], wanted: str | None) -> str:
    scored = [name for name in present if base(name) != NO_SCORE]
    if not scored:
        raise _CannotBeCompared(
            f"task {task!r} holds answers without scores, as --predict_only leaves them. Evaluate it without that option."
        )
    others = [name for name in scored if name != MARGIN or wanted == MARGIN]
    chosen = choose_one(others or scored, wanted)
    if chosen is None:
        raise _CannotBeCompared(
            f"task {task!r} has no metric {wanted!r}.{did_you_mean(str(wanted), present)} It has: {', '.join(sorted(present))}."
        )
    return chosen


def _plain(value: object) -> object:
    """A value of a table cell as plain Python; None for a missing one."""
    if hasattr(value, "item"):
        value = value.item()
    return None if value is None or value != value else value
