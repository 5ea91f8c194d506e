"""What may change between two starts of a sweep in one folder: more levels and methods, and the machine; nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

from difficulty.errors import UsageError
from junkdna_harness.sweep.plan import Plan, PlannedRun, Settings
from junkdna_harness.sweep.planned import spec_of

# Arguments of a model that say where and how fast it runs: no score depends on them.
MACHINE_ARGUMENTS = frozenset({
    "batch_size", "max_batch_size", "device", "prefix_cache", "parallelize", "device_map", "gpus",
    "max_memory_per_gpu", "max_cpu_memory", "offload_folder",
})  # fmt: skip
# Set for each run by the grid; all other compression arguments hold for the whole folder.
_OF_THE_GRID = frozenset({"method", "sparsity", "pattern", "bits", "mask"})
_OF_QUANTIZING = frozenset({"group_size", "symmetric", "act_order", "quantizer"})


def compare(old: Plan, new: Plan, extend: bool) -> Plan:
    """The plan to go on with in a folder that holds `old`.

    Raises:
        UsageError: `new` differs, and does not only add cells, or does so without `extend`.
    """
    if (old.models, old.cells, old.settings) == (new.models, new.cells, new.settings):
        return replace(
            new, cells=old.cells, matches=old.matches
        )  # the same once more, which was checked then
    _same_models(old, new)
    for name in Settings.__dataclass_fields__:
        was, now = getattr(old.settings, name), getattr(new.settings, name)
        if was != now:
            raise UsageError(_other(name, was, now))
    there = {old.run_id(cell): cell for cell in old.cells}
    asked = {new.run_id(cell): cell for cell in new.cells}
    for name in there.keys() & asked.keys():
        _same_run(name, there[name], asked[name])
    for model in range(len(new.models)):
        _same_compression(*([c for c in plan.cells if c.model == model] for plan in (old, new)))
    # What later rounds added is no part of the grid that is asked for.
    missing = [n for n in there if n not in asked and there[n].added is None]
    added = [n for n in asked if n not in there]
    if missing and not (extend and (added or new.later is not None)):
        raise UsageError(
            f"this folder's plan has {len(missing)} more runs ({missing[0]!r}, ...). "
            "Give the same grid, or another folder."
        )
    if added and not extend:
        raise UsageError(
            f"this folder's plan lacks {len(added)} of these runs ({added[0]!r}, ...). "
            "Add --extend to run them too, or give another folder."
        )
    plan = replace(new, cells=old.cells + tuple(asked[name] for name in added), matches=old.matches)
    plan.check()
    return plan


def _same_models(old: Plan, new: Plan) -> None:
    if len(old.models) != len(new.models):
        raise UsageError(_other("models", [dict(m) for m in old.models], [dict(m) for m in new.models]))
    for was, now in zip(old.models, new.models, strict=True):
        first, second = _without_machine(was), _without_machine(now)
        if first != second:
            raise UsageError(_other("models", first, second))


def _without_machine(model: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in model.items() if name not in MACHINE_ARGUMENTS}


def _same_run(name: str, old: PlannedRun, new: PlannedRun) -> None:
    was, now = _asked(old), _asked(new)
    for argument in [*was, *(n for n in now if n not in was)]:
        if was.get(argument) != now.get(argument):
            raise UsageError(_other(f"{argument} of run {name!r}", was.get(argument), now.get(argument)))


def _same_compression(old: Iterable[PlannedRun], new: Iterable[PlannedRun]) -> None:
    """One name of a method stands for one way of compressing: two group sizes in one folder would pass for one method."""
    was, now = _common(old), _common(new)
    for argument in was.keys() & now.keys():
        if other := [value for value in now[argument] if value not in was[argument]]:
            raise UsageError(_other(argument, was[argument][0], other[0]))


def _common(cells: Iterable[PlannedRun]) -> dict[str, list[Any]]:
    """The values of each argument that holds for the whole folder, defaults filled in."""
    found: dict[str, list[Any]] = {}
    for cell in cells:
        if cell.kind not in ("prune", "quantize"):
            continue
        for argument, value in _asked(cell).items():
            skipped = (
                argument in _OF_THE_GRID
                or (argument in _OF_QUANTIZING and cell.kind == "prune")
                or (argument == "scope" and cell.pattern is not None)  # N:M has groups of its own
                or (argument == "seed" and cell.replicate > 0)  # each draw has its own
            )
            values = found.setdefault(argument, [])
            if skipped and not values:
                del found[argument]
            elif not skipped and value not in values:
                values.append(value)
    return found


def _asked(cell: PlannedRun) -> dict[str, Any]:
    """A run's arguments as compression reads them, so that '32' is 32 and a default is what it stands for."""
    spec = spec_of(cell)
    return dict(cell.arguments) if spec is None else asdict(spec)


def _other(what: str, old: object, new: object) -> str:
    return (
        f"this folder belongs to another plan: its {what} is {_text(old)}, not {_text(new)}. "
        "Give another folder; --extend can only add levels and methods."
    )


def _text(value: object) -> str:
    return json.dumps(value, default=str)
