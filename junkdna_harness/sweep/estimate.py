"""Sizes known before anything is loaded: a model's weights from its files, a sweep's items from its tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from difficulty.graded import DEFAULT_ITEMS
from difficulty.runs.safetensors_header import read_header
from junkdna_harness.arguments import resolve_pretrained
from junkdna_harness.harness.tasks import find_tasks, leaves
from junkdna_harness.sweep.plan import Plan

ITEMS_OF_AN_UNKNOWN_TASK = 1000
BYTES_AN_ITEM = 60  # on disk, in a run's tables
_SIZES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2}


@dataclass(frozen=True)
class ModelSize:
    """Number of weights, and bytes on disk."""

    weights: int
    bytes: int


def model_weights(pretrained: str) -> ModelSize | None:
    """From the headers of the model's safetensors files; None where they are not on this machine."""
    folder = Path(resolve_pretrained(pretrained))
    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    if not files:
        return None
    weights = sum(_count(path) for path in files)
    return ModelSize(weights, sum(path.stat().st_size for path in files))


def largest_model(plan: Plan) -> ModelSize | None:
    """The size of the plan's largest model; None where one of them is not on this machine."""
    sizes = [model_weights(str(model["pretrained"])) for model in plan.models]
    known = [size for size in sizes if size is not None]
    return max(known, key=lambda size: size.weights) if len(known) == len(sizes) else None


def _count(path: Path) -> int:
    return sum(one.size // _SIZES.get(one.dtype, 1) for one in read_header(path))


def count_items(plan: Plan) -> int:
    """Items per run: exact for tasks whose size is in their metadata or `--limit`, else a guess of a thousand per task."""
    settings = plan.settings
    manager, names = find_tasks(settings.tasks, settings.include_path, plan.metadata(0))
    return sum(_items(config, settings.limit) for config in leaves(manager, names).values())


def _items(config: Mapping[str, Any], limit: float | None) -> int:
    metadata = config.get("metadata") or {}
    known = metadata.get("n_items")
    if known is None and config.get("dataset_path") == "difficulty.graded":
        known = DEFAULT_ITEMS
    size = int(known or ITEMS_OF_AN_UNKNOWN_TASK)
    if limit is None:
        return size
    return min(size, int(limit)) if limit >= 1 else round(size * limit)
