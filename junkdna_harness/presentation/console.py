"""Where tables are printed. A table is folded to a terminal's width, and not at all where nobody sees an edge."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

WIDE = 200  # characters of a line in a pipe or a file


def console(width: int = WIDE, stderr: bool = False, soft_wrap: bool = False) -> Console:
    """A console as wide as the terminal; in a pipe or a file at least `width` characters wide.

    `soft_wrap` leaves it to the terminal to fold long lines.
    """
    from rich.console import Console

    file = sys.stderr if stderr else sys.stdout
    found = Console(file=file, soft_wrap=soft_wrap)
    return (
        found if found.is_terminal else Console(file=file, soft_wrap=soft_wrap, width=max(width, found.width))
    )


def columns(header: Sequence[str], rows: Sequence[Sequence[str]], numbers: bool = True) -> str:
    """A table in plain text, columns aligned to the left, and to the right but the first where they hold `numbers`.

    >>> print(columns(["tier", "items"], [["1", "250"], ["2", "9"]]))
    tier  items
    1       250
    2         9
    """
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        cells = [
            cell.rjust(width) if numbers and i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    return "\n".join(line(row) for row in [header, *rows])
