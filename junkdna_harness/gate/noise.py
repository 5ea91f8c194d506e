"""The noise floor in the gate: where it comes from, how a baseline file keeps it, and what is said of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any, Protocol

from difficulty.runs.noise import Floor, NoiseFloor
from difficulty.stats.mean import Scale
from difficulty.text import noise_legend
from junkdna_harness.gate.items import TaskItems


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
