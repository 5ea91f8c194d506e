"""What differs between the versions of lm-eval that we work with, 0.4.13 and 0.5; each difference stands here, once.

0.5 renames private helpers, keeps the scores of a task in its scorers, loads a task's data late, has one task class
for each kind of output, and puts each response in a list of repeats. What is asked for is looked for by name, never by
version number, so that a release between the two works too.
"""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

# The loggers by which tasks are told of while they are loaded, in 0.4 and in 0.5.
LOGGERS_OF_TASKS = ("lm_eval.api.task", "lm_eval.api.task._task")


def task_index(manager: Any) -> Mapping[str, Any]:
    """Name -> entry of every task, group and tag that `manager` knows (0.5: `_task_index`)."""
    index: Mapping[str, Any] = manager.task_index if hasattr(manager, "task_index") else manager._task_index
    return index


def matching(manager: Any, pattern: str) -> list[str]:
    """The names that `pattern` stands for, none where it is unknown; 0.5 hands an unknown name back as it is.

    0.5 also knows `task@format` and `group::task`, which are known where their first part is.
    """
    index = task_index(manager)
    return [
        name
        for name in manager.match_tasks([pattern])
        if name in index or name.split("::")[0].split("@")[0] in index
    ]


def task_key(task: Any) -> str:
    """The name under which a loaded task stands; 0.5 puts that of its group before it."""
    return str(getattr(task, "_qualified_name", None) or task.task_name)


def sample_size(task: Any, limit: float | None) -> int | None:
    """The number of documents that `--limit` leaves of a task: a share of them below 1, else a count.

    lm-eval has a private helper for it, with another name in each version.
    """
    if limit is None:
        return None
    return math.ceil(len(task.eval_docs) * limit) if limit < 1 else int(limit)


def scores_itself(task: Any) -> bool:
    """True where the task keeps its scores in scorers of its own (0.5), False where they are collected outside."""
    return hasattr(task, "process_instances")


def task_class(config: Mapping[str, Any]) -> type:
    """The class of a task that its file describes: one for all, or (0.5) the one of its kind of output."""
    from lm_eval.api.task import ConfigurableTask

    registered: Mapping[str, type] = getattr(ConfigurableTask, "_registry", {})
    output_type = str(config.get("output_type") or "generate_until")
    kind: type = registered.get(output_type, ConfigurableTask)
    return kind


def needs_images(task: Any) -> bool:
    """True for a task that shows images or plays sounds (0.5: `_multimodal`)."""
    return bool(getattr(task, "MULTIMODAL", False) or getattr(task, "_multimodal", False))


def takes_config(kind: type) -> bool:
    """True where a task class is called with its config; 0.5's classes pass it on to the class above unseen."""
    own = (
        vars(above)["__init__"] for above in kind.__mro__ if above is not object and "__init__" in vars(above)
    )
    return any("config" in inspect.signature(function).parameters for function in own)


def fewshot_split(task: Any) -> str | None:
    """The split that few-shot examples come from."""
    settings = getattr(task, "fewshot_cfg", None) or task._fewshot_cfg
    split: str | None = settings.split
    return split


def module_with_bar() -> Any:
    """The module that shows a progress bar while the requests of a task are built (0.5: `lm_eval.api.task._task`)."""
    import lm_eval.api.task as module

    return module if hasattr(module, "tqdm") else importlib.import_module("lm_eval.api.task._task")


def modules_of_models() -> list[Any]:
    """The modules of `hf` that show bars while texts become tokens, texts are made and requests are answered."""
    found = [importlib.import_module(name) for name in ("lm_eval.api.model", "lm_eval.models.huggingface")]
    return [module for module in found if hasattr(module, "tqdm")]


def template_environment() -> Any | None:
    """The Jinja environment in which each document compiles its template again; None where templates are kept (0.5)."""
    import lm_eval.utils as utils

    return getattr(utils, "env", None)


def own_keys(config: Mapping[str, Any]) -> set[str]:
    """Keys that lm-eval itself puts into a task's config; 0.5 adds private ones (`_qualified_name`)."""
    return {key for key in config if key.startswith("_")}


def logged_target(task: Any, doc: Any, instances: Sequence[Any]) -> Any:
    """The target that lm-eval logs for a document; 0.5 keeps it with the requests, where it may be an index."""
    if hasattr(instances[0], "target"):
        return instances[0].target
    return task.doc_to_target(doc)


def one_response(filtered: Sequence[Any], repeats: int) -> Any:
    """A request's filtered response; 0.5 gives a list of repeats also where there is one."""
    if repeats == 1 and isinstance(filtered, list) and len(filtered) == 1:
        return filtered[0]
    return filtered
