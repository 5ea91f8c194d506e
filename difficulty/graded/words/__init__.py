"""The word lists of the families: plain text, one entry per line, columns separated by tabs."""

from __future__ import annotations

from functools import cache
from pathlib import Path


@cache
def read_words(name: str) -> tuple[tuple[str, ...], ...]:
    """The entries of the list `name`, each a tuple of its columns; lines that start with `#` are remarks."""
    text = (Path(__file__).parent / f"{name}.txt").read_text(encoding="utf-8")
    return tuple(tuple(line.split("\t")) for line in text.splitlines() if line and not line.startswith("#"))
