"""Finding lm-eval's tasks by name, walking its groups, and loading them."""

from __future__ import annotations

import importlib.util
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from difficulty.errors import UsageError, did_you_mean
from junkdna_harness.autoload import tasks_dir
from junkdna_harness.border import TaskRefused
from junkdna_harness.harness.patches import quiet, without_hints
from junkdna_harness.harness.versions import matching, task_index
from junkdna_harness.presentation.escape import first_line

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """Live tasks and groups by name; `failed` says of each name that could not be loaded why, in one sentence."""

    tasks: dict[str, Any]
    groups: dict[str, Any]
    failed: dict[str, str] = field(default_factory=dict)


_found: dict[str, tuple[Any, list[str]]] = {}


def find_tasks(
    asked: Sequence[str], include_path: str | None = None, metadata: Mapping[str, Any] | None = None
) -> tuple[Any, list[str]]:
    """lm-eval's task manager and the names to load, patterns expanded. `metadata` reaches every task that is loaded.

    The answer is kept: finding the same names again costs nothing.

    Raises:
        UsageError: names all unknown tasks.
    """
    key = json.dumps([list(asked), include_path, dict(metadata or {})], sort_keys=True, default=str)
    if key not in _found:
        _found[key] = _find(asked, include_path, metadata or {})
    return _found[key]


def _find(
    asked: Sequence[str], include_path: str | None, metadata: Mapping[str, Any]
) -> tuple[Any, list[str]]:
    for manager, whole in _managers(include_path, metadata):
        names, unknown = _match(manager, asked)
        if not unknown and (whole or not _refers_outside(manager, names)):
            return manager, names
    hints = [f"{name!r}{did_you_mean(name, manager.all_tasks)}" for name in unknown]
    raise UsageError(
        f"unknown task{'s' * (len(unknown) > 1)} {', '.join(hints)} `lm_eval ls tasks` lists what there is; "
        "--include_path adds a folder."
    )


def _managers(include_path: str | None, metadata: Mapping[str, Any]) -> Iterator[tuple[Any, bool]]:
    """Managers to look in, one after the other, and whether each knows all tasks.

    Our own tasks and those of the user come first: lm-eval's index of all its tasks takes seconds.
    """
    from lm_eval.tasks import TaskManager

    given = [include_path] if include_path else []
    yield (
        TaskManager(include_path=[tasks_dir(), *given], include_defaults=False, metadata=dict(metadata)),
        False,
    )
    yield TaskManager(include_path=given or None, metadata=dict(metadata)), True


