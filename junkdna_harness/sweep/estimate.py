"""Sizes known before anything is loaded: a model's weights from its files, a sweep's items from its tasks."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path

from junkdna_harness.sweep.plan import Plan

ITEMS_OF_AN_UNKNOWN_TASK = 1000
_SIZES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2}


@dataclass(frozen=True)
class ModelSize:
    """Number of weights, and bytes on disk."""

    weights: int
    bytes: int


def model_weights(pretrained: str) -> ModelSize | None:
    """From the headers of the model's safetensors files; None where they are not on this machine."""
    from junkdna_harness.arguments import resolve_pretrained

    folder = Path(resolve_pretrained(pretrained))
    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    if not files:
        return None
    weights = sum(_count(path) for path in files)
    return ModelSize(weights, sum(path.stat().st_size for path in files))


def _count(path: Path) -> int:
    with path.open("rb") as handle:
        (length,) = struct.unpack("<Q", handle.read(8))
        header = json.loads(handle.read(length))
    total = 0
    for name, tensor in header.items():
        if name != "__metadata__":
            begin, end = tensor["data_offsets"]
            total += (end - begin) // _SIZES.get(tensor["dtype"], 1)
    return total


def count_items(plan: Plan) -> int:
    """Items a run: exact for tasks whose size is in their metadata or `--limit`, else a guess of a thousand a task."""
    from junkdna_harness.sweep.suite import find_tasks

    manager, names = find_tasks(plan.settings, plan.models[0])
    pending, leaves = list(names), set()
    while pending:
        name = pending.pop()
        entry = manager.task_index.get(name)
        if entry is None:
            leaves.add(name)
        elif entry.kind.name == "TAG":
            pending += sorted(entry.tags)
        elif entry.kind.name == "GROUP" and isinstance((entry.cfg or {}).get("task"), list):
            members = entry.cfg["task"]
            pending += [m if isinstance(m, str) else m.get("task") or m.get("group") for m in members]
        else:
            leaves.add(name)
    limit = plan.settings.limit
    return sum(_items(manager.task_index.get(name), limit) for name in leaves)


def _items(entry: object, limit: float | None) -> int:
    config = getattr(entry, "cfg", None) or {}
    metadata = config.get("metadata") or {}
    known = metadata.get("n_items")
    if known is None and config.get("dataset_path") == "difficulty.graded":
        from difficulty.graded import DEFAULT_ITEMS

        known = DEFAULT_ITEMS
    size = int(known or ITEMS_OF_AN_UNKNOWN_TASK)
    if limit is None:
        return size
    return min(size, int(limit)) if limit >= 1 else round(size * limit)
