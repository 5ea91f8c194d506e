"""Lines for a terminal: coloured where there is one, cut and folded by the columns that characters take up."""

from __future__ import annotations

from collections.abc import Iterable

from rich.cells import cell_len, chop_cells, set_cell_size
from rich.text import Text

from difficulty.visible import visible
from junkdna_harness.presentation.console import console

WIDTH = 80
Line = list[tuple[str, str]]  # (text, style) pieces of one line


def plain(lines: Iterable[Line]) -> str:
    """The lines without colours."""
    return "\n".join("".join(text for text, _ in line) for line in lines)


def show(lines: Iterable[Line]) -> None:
    """Print the lines on stdout, with colours where it is a terminal and NO_COLOR is not set."""
    target = console(soft_wrap=True)
    for line in lines:
        target.print(
            Text.assemble(*((visible(text), style) for text, style in line)),
            markup=False,
            highlight=False,
            emoji=False,
        )


def show_text(text: str) -> None:
    """Print text on stdout, lines that are wider than `WIDTH` folded."""
    for line in visible(text).splitlines():
        pieces = folded(line, indent="    ", first="") if cell_len(line) > WIDTH else [line]
        show([(piece, "")] for piece in pieces)


def cut(text: str, width: int, end: bool = False) -> str:
    """`text` in at most `width` columns, its beginning (with `end`, its end) kept, an ellipsis where something is left out.

    >>> cut("past_tense tier 4", 12), cut("past_tense tier 4", 12, end=True)
    ('past_tense…', '…_tense tier 4')
    """
    if cell_len(text) <= width:
        return text
    if end:
        return "…" + set_cell_size(text[::-1], width - 1).rstrip()[::-1]
    return set_cell_size(text, width - 1).rstrip() + "…"


def padded(text: str, width: int) -> str:
    """`text` in exactly `width` columns."""
    return cut(text, width) + " " * max(0, width - cell_len(cut(text, width)))


def folded(text: str, width: int = WIDTH, indent: str = "", first: str | None = None) -> list[str]:
    """`text` on lines of at most `width` columns: `first` before the first one (default: `indent`), `indent` before the others."""
    lines: list[str] = []
    start = indent if first is None else first
    line = ""
    for word in text.split():
        room = width - cell_len(start)
        if line and cell_len(line) + 1 + cell_len(word) > room:
            lines.append(start + line)
            start, line = indent, ""
            room = width - cell_len(start)
        if line:
            line += " " + word
            continue
        *full, line = chop_cells(word, room)
        for piece in full:
            lines.append(start + piece)
            start = indent
    return [*lines, start + line]
