"""What a history of decisions is about: the tasks, metrics and items of the baseline, by which entries can be paired item by item."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from difficulty.runs.table import SCALES, some
from difficulty.stats.clusters import linked_codes
from difficulty.stats.mean import Scale
from difficulty.stats.result import Floats
from junkdna_harness.gate.items import RunItems, TaskItems
from junkdna_harness.gate.packed import pack, pack_codes, unpack, unpack_codes
from junkdna_harness.gate.planned import higher_is_better
from junkdna_harness.gate.policy import Policy

_SHORTEST = 12  # as in a baseline file, whose ids may be cut to this
_MOST_ITEMS = 100_000_000  # of a task: more is damage


@dataclass(frozen=True)
class SuiteTask:
    """One task: `items` and `prompts` are hashes over all of them, in order; `prompts` None where one is not known."""

    key: str
    family: str
    axis: str
    tier: int
    metric: str
    scale: Scale
    higher_is_better: bool
    version: str | None
    n_items: int
    items: str
    prompts: str | None
    weights: Floats | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Suite:
    """The tasks, sorted by key. `clusters`: a number per item of all tasks; None where every item is one of its own."""

    tasks: tuple[SuiteTask, ...]
    clusters: NDArray[np.intp] | None = field(default=None, repr=False, compare=False)

    @property
    def n_items(self) -> int:
        """Items of all tasks; one that two metrics score counts twice."""
        return sum(task.n_items for task in self.tasks)

    @property
    def starts(self) -> dict[str, int]:
        """Where the items of each task begin among all."""
        ends = np.cumsum([0, *(task.n_items for task in self.tasks)]).tolist()
        return {task.key: start for task, start in zip(self.tasks, ends, strict=False)}

    @property
    def sha256(self) -> str:
        """Hash of the tasks, versions, metrics and item ids."""
        return content_sha256([[t.key, t.version, t.metric, t.scale, t.n_items, t.items] for t in self.tasks])

    def split(self, values: Floats) -> list[Floats]:
        """Values of all items, task by task."""
        return np.split(values, np.cumsum([task.n_items for task in self.tasks])[:-1])

    def difference(self, other: Suite, allow_different_prompts: bool = False) -> str | None:
        """What differs in `other`, in words; None where outcomes of both can be paired."""
        mine, theirs = ({task.key: task for task in suite.tasks} for suite in (self, other))
        gone, more = sorted(mine.keys() - theirs.keys()), sorted(theirs.keys() - mine.keys())
        if gone or more:
            parts = [
                f"{what} {some(names, 3)}" for what, names in (("lacks", gone), ("has also", more)) if names
            ]
            return " and ".join(parts)
        for key, task in mine.items():
            if what := _difference(task, theirs[key], allow_different_prompts):
                return f"has {key!r} {what}"
        return None

    def to_json(self) -> dict[str, Any]:
        """Plain values, from which `suite_from_json` makes the same."""
        tasks = []
        for task in self.tasks:
            entry = {name: value for name, value in vars(task).items() if name != "weights"}
            tasks.append(entry | ({} if task.weights is None else {"weights": pack(task.weights)}))
        return {"tasks": tasks, "clusters": None if self.clusters is None else pack_codes(self.clusters)}


def suite_from_json(document: Mapping[str, Any]) -> Suite:
    """The suite that `Suite.to_json` wrote.

    Raises:
        ValueError, KeyError, TypeError: it is none.
    """
    tasks = []
    for entry in document["tasks"]:
        n_items = int(entry["n_items"])
        sound = entry["scale"] in SCALES and isinstance(entry["higher_is_better"], bool)
        if not sound or not 1 <= n_items <= _MOST_ITEMS:
            raise ValueError(f"a task that is none: {entry['key']!r}")
        version, prompts = (
            None if entry[name] is None else str(entry[name]) for name in ("version", "prompts")
        )
        weights = unpack(entry["weights"], n_items) if "weights" in entry else None
        tasks.append(
            SuiteTask(
                str(entry["key"]), str(entry["family"]), str(entry["axis"]), int(entry["tier"]), str(entry["metric"]),
                cast(Scale, entry["scale"]), entry["higher_is_better"], version, n_items, str(entry["items"]), prompts, weights,
            )
        )  # fmt: skip
    if not tasks or len({task.key for task in tasks}) < len(tasks):
        raise ValueError("no tasks, or one twice")
    suite = Suite(tuple(tasks))
    clusters = document["clusters"]
    return suite if clusters is None else Suite(suite.tasks, unpack_codes(clusters, suite.n_items))


def suite_of(
    baseline: RunItems,
    new: RunItems,
    positions: Mapping[str, tuple[Sequence[int], Sequence[int]]],
    policy: Policy,
) -> Suite:
    """The suite of a baseline. `positions`: task -> where items that both runs have stand in the baseline and in the new run."""
    tasks: list[SuiteTask] = []
    first: list[object] = []
    second: list[object] = []
    for key, old in sorted(baseline.tasks.items()):
        at_old, at_new = positions.get(key, ((), ()))
        named: dict[int, str] = {}
        both = [old]
        if key in new.tasks:
            both = [new.tasks[key], old]
            named = dict(zip(at_old, (new.tasks[key].clusters[j] for j in at_new), strict=True))
        first += old.clusters
        second += [named.get(i, (key, i)) for i in range(len(old.item_ids))]
        tasks.append(
            SuiteTask(
                key,
                old.family,
                old.axis,
                old.tier,
                old.metric,
                old.scale,
                higher_is_better(both, policy),
                old.version,
                len(old.item_ids),
                content_sha256(short_ids(old))[:16],
                _prompts(old),
                old.weights,
            )  # fmt: skip
        )
    codes = linked_codes(first, second)
    apart = len(np.unique(codes)) == len(codes)
    return Suite(tuple(tasks), None if apart else codes)


def short_ids(task: TaskItems) -> list[str]:
    """The ids cut as short as keeps them apart: the same for a run and for a file in which they are cut already."""
    length = _SHORTEST
    while True:
        if task.id_length is None:
            ids = list(task.keys(length))
        else:
            parts = (item.partition("#") for item in task.item_ids)
            ids = [name[:length] + mark + copy for name, mark, copy in parts]
        if len(set(ids)) == len(ids) or length > 1000:
            return ids
        length += 4


def content_sha256(content: object) -> str:
    """Hash of plain values, whatever the order of their keys."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _prompts(task: TaskItems) -> str | None:
    if task.prompts is None or any(prompt in ("", "-") for prompt in task.prompts):
        return None
    return content_sha256([prompt[:8] for prompt in task.prompts])[:16]


def _difference(mine: SuiteTask, other: SuiteTask, allow_different_prompts: bool) -> str | None:
    if mine.metric != other.metric:
        return f"judged by {other.metric}, not {mine.metric}"
    if mine.n_items != other.n_items:
        return f"with {other.n_items:,} items, not {mine.n_items:,}"
    if mine.items != other.items:
        return "with other items"
    if (mine.scale, mine.higher_is_better) != (other.scale, other.higher_is_better):
        return "with another scale or direction of its metric"
    if allow_different_prompts:
        return None
    if mine.version != other.version and None not in (mine.version, other.version):
        return f"in version {other.version}, not {mine.version}"
    if mine.prompts != other.prompts and None not in (mine.prompts, other.prompts):
        return "with other prompts"
    return None
