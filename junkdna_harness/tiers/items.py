"""Documents of an lm-eval task as the `Item`s that a rule of difficulty scores."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from difficulty.cut.axes import Item
from difficulty.cut.items import chosen, texts
from junkdna_harness.harness.targets import plain


def content_key(item: Item) -> str:
    """A key of what the model sees and what is right: 16 hexadecimal digits of a sha256.

    Unlike `doc_hash` it does not change when a copy of a data set has other ids or columns.
    """
    text = json.dumps([item.context, list(item.options), list(item.answers)], ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def item_of_doc(task: Any, doc: Mapping[str, Any]) -> Item:
    """What a rule may look at, from a task and one of its documents (no few-shot examples in the context)."""
    text = plain(task.doc_to_text(doc))
    target = plain(task.doc_to_target(doc))
    if task.OUTPUT_TYPE != "multiple_choice" or not hasattr(task, "doc_to_choice"):
        return Item(doc, str(text), texts(target))
    options = [str(option) for option in task.doc_to_choice(doc)]
    if isinstance(
        text, int
    ):  # "multiple inputs": the options are the contexts, the target is what follows them
        return Item(doc, options[text], texts(target), tuple(options))
    return Item(doc, str(text), chosen(target, options), tuple(options))
