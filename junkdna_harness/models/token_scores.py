"""Answers for single tokens of a text: many requests, and one pass for each window of the text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from junkdna_harness.border import TaskRefused
from junkdna_harness.texts.known import known
from junkdna_harness.texts.scoring import logits_of, score_windows, windows_together
from junkdna_harness.texts.tokens import TokenizedText
from junkdna_harness.texts.vocabulary import refuse_unknown_tokens
from junkdna_harness.texts.windows import Window, tokenize

TokenScore = tuple[float, float, float]  # right (1 or 0), margin, loss


def token_scores(lm: Any, requests: Sequence[Any], size: Callable[[int], int] = int) -> list[TokenScore]:
    """Right, margin and loss of each requested token, `size` of the usual number of windows in a pass; `arguments` of a request are one string: the text's hash, document and place.

    Raises:
        TaskRefused: the model has other tokens than the tasks were built with, or takes fewer than a window's.
        FloatingPointError: the model answers with NaN.
    """
    asked = [_named(str(request.args[0])) for request in requests]
    found: dict[tuple[str, int, int], TokenScore] = {}
    for name, windows in _windows(asked).items():
        check_tokens(lm, known(name))
        found |= {(name, *at): score for at, score in _scores(lm, windows, size).items()}
    return [found[key] for key in asked]


def tokens_seen(requests: Sequence[Any]) -> int:
    """How many tokens the model sees to answer `requests`: all of each window that holds one of theirs."""
    asked = [_named(str(request.args[0])) for request in requests]
    return sum(len(window.inputs) for windows in _windows(asked).values() for window in windows)


def _windows(asked: Sequence[tuple[str, int, int]]) -> dict[str, list[Window]]:
    """Text -> its windows that hold a wanted token."""
    wanted: dict[str, set[tuple[int, int]]] = {}
    for name, document, place in asked:
        wanted.setdefault(name, set()).add((document, place))
    return {
        name: [
            window for window in known(name).windows
            if any((window.document, window.start + i) in places for i in range(len(window.targets)))
        ]
        for name, places in wanted.items()
    }  # fmt: skip


def _named(name: str) -> tuple[str, int, int]:
    """The text's hash, the document's number and the place of a token in it."""
    text, document, place = name.split(":")
    return text, int(document), int(place)


def _scores(
    lm: Any, windows: Sequence[Window], size: Callable[[int], int]
) -> dict[tuple[int, int], TokenScore]:
    """(document, place) -> score, of all targets of some windows of a text."""
    answers = score_windows(logits_of(lm), windows, size(usual_together(lm, windows)))
    places = [(w.document, w.start + i) for w in windows for i in range(len(w.targets))]
    rows = np.stack([answers.right, answers.margin, answers.loss], axis=1).tolist()
    return {at: (row[0], row[1], row[2]) for at, row in zip(places, rows, strict=True)}


def usual_together(lm: Any, windows: Sequence[Window]) -> int:
    """How many of these windows go through the model together where nobody says."""
    width = int(lm.model.config.get_text_config().vocab_size)
    return windows_together(max(len(window.inputs) for window in windows), width, lm.device.type != "cpu")


def check_tokens(lm: Any, text: TokenizedText) -> None:
    """Refuse a text whose tokens are not the model's, or whose windows are longer than it takes.

    Raises:
        TaskRefused: says what differs.
        UsageError: the model has no embedding for one of the tokens.
    """
    longest, name = max(len(window.inputs) for window in text.windows), _name(lm)
    if longest > lm.max_length:
        raise TaskRefused(
            f"windows of {longest} tokens are more than the {lm.max_length} that {name!r} takes. Give less: --metadata "
            "'{\"window\": 256}', or sweep --window 256."
        )
    shortest = min(text.documents, key=lambda document: len(document.ids))
    (again,) = tokenize([shortest.document], lm)
    first = next(window for window in text.windows if window.start == 0)
    if not np.array_equal(again.ids, shortest.ids) or first.inputs[0] != lm.prefix_token_id:
        raise TaskRefused(
            f"the text's tokens are not those of {name!r} as it was loaded. Name its tokenizer in the model's arguments."
        )
    refuse_unknown_tokens(name, text.largest, lm.model)


def _name(lm: Any) -> str:
    """What the user called the model; lm-eval's own `hf` keeps that elsewhere."""
    return str(
        getattr(lm, "model_name", None) or getattr(lm.config, "_name_or_path", "") or type(lm).__name__
    )
