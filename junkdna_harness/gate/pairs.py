"""The same items in two runs: what each scored before and after, and what the new run lacks."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from difficulty.errors import UsageError
from difficulty.runs.noise import Floor
from difficulty.runs.same import different_prompts, different_versions
from difficulty.runs.table import some
from difficulty.stats.result import Floats
from junkdna_harness.gate.items import RunItems, TaskItems


@dataclass(frozen=True)
class Paired:
    """The items of one task that both runs have, in one order; `at_old`, `at_new`: where they stand in each run.

    `before`, `after`, `weights` (None where all are equal): shape (n_items,). `clusters`: each item's cluster as the baseline
    and as the new run name it; a name means the same in all tasks of its run.
    """

    new: TaskItems
    old: TaskItems
    at_new: tuple[int, ...]
    at_old: tuple[int, ...]
    weights: Floats | None

    @property
    def noise(self) -> Floor | None:
        """The noise floor that came with the baseline, else that of the new run."""
        return self.old.noise if self.old.noise is not None else self.new.noise

    @property
    def before(self) -> Floats:
        """What the items scored in the baseline."""
        return self.old.values[list(self.at_old)]

    @property
    def after(self) -> Floats:
        """What the items scored in the new run."""
        return self.new.values[list(self.at_new)]

    @property
    def clusters(self) -> tuple[list[str], list[str]]:
        """The clusters' names in the baseline and in the new run."""
        return [self.old.clusters[i] for i in self.at_old], [self.new.clusters[j] for j in self.at_new]


def pair_items(
    new: TaskItems, old: TaskItems, wanted: NDArray[np.intp] | None
) -> tuple[Paired, list[str], list[str]]:
    """The baseline's items in both runs, what is missing of those `wanted` (positions; None: none of them), and notes.

    Raises:
        UsageError: another metric, no item in common, or other weights for the same items.
    """
    if new.metric != old.metric:
        raise UsageError(
            f"task {old.task!r} is judged by {new.metric} in the new run and {old.metric} in the baseline. "
            "Name one with --metric."
        )
    before, after = _positions(new, old)
    if not before:
        raise UsageError(
            f"none of the {len(old.item_ids)} items of task {old.task!r} in the baseline is in the new run: "
            "their hashes differ, so it is another version of the task. Write the baseline again with this version."
        )
    absent = sorted(set(range(len(old.item_ids))) - set(before)) if len(before) < len(old.item_ids) else []
    must = set() if wanted is None else set(wanted.tolist())
    gone = [i for i in absent if i in must]
    named = some((old.item_ids[i] for i in gone), 3)
    missing = [f"{len(gone)} of {len(old.item_ids)} items of {old.task} ({named})"] if gone else []
    extra = len(new.item_ids) - len(before)
    notes = [f"{extra} items of {old.task} are not in the baseline and were not compared"] if extra else []
    if len(absent) > len(gone):
        notes.append(
            f"{len(absent) - len(gone)} items of {old.task} are not in the new run, and no critical rule is on them"
        )
    return Paired(new, old, tuple(after), tuple(before), _weights(new, old, before, after)), missing, notes


def missing_tasks(new: RunItems, baseline: RunItems, wanted: Collection[str]) -> tuple[list[str], list[str]]:
    """Families, tiers and tasks that the baseline has and the new run has not, each named at the highest level; and notes.

    A task that cannot be compared is missing where the baseline has it, and a note where it has it not, or where it is not `wanted`.
    """
    families = {task.family for task in new.tasks.values()}
    cells = {(task.family, task.tier) for task in new.tasks.values()}
    missing: dict[str, None] = {}
    unjudged: list[str] = []
    for name, task in baseline.tasks.items():
        if name in new.tasks:
            continue
        if name not in wanted:
            unjudged.append(name)
        elif name != task.task:
            missing[f"{task.metric} of task {task.task}"] = None
        elif name in new.left_out:
            missing[f"task {name}, as {new.left_out[name]}"] = None
        elif task.family not in families:
            missing[f"family {task.family}"] = None
        elif (task.family, task.tier) not in cells:
            missing[f"tier {task.tier} of {task.family} (task {name})"] = None
        else:
            missing[f"task {name}"] = None
    notes = [f"not in the new run, and no critical rule is on them: {some(unjudged)}"] if unjudged else []
    without = {**new.left_out, **baseline.left_out}
    notes += [f"left out: {without[name]}" for name in sorted(without) if name not in baseline.tasks]
    extra = [name for name in new.tasks if name not in baseline.tasks and name not in without]
    if extra:
        notes.append(f"{len(extra)} tasks are not in the baseline and were not compared: {some(extra)}")
    return list(missing), notes


