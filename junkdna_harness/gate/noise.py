"""The noise floor in the gate: where it comes from, how a baseline file keeps it, and what is said of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any, Protocol

from difficulty.errors import UsageError
from difficulty.runs.noise import Floor, NoiseFloor
from difficulty.runs.same import require_same
from difficulty.stats.mean import Scale
from difficulty.text import noise_legend
from junkdna_harness.gate.items import RunItems, TaskItems
from junkdna_harness.gate.pairs import pair_items, same_prompts, same_versions


class _Compared(Protocol):
    @property
    def noise(self) -> Floor | None: ...

    @property
    def within_noise(self) -> bool | None: ...

    @property
    def name(self) -> str: ...


def with_floors(tasks: Mapping[str, TaskItems], noise: NoiseFloor | None) -> dict[str, TaskItems]:
    """The tasks, each with the floor of its metric where that is known."""
    if noise is None:
        return dict(tasks)
    return {name: replace(task, noise=noise.floor(name, task.metric)) for name, task in tasks.items()}


def with_noise_of(baseline: RunItems, again: RunItems) -> RunItems:
    """The baseline with the floor that a second evaluation of the same model shows, task by task.

    Raises:
        UsageError: the two are of different models, asked other prompts or versions, or have no task in common.
    """
    if not _same_model(baseline, again):
        raise UsageError(
            f"the noise floor is a second evaluation of the baseline's model, and {again.name!r} is {_described(again)}, not "
            f"{_described(baseline)}. Evaluate the baseline's model again, e.g. in another batch size."
        )
    pairs = {
        key: pair_items(again.tasks[key], task, None)[0]
        for key, task in baseline.tasks.items()
        if key in again.tasks
    }
    if not pairs:
        raise UsageError(
            f"the noise floor {again.name!r} has no task of the baseline. Evaluate the same tasks again."
        )
    require_same([*same_versions(again, baseline), same_prompts(list(pairs.values()))], allowed=False)
    floors = {
        key: Floor.of(pair.before, pair.after, pair.weights, pair.old.scale) for key, pair in pairs.items()
    }
    return replace(
        baseline, tasks={key: replace(task, noise=floors.get(key)) for key, task in baseline.tasks.items()}
    )


def _same_model(first: RunItems, second: RunItems) -> bool:
    known = first.weights_sha256 is not None and second.weights_sha256 is not None
    if known:
        return first.weights_sha256 == second.weights_sha256
    # The floor of another model would be so large that nothing could fail.
    return all(
        first.about.get(name) == second.about.get(name) for name in ("model", "method", "level", "bits")
    )


def _described(run: RunItems) -> str:
    about = run.about
    how = [str(about[name]) for name in ("method", "level", "bits") if about.get(name) is not None]
    return f"{about.get('model')} ({', '.join(how)})"


def floor_to_json(floor: Floor) -> dict[str, Any]:
    """A floor's sums; its scale is that of the task."""
    return {name: value for name, value in asdict(floor).items() if name != "scale"}


def floor_from_json(task: str, entry: Mapping[str, Any], scale: Scale) -> Floor:
    """The floor that `floor_to_json` wrote.

    Raises:
        ValueError: a number is missing, or is not finite.
    """
    n_items, changed = int(entry["n_items"]), int(entry["changed"])
    names = ("largest", "weight", "value", "moved", "spread")
    largest, weight, value, moved, spread = (float(entry[name]) for name in names)
    finite = all(map(math.isfinite, (largest, weight, value, moved, spread)))
    if not finite or not 0 <= changed <= n_items:
        raise ValueError(f"task {task}: a noise floor that is none")
    return Floor(n_items, changed, largest, weight, value, moved, spread, scale)


def noise_notes(comparisons: Iterable[_Compared]) -> list[str]:
    """How large the noise floor is, and what the mark means; nothing where no floor is known."""
    known = [(one, one.noise) for one in comparisons if one.noise is not None]
    if not known:
        return []
    identical = all(floor.changed == 0 for _, floor in known)
    legend = noise_legend(any(one.within_noise for one, _ in known), identical)
    if identical:
        return [legend]
    one, most = max(known, key=lambda pair: pair[1].size)
    size = (
        f"noise floor: {most.changed:,} of {most.n_items:,} items of {one.name} changed between two evaluations of the same dense "
        f"weights, {most.size:.4g} in its score, more than in any other comparison"
    )
    return [size, *([legend] if legend else [])]
