"""A run of several checkpoints, each of which was trained on one task and answers that one alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from difficulty.errors import UsageError

if TYPE_CHECKING:
    from junkdna_harness.sweep.planned import PlannedRun
    from junkdna_harness.sweep.states import State
    from junkdna_harness.sweep.suite import Scores, Suite

RECOVERY = "recovery"
CHECKPOINTS = "checkpoints"  # of a run's block: task -> the checkpoint that answered it


@dataclass(frozen=True)
class ByTask:
    """What all of the checkpoints answered, the `junkdna` block of the run, and how long the scoring took."""

    block: dict[str, Any]
    scores: Scores
    seconds_scoring: float


def answer_by_task(
    lm: Any, suite: Suite, state: State, cell: PlannedRun, progress: Callable[[int], None] | None
) -> ByTask:
    """Every task of `suite`, asked of its own checkpoint of `cell`.

    Raises:
        UsageError: a task has no checkpoint, or one cannot be loaded.
    """
    if strangers := [task for task in suite.tasks if task not in cell.by_task]:
        raise UsageError(
            f"task {strangers[0]!r} has no checkpoint of its own in this run, which has some for {', '.join(cell.by_task)}. Give the "
            "tasks that were trained on."
        )
    blocks: dict[str, dict[str, Any]] = {}
    seconds = 0.0

    @contextmanager
    def holding(task: str) -> Iterator[None]:
        nonlocal seconds
        part = cell.by_task[task]
        with state.holding(part) as block:
            blocks[task] = {"pretrained": part.arguments["pretrained"], **block}
            started = time.perf_counter()
            with lm.computing():
                yield
            seconds += time.perf_counter() - started

    scores = suite.score_each(lm, holding, progress)
    return ByTask(joined(blocks), scores, seconds)


def joined(blocks: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """One `junkdna` block: what those of all tasks say alike, and, under `checkpoints`, which checkpoint answered which task.

    What differs stands there alone, e.g. the hash of the weights: the run has no weights of its own.
    """
    recoveries = [block.get(RECOVERY) or {} for block in blocks.values()]
    found = _alike(list(blocks.values()))
    if any(recoveries):
        found[RECOVERY] = {**_alike(recoveries), "failed": any(one.get("failed") for one in recoveries)}
    kept = ("pretrained", "weights_sha256", "sparsity_all", RECOVERY)
    found[CHECKPOINTS] = {
        task: {name: block[name] for name in kept if name in block} for task, block in blocks.items()
    }
    return found


def _alike(blocks: list[Mapping[str, Any]]) -> dict[str, Any]:
    first, *others = blocks
    return {
        name: value
        for name, value in first.items()
        if all(name in other and other[name] == value for other in others)
    }
