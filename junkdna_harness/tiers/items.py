"""Documents of lm-eval, from a task or from its log, as the `Item`s that a rule of difficulty scores."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from difficulty.cut.axes import Item
from junkdna_harness.harness.targets import plain, right_options


def content_key(item: Item) -> str:
    """A key of what the model sees and what is right: 16 hexadecimal digits of a sha256.

    Unlike `doc_hash` it does not change when a copy of a data set has other ids or columns.
    """
    text = json.dumps([item.context, list(item.options), list(item.answers)], ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def item_of_doc(task: Any, doc: Mapping[str, Any]) -> Item:
    """What a rule may look at, from a task and one of its documents (no few-shot examples in the context)."""
    text = plain(task.doc_to_text(doc))
    target = task.doc_to_target(doc)
    if task.OUTPUT_TYPE != "multiple_choice" or not hasattr(task, "doc_to_choice"):
        return Item(doc, str(text), _texts(target))
    options = [str(option) for option in task.doc_to_choice(doc)]
    if isinstance(
        text, int
    ):  # "multiple inputs": the options are the contexts, the target is what follows them
        return Item(doc, options[text], _texts(target), tuple(options))
    return Item(doc, str(text), _chosen(target, options), tuple(options))


def item_of_sample(sample: Mapping[str, Any]) -> Item:
    """What a rule may look at, from one row of a samples_*.jsonl file (few-shot examples are in the context)."""
    requests = [_arguments(entry) for entry in _rows(sample.get("arguments", []))]
    context = str(requests[0][0]) if requests and requests[0] else ""
    continuations = [
        str(request[1]) for request in requests if len(request) > 1 and isinstance(request[1], str)
    ]
    target = _parsed(sample.get("target"))
    if len(continuations) > 1:
        options = [continuation.strip() for continuation in continuations]
        return Item(sample.get("doc", {}), context, _chosen(target, options), tuple(options))
    answers = tuple(continuations) if continuations else _texts(target)
    return Item(sample.get("doc", {}), context, tuple(answer.strip() for answer in answers))


def _parsed(target: Any) -> Any:
    """The target as the task gave it: lm-eval writes a list of answers as its Python text."""
    if isinstance(target, str) and target.startswith("[") and target.endswith("]"):
        try:
            value = ast.literal_eval(target)
        except (SyntaxError, ValueError):
            return target
        return value if isinstance(value, list) else target
    return target


def _chosen(target: Any, options: Sequence[str]) -> tuple[str, ...]:
    """The accepted options, from an index, a text, or a list of either."""
    return tuple(text.strip() for text in right_options(target, options))


def _texts(target: Any) -> tuple[str, ...]:
    target = plain(target)
    return tuple(str(entry).strip() for entry in (target if isinstance(target, (list, tuple)) else [target]))


def _rows(arguments: Any) -> list[Any]:
    """Requests of a sample: a list, or the {"gen_args_0": ...} mapping that lm-eval writes to files."""
    return list(arguments.values()) if isinstance(arguments, Mapping) else list(arguments)


def _arguments(entry: Any) -> list[Any]:
    return list(entry.values()) if isinstance(entry, Mapping) else list(entry)
