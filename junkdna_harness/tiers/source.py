"""Finding any lm-eval task by name and loading it whole, in the form that the tiers' files will hold."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from difficulty.errors import UsageError, did_you_mean
from junkdna_harness.tiers import config as task_files


@dataclass(frozen=True)
class SourceTask:
    """A task as found.

    name: its name. config: its file as plain data. task: the live task on all its documents.
    """

    name: str
    config: dict[str, Any]
    task: Any


def load_source(name: str, include_path: str | None = None) -> SourceTask:
    """The task of that name, loaded.

    Raises:
        UsageError: there is none (the nearest is suggested), it is a group, or its data cannot be loaded.
    """
    path = find_task(name, include_path)
    config = task_files.to_plain(task_files.read_config(path))
    for key in ("tag", "group", "task_list"):
        config.pop(key, None)
    from junkdna_harness.tiers.task import TieredTask

    entry = {"task": name, "original": config, "metadata": {"config_source": str(path)}}
    try:
        with quiet():
            task: Any = TieredTask(config=entry)
            len(task.eval_docs)
    except UsageError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UsageError(
            f"the task {name!r} cannot be loaded ({reason}). Check that its data are reachable: "
            f"`lm_eval --tasks {name} --limit 1` must work."
        ) from error
    return SourceTask(name, config, task)


def find_task(name: str, include_path: str | None = None) -> Path:
    """The YAML file of a task: in `include_path` first, then among those of lm-eval and of this package."""
    from lm_eval.tasks import TaskManager

    if include_path is not None and not Path(include_path).is_dir():
        raise UsageError(f"--include_path {include_path!r} is no folder. Name the folder of your task files.")
    managers = [{"include_path": include_path, "include_defaults": False}] if include_path else []
    known: list[str] = []
    for options in [*managers, {}]:
        with quiet():
            manager = TaskManager(**options)
        index = manager.task_index
        if name in index and index[name].yaml_path is not None and "TASK" in index[name].kind.name:
            return Path(index[name].yaml_path)
        if name in index:
            parts = _members(manager, name)
            raise UsageError(
                f"{name!r} is a group of {len(parts)} tasks, and tiers are built for one. Name one, e.g. --task {parts[0]}."
                if parts
                else f"{name!r} is not a single task. Name a task."
            )
        known += manager.all_subtasks
    where = f" in {include_path!r} or in lm-eval" if include_path else " in lm-eval"
    raise UsageError(
        f"there is no task {name!r}{where}.{did_you_mean(name, known)} `lm_eval ls tasks` lists them all; "
        "--include_path names the folder of your own."
    )


def _members(manager: Any, name: str) -> Sequence[str]:
    entry = manager.task_index[name]
    if entry.tags and entry.kind.name == "TAG":
        return sorted(entry.tags)
    listed = (entry.cfg or {}).get("task", [])
    names = [part.get("task") or part.get("group") if isinstance(part, dict) else part for part in listed]
    return [str(part) for part in names if part]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No log lines and progress bars of lm-eval and datasets inside the block."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)
