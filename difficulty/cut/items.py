"""Logged samples as the `Item`s that a rule of difficulty scores."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from difficulty.cut.axes import Item
from difficulty.runs.samples import requests


def item_of_sample(sample: Mapping[str, Any]) -> Item:
    """What a rule may look at, from one row of a samples_*.jsonl file (few-shot examples are in the context)."""
    asked = requests(sample)
    context = str(asked[0][0]) if asked and asked[0] else ""
    continuations = [str(request[1]) for request in asked if len(request) > 1 and isinstance(request[1], str)]
    target = _parsed(sample.get("target"))
    if len(continuations) > 1:
        options = [continuation.strip() for continuation in continuations]
        return Item(sample.get("doc", {}), context, chosen(target, options), tuple(options))
    answers = tuple(continuations) if continuations else texts(target)
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


def chosen(target: Any, options: Sequence[str]) -> tuple[str, ...]:
    """The accepted options, from an index, a text, or a list of either."""
    gold = []
    for entry in target if isinstance(target, list | tuple) else [target]:
        if isinstance(entry, str) and entry.lstrip("-").isdigit() and entry not in options:
            entry = int(entry)
        if isinstance(entry, int) and not isinstance(entry, bool):
            gold += [options[entry]] if 0 <= entry < len(options) else []
        else:
            gold.append(str(entry))
    return tuple(text.strip() for text in gold)


def texts(target: Any) -> tuple[str, ...]:
    """The accepted answers, from one or a list of them."""
    entries = target if isinstance(target, list | tuple) else [target]
    return tuple(str(entry).strip() for entry in entries)
