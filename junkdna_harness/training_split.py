"""Worked examples out of a task's training split: what recovery trains on and calibration reads. Never a test item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from difficulty.errors import UsageError


@dataclass(frozen=True)
class Example:
    """`prompt` is read, `answer` is learned; a text has no prompt. `end` is learned too: a newline, or 'eos'."""

    prompt: str
    answer: str
    end: str = "eos"


def task_examples(name: str, include_path: str | None = None) -> list[Example]:
    """The training split of an lm-eval task, or of all tasks of a group, as prompt and right answer.

    Tiers of one benchmark share its training split: what several tasks of a group bring alike is taken once.

    Raises:
        UsageError: no such task, no training split, or no right answer.
    """
    parts: dict[tuple[Example, ...], None] = {}
    for task_name, task in _lm_eval_tasks(name, include_path).items():
        if not task.has_training_docs():
            raise UsageError(
                f"task {task_name!r} has no training split, and its test items must not be used. Choose another task, or "
                "give a .jsonl file with prompt and answer."
            )
        # A tier shows its training documents as it shows those that it evaluates.
        docs = task.viewed_training_docs() if hasattr(task, "viewed_training_docs") else task.training_docs()
        parts[tuple(_worked(task, doc, task_name) for doc in docs)] = None
    found = [example for part in parts for example in part]
    if not found:
        raise UsageError(f"the training split of {name!r} is empty. Choose another task.")
    return found


def _lm_eval_tasks(name: str, include_path: str | None) -> dict[str, Any]:
    from junkdna_harness.sweep.plan import Settings
    from junkdna_harness.sweep.suite import find_tasks

    manager, names = find_tasks(Settings((name,), include_path=include_path), {})
    try:
        return dict(manager.load(names)["tasks"])
    except UsageError:
        raise
    except Exception as error:  # whatever a data set's loader raises
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UsageError(
            f"task {name!r} cannot be loaded ({reason}). Check that its data are reachable."
        ) from error


def _worked(task: Any, doc: Any, name: str) -> Example:
    """Prompt and right answer, joined as the task's own scoring would join them."""
    return Example(str(task.doc_to_text(doc)), f"{task.config.target_delimiter}{_answer(task, doc, name)}")


def _answer(task: Any, doc: Any, name: str) -> str:
    target = task.doc_to_target(doc)
    choices = task.doc_to_choice(doc) if task.config.doc_to_choice is not None else None
    if isinstance(target, (list, tuple)) and target:
        target = target[0]
    if choices is not None and isinstance(target, int):
        if not 0 <= target < len(choices):
            raise UsageError(f"a training example of {name!r} has no right answer (label {target}).")
        return str(choices[target])
    return str(target)
