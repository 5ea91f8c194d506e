"""Finding any lm-eval task by name and loading it whole, in the form that the tiers' files will hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from difficulty.errors import UsageError
from junkdna_harness.harness.patches import quiet
from junkdna_harness.harness.tasks import find_task
from junkdna_harness.presentation.escape import first_line
from junkdna_harness.tiers import config as task_files

MODULE, NAME = "junkdna_harness.tiers.task", "TieredTask"
CLASS = f"{MODULE}.{NAME}"
CHOICE = ("tier", "by", "assignment", "scores")  # keys by which a task is a part of another


@dataclass(frozen=True)
class SourceTask:
    """A task as found.

    name: its name. config: its file as plain data. task: the live task on all its documents.
    """

    name: str
    config: dict[str, Any]
    task: Any

    @property
    def keys(self) -> dict[str, Any]:
        """What a tier's file says of the whole task: see `whole_keys`."""
        return whole_keys(self.name, self.config)


def whole_keys(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """What a tier's file says of the whole task: `original`, the task itself; or, where that is made of `TieredTask` too
    (with a view, local files, or few-shot examples of its own), the very keys that it has.

    Raises:
        UsageError: the task is itself a tier.
    """
    if config.get("class") != task_files.FunctionRef(NAME, module=MODULE).plain():
        return {"original": dict(config)}
    chosen = [key for key in CHOICE if config.get(key) is not None]
    if chosen:
        raise UsageError(
            f"the task {name!r} is itself a tier (its file has {chosen[0]!r}), and tiers are built of whole tasks. "
            "Name the task that it is a part of."
        )
    return {key: value for key, value in config.items() if key not in ("class", "task")}


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

    keys = whole_keys(name, config)
    own = keys.get("metadata") or {}
    entry = {**keys, "task": name, "metadata": {**own, "config_source": str(path)}}
    try:
        with quiet():
            task: Any = TieredTask(config=entry)
            len(task.eval_docs)
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(
            f"the task {name!r} cannot be loaded ({first_line(error)}). Check that its data are reachable: "
            f"`lm_eval --tasks {name} --limit 1` must work."
        ) from error
    return SourceTask(name, config, task)
