"""Tokens that a model can read."""

from __future__ import annotations

from typing import Any

from difficulty.errors import UsageError


def refuse_unknown_tokens(name: str, largest: int, model: Any) -> None:
    """Refuse token numbers that the model has no embedding for: an index error on a CPU, a dead process on a GPU.

    Raises:
        UsageError: gives both numbers.
    """
    embeddings = model.get_input_embeddings()
    rows = getattr(getattr(embeddings, "weight", None), "shape", (None,))[0]
    if rows and largest >= rows:
        raise UsageError(
            f"{name!r} has embeddings for {rows:,} tokens, and its tokenizer gives number {largest:,}. Name the tokenizer that the model "
            "was trained with: tokenizer=."
        )
