"""Finding any lm-eval task by name and loading it whole, in the form that the tiers' files will hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from difficulty.errors import UsageError
from junkdna_harness.harness.patches import quiet
from junkdna_harness.harness.tasks import find_task, first_line
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
        raise UsageError(
            f"the task {name!r} cannot be loaded ({first_line(error)}). Check that its data are reachable: "
            f"`lm_eval --tasks {name} --limit 1` must work."
        ) from error
    return SourceTask(name, config, task)
