"""Lines for a terminal: coloured where there is one, cut and folded by the columns that characters take up."""

from __future__ import annotations

import shutil
from collections.abc import Iterable

from rich.cells import cell_len, chop_cells, set_cell_size
from rich.text import Text

from difficulty.visible import visible
from junkdna_harness.presentation.console import console

WIDTH = 80
NARROWEST = 40  # characters; a narrower terminal folds lines by itself
Line = list[tuple[str, str]]  # (text, style) pieces of one line


def line_width() -> int:
    """Characters of a line: what COLUMNS says, else the terminal's width, else `WIDTH`."""
    return max(NARROWEST, shutil.get_terminal_size((WIDTH, 24)).columns)


def plain(lines: Iterable[Line]) -> str:
    """The lines without colours."""
    return "\n".join("".join(text for text, _ in line) for line in lines)


def show_lines(lines: Iterable[Line], stderr: bool = False) -> None:
    """Print the lines on stdout or stderr, with colours where it is a terminal and NO_COLOR is not set."""
    target = console(stderr=stderr, soft_wrap=True)
    for line in lines:
        target.print(
            Text.assemble(*((visible(text), style) for text, style in line)),
            markup=False,
            highlight=False,
            emoji=False,
        )


def show_text(text: str, stderr: bool = False, style: str = "") -> None:
    """Print text, lines that are wider than the terminal folded at words."""
    for line in visible(text).splitlines() or [""]:
        show_lines(paragraph(line, style=style), stderr)


def paragraph(line: str, width: int | None = None, style: str = "", indent: str = "    ") -> list[Line]:
    """A line as it is where it fits into `width` columns, by default the terminal's, else folded at words, `indent` before the others."""
    width = width or line_width()
    start = line[: len(line) - len(line.lstrip())]
    pieces = folded(line, width, start + indent, start, whole=True) if cell_len(line) > width else [line]
    return [[(piece, style)] for piece in pieces]


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


def folded(
    text: str, width: int | None = None, indent: str = "", first: str | None = None, whole: bool = False
) -> list[str]:
    """`text` on lines of at most `width` columns, by default the terminal's: `first` before the first one (default: `indent`), `indent` before the others.

    A word that is longer than a line is broken, unless `whole`: a path is to be copied.
    """
    width = width or line_width()
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
        *full, line = [word] if whole else chop_cells(word, room)
        for piece in full:
            lines.append(start + piece)
            start = indent
    return [*lines, start + line]
