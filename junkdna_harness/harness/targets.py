"""A task's right answer as plain values. Tasks give indices, texts, or lists of either, as Python's or numpy's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def plain(value: Any) -> Any:
    """`value` with numpy's scalars and arrays as Python's own."""
    if hasattr(value, "tolist") and hasattr(value, "dtype"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return type(value)([plain(entry) for entry in value]) if type(value) in (list, tuple) else value
    return value


def right_options(target: Any, options: Sequence[str]) -> list[str]:
    """The options that are right, from an index, a text or a list of either; an index beyond the options gives none.

    A text is looked for among the options first, as lm-eval does, and only then read as a number. A truth value is an
    index, and so is 1.0: a column of indices with a hole in it is read as floats.
    """
    target = plain(target)
    found: list[str] = []
    for entry in target if isinstance(target, (list, tuple)) else [target]:
        index = None if isinstance(entry, str) and entry in options else _index(entry)
        if index is None:
            found.append(str(entry))
        elif 0 <= index < len(options):
            found.append(options[index])
    return found


def _index(entry: Any) -> int | None:
    if isinstance(entry, str):
        text = entry.strip()
        if text in ("True", "False"):  # as lm-eval logs a truth value
            return int(text == "True")
        return int(text) if text.lstrip("-").isdigit() else None
    if isinstance(entry, float):
        return int(entry) if entry.is_integer() else None
    return int(entry) if isinstance(entry, int) else None
