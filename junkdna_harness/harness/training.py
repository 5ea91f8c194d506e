"""What a task asks, with the right answer: of its training split, which recovery trains on and calibration reads, and, for measuring
predictions alone, of the documents that it evaluates. No test item is ever among the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from difficulty.errors import UsageError
from difficulty.runs.part import data_rows_in
from junkdna_harness.harness.targets import plain, right_options
from junkdna_harness.harness.tasks import find_tasks, load_tasks


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
    return examples_and_rows(name, include_path)[0]


def examples_and_rows(name: str, include_path: str | None = None) -> tuple[list[Example], str | None]:
    """`task_examples`, and where their rows come from, in words; None where no task says it.

    Raises:
        UsageError: as `task_examples`.
    """
    parts: dict[tuple[Example, ...], None] = {}
    tasks = _trainable(name, include_path)
    for task_name, task in tasks.items():
        # A tier shows its training documents as it shows those that it evaluates.
        docs = task.viewed_training_docs() if hasattr(task, "viewed_training_docs") else task.training_docs()
        parts[tuple(_worked(task, doc, task_name) for doc in docs)] = None
    found = [example for part in parts for example in part]
    if not found:
        raise UsageError(f"the training split of {name!r} is empty. Choose another task.")
    said = {task_name: data_rows_in({"metadata": task.config.metadata}) for task_name, task in tasks.items()}
    told = [f"{task_name}: {rows}" if len(tasks) > 1 else rows for task_name, rows in said.items() if rows]
    return found, "; ".join(told) or None


def refuse_untrainable(name: str, include_path: str | None = None) -> None:
    """Load the data of a task, or of all tasks of a group, and look whether they have a training split.

    Raises:
        UsageError: as `task_examples` says it.
    """
    _trainable(name, include_path)


def _trainable(name: str, include_path: str | None) -> dict[str, Any]:
    tasks = _lm_eval_tasks(name, include_path)
    for task_name, task in tasks.items():
        if not task.has_training_docs():
            raise UsageError(
                f"task {task_name!r} has no training split, and its test items must not be used. Choose another task, or "
                "give a .jsonl file with prompt and answer."
            )
    return tasks


def asked_texts(name: str, include_path: str | None = None) -> dict[str, list[str]]:
    """Task -> what it asks of its evaluated documents, each with the right answer; of a task that measures perplexity, its texts.

    For measuring predictions alone: nothing may be trained on them.

    Raises:
        UsageError: no such task, or a document without a right answer.
    """
    found = {}
    for task_name, task in _lm_eval_tasks(name, include_path).items():
        if task.OUTPUT_TYPE == "loglikelihood_rolling":
            found[task_name] = [str(plain(task.doc_to_target(doc))) for doc in task.eval_docs]
        else:
            worked = (_worked(task, doc, task_name) for doc in task.eval_docs)
            found[task_name] = [example.prompt + example.answer for example in worked]
    return found


def _lm_eval_tasks(name: str, include_path: str | None) -> dict[str, Any]:
    manager, names = find_tasks((name,), include_path)
    loaded = load_tasks(manager, names)
    for part, why in loaded.failed.items():
        raise UsageError(f"task {part!r}: {why}. Check that its data are reachable, or name other tasks.")
    return loaded.tasks


def _worked(task: Any, doc: Any, name: str) -> Example:
    """Prompt and right answer, joined as the task's own scoring would join them."""
    prompt, target = plain(task.doc_to_text(doc)), task.doc_to_target(doc)
    options = task.doc_to_choice(doc) if task.config.doc_to_choice is not None else None
    choosing = task.OUTPUT_TYPE == "multiple_choice"
    if options is None or (not choosing and isinstance(plain(target), str)):
        answer = _text(target)
    elif choosing and isinstance(prompt, int):
        # The options are the prompts (winogrande): the text is the index of the right one, the target what follows it.
        prompt, answer = _right(prompt, options, name), _text(target)
    else:
        answer = _right(target, options, name)
    return Example(str(prompt), f"{task.config.target_delimiter}{answer}")


def _text(target: Any) -> str:
    """The first accepted answer."""
    target = plain(target)
    return str(target[0] if isinstance(target, (list, tuple)) and target else target)


def _right(target: Any, options: Sequence[str], name: str) -> str:
    """The first option that is right."""
    found = [option for option in right_options(target, options) if option in options]
    if not found:
        raise UsageError(f"a document of {name!r} has no right answer (label {plain(target)}).")
    return str(found[0])