def same_dtypes(new: RunItems, baseline: RunItems) -> list[str]:
    """A sentence where the two models computed in different numbers, as far as that is known."""
    if new.dtype is None or baseline.dtype is None or new.dtype == baseline.dtype:
        return []
    return [
        f"{new.name!r} was computed in {new.dtype}, and the baseline in {baseline.dtype}: a part of what they differ by is rounding. "
        "Evaluate both alike"
    ]


def same_versions(new: RunItems, baseline: RunItems) -> list[str]:
    """A sentence for each task whose version differs."""
    found = []
    for name, old in baseline.tasks.items():
        other = new.tasks.get(name)
        if other is None or name != old.task or other.version is None or old.version is None:
            continue
        if different_versions({"new": {name: other.version}, "baseline": {name: old.version}}):
            found.append(
                f"task {name!r} is version {other.version} in the new run and {old.version} in the baseline. "
                "Evaluate both with the same version, write the baseline again, or pass --allow-different-prompts."
            )
    return found


def same_prompts(pairs: list[Paired]) -> str | None:
    """A sentence where an item has two prompts; None where none has, or a run does not know its prompts."""
    rows = []
    for pair in pairs:
        if pair.old.prompts is not None and pair.new.prompts is not None:
            for i, j in zip(pair.at_old, pair.at_new, strict=True):
                rows.append((pair.old.task, pair.old.item_ids[i], pair.old.prompts[i], pair.new.prompts[j]))
    if not rows:
        return None
    table = pd.DataFrame(rows, columns=["task", "item_id", "old", "new"])
    return different_prompts(
        table.rename(columns={"old": "prompt_hash"}), table.rename(columns={"new": "prompt_hash"})
    )


def unknown_prompts(pairs: list[Paired]) -> list[str]:
    """A note on the tasks of which one run knows its prompts and the other does not, or logs hold none."""
    without = tasks_without_prompts(pairs)
    if not without:
        return []
    return [
        f"whether both runs were asked the same is not known: one of them holds no prompts of {some(without, 3)}"
    ]


def tasks_without_prompts(pairs: list[Paired]) -> list[str]:
    """The tasks that `unknown_prompts` names."""
    without = []
    for pair in pairs:
        known = [task.prompts for task in (pair.old, pair.new) if task.prompts is not None]
        if known and (len(known) < 2 or any("" in prompts for prompts in known)):
            without.append(pair.old.task)
    return without


def _positions(new: TaskItems, old: TaskItems) -> tuple[list[int], list[int]]:
    """Where the items that both have stand in `old` and in `new`, in the order of `old`."""
    if new.item_ids == old.item_ids and old.id_length is None:
        everything = list(range(len(old.item_ids)))
        return everything, everything
    where = {key: i for i, key in enumerate(new.keys(old.id_length))}
    found = [(i, where[key]) for i, key in enumerate(old.item_ids) if key in where]
    return [i for i, _ in found], [j for _, j in found]


def _weights(new: TaskItems, old: TaskItems, at_old: list[int], at_new: list[int]) -> Floats | None:
    """The weights of the items, which must be the same in both runs."""
    if new.weights is None and old.weights is None:
        return None
    if new.weights is None or old.weights is None:
        which = "new run" if new.weights is None else "baseline"
        raise UsageError(
            f"the items of task {old.task!r} have no weights in the {which}, so that their {old.metric} is another number. "
            "Evaluate both with the same version of lm-eval, or write the baseline again."
        )
    first, second = old.weights[at_old], new.weights[at_new]
    if not np.allclose(first, second, rtol=1e-6):
        n = int((~np.isclose(first, second, rtol=1e-6)).sum())
        raise UsageError(
            f"{n} items of task {old.task!r} have other weights in the new run than in the baseline: their words or bytes are "
            "counted differently. Evaluate both with the same version of the task, or write the baseline again."
        )
    return first