def _match(manager: Any, asked: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names that the manager knows, patterns expanded, and those that it does not know."""
    names: list[str] = []
    unknown: list[str] = []
    for name in asked:
        matches = matching(manager, name)
        if not matches and Path(name).is_file():
            matches = [name]
        names += matches
        if not matches:
            unknown.append(name)
    return list(dict.fromkeys(names)), unknown


def _refers_outside(manager: Any, names: Sequence[str]) -> bool:
    """True where a group names a task that this manager does not know."""
    index = task_index(manager)
    return any(name not in index for name in _walk(index, names))


def leaves(manager: Any, names: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """The single tasks that `names` come to, groups and tags opened, each with its config; {} where it is unknown."""
    index = task_index(manager)
    found: dict[str, Mapping[str, Any]] = {}
    for name in _walk(index, names):
        entry = index.get(name)
        if entry is None or not _members(entry):
            found[name] = (entry.cfg if entry is not None else None) or {}
    return found


def _walk(index: Mapping[str, Any], names: Sequence[str]) -> Iterator[str]:
    """`names` and everything below them, each once."""
    pending, seen = list(reversed(names)), set()
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        yield name
        if (entry := index.get(name)) is not None:
            pending += reversed(_members(entry))


def _members(entry: Any) -> list[str]:
    """Names that a group or a tag stands for; none for a task."""
    if entry.kind.name == "TAG":
        return sorted(entry.tags)
    return _named((entry.cfg or {}).get("task")) if entry.kind.name == "GROUP" else []


def _named(listed: Any) -> list[str]:
    """The names in a group's `task:`, which may hold mappings, and groups written out within."""
    names: list[str] = []
    for part in listed if isinstance(listed, (list, tuple)) else [listed]:
        if isinstance(part, Mapping):
            inside = part.get("task")
            names += _named(inside if inside is not None else part.get("group"))
        elif isinstance(part, str):
            names.append(part)
    return names


def load_tasks(manager: Any, names: Sequence[str]) -> Loaded:
    """The tasks and groups of `names`. One that cannot be loaded, or refuses to be asked, does not keep the others from being loaded.

    Raises:
        UsageError: a task says what the user must do, two of them cannot be loaded together, or none can be loaded.
    """
    with without_hints():
        try:
            return _load(manager, names)
        except Exception as error:
            if isinstance(error, UsageError) and not isinstance(error, TaskRefused):
                raise
            together = error
        if isinstance(together, TaskRefused):
            # A task of a group refuses: the others are asked without the group, whose mean would be that of other tasks.
            names = list(leaves(manager, names))
        failed = {name: sentence for name in names if (sentence := _why_not(manager, name))}
        if not failed:
            raise UsageError(f"the tasks cannot be evaluated together: {first_line(together)}") from together
        kept = [name for name in names if name not in failed]
        if not kept:
            raise UsageError(
                f"{none_left(failed)}. Check that the data are reachable: `lm_eval --tasks {names[0]} --limit 1` must work."
            ) from together
        loaded = _load(manager, kept)
    return Loaded(loaded.tasks, loaded.groups, failed)


def _load(manager: Any, names: Sequence[str]) -> Loaded:
    loaded = manager.load(list(names))
    return Loaded(dict(loaded["tasks"]), dict(loaded.get("groups", {})))


def _why_not(manager: Any, name: str) -> str:
    """Why a task cannot be loaded, or ''."""
    try:
        manager.load([name])
    except TaskRefused as error:
        return f"it cannot be asked: {first_line(error)}"
    except UsageError:
        raise
    except Exception as error:  # whatever a data set's loader raises
        return f"it cannot be loaded: {first_line(error)}"
    return ""


def none_left(failed: Mapping[str, str]) -> str:
    """The sentence for a run in which every task failed."""
    return "no task can be evaluated: " + "; ".join(f"{name}: {why}" for name, why in failed.items())


def find_task(name: str, include_path: str | None = None) -> Path:
    """The YAML file of one task: the user's own in `include_path`, else this package's, else lm-eval's.

    Raises:
        UsageError: there is none (the nearest is suggested), or the name is that of a group.
    """
    if include_path is not None and not Path(include_path).is_dir():
        raise UsageError(f"--include_path {include_path!r} is no folder. Name the folder of your task files.")
    known: list[str] = []
    with quiet():
        for manager, _ in _managers(include_path, {}):
            entry = task_index(manager).get(name)
            if entry is not None:
                return _file_of(name, entry)
            known = manager.all_subtasks
    where = f" in {include_path!r} or in lm-eval" if include_path else " in lm-eval"
    raise UsageError(
        f"there is no task {name!r}{where}.{did_you_mean(name, known)} `lm_eval ls tasks` lists them all; "
        "--include_path names the folder of your own."
    )


def _file_of(name: str, entry: Any) -> Path:
    if entry.yaml_path is not None and "TASK" in entry.kind.name:
        return Path(entry.yaml_path)
    parts = _members(entry)
    raise UsageError(
        f"{name!r} is a group of {len(parts)} tasks, and tiers are built for one. Name one, e.g. --task {parts[0]}."
        if parts
        else f"{name!r} is not a single task. Name a task."
    )


@lru_cache(maxsize=1)
def packaged_tasks() -> Path:
    """The folder of the tasks that ship with lm-eval."""
    spec = importlib.util.find_spec("lm_eval.tasks")
    if spec is None or spec.origin is None:
        raise UsageError("lm_eval is not installed. Install it: pip install 'lm-eval>=0.4.13'.")
    return Path(spec.origin).parent
