"""Tables for a terminal: as wide as it is, 80 characters where that is not known, and nothing cut.

What is the same in all rows is told above the table. Long texts are folded at words. Columns that do not fit stand in further
tables below, with the first columns repeated. Names and numbers are never broken over lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Literal

from rich.cells import cell_len

from junkdna_harness.presentation.escape import one_line
from junkdna_harness.presentation.lines import Line, folded, line_width, plain

GAP = 2  # characters between two columns
LEAST_TEXT = (
    14  # characters below which no column of text is folded: further columns go to another table first
)


@dataclass(frozen=True)
class Column:
    """A column: `key` says which row it is and stands in every table, `text` may be folded, `number` stands to the right.

    `told`: the column is left out where all rows have the same in it, which is told above. `head`: rows that have the same in it stand
    below one heading in its stead. `right`: aligned to the right, as numbers always are.
    """

    name: str
    kind: Literal["key", "text", "number"] = "key"
    told: bool = True
    head: bool = False
    right: bool = False


@dataclass(frozen=True)
class Cell:
    """A cell: its text and style; `below` follows on the same line where there is room, else on the next."""

    text: str
    style: str = ""
    below: str = ""


Cells = Sequence["str | Cell"]


def table(
    columns: Sequence[Column], rows: Sequence[Cells], width: int | None = None, title: str = ""
) -> list[Line]:
    """The lines of a table, `title` and what all rows have in common above it, within `width` columns."""
    width = width or line_width()
    body = [[_cell(cell) for cell in row] for row in rows]
    kept, common = _common(columns, body)
    lines: list[Line] = [[(line, "bold")] for line in (folded(title, width) if title else [])]
    if common:
        lines += [[(line, "dim")] for line in folded(f"all rows: {', '.join(common)}", width)]
    heads = [i for i in kept if columns[i].head]
    shown = [i for i in kept if i not in heads]
    lines += [[]] if lines else []
    for number, part in enumerate(_parts(columns, body, shown, width, indent=2 if heads else 0)):
        lines += [[]] if number else []
        lines += _block(columns, body, part, heads, width)
    return lines


def table_text(columns: Sequence[Column], rows: Sequence[Cells], width: int | None = None) -> str:
    """The same as one text without colours."""
    return plain(table(columns, rows, width))


def number_table(header: Sequence[str], rows: Sequence[Cells], width: int | None = None) -> str:
    """A table of numbers as text; its first column says which row it is.

    >>> print(number_table(["tier", "items"], [["1", "250"], ["2", "9"]]))
    tier  items
    1       250
    2         9
    """
    first, *others = header
    columns = [Column(first, told=False), *(Column(name, "number", told=False) for name in others)]
    return table_text(columns, rows, width)


def _cell(cell: str | Cell) -> Cell:
    found = cell if isinstance(cell, Cell) else Cell(cell)
    return Cell(one_line(found.text), found.style, one_line(found.below))


def _common(columns: Sequence[Column], body: Sequence[Sequence[Cell]]) -> tuple[list[int], list[str]]:
    """The columns in which rows differ, and what the others hold."""
    kept, common = [], []
    last = max(
        (i for i, column in enumerate(columns) if column.kind == "key" and not column.head), default=-1
    )
    for i, column in enumerate(columns):
        values = {row[i].text for row in body}
        same = len(body) > 1 and len(values) == 1
        if not (column.told and same and (i != last or _others_tell(columns, body, i))):
            if any(row[i].text or row[i].below for row in body):
                kept.append(i)
        elif value := next(iter(values)):
            common.append(f"{column.name} {value}".strip())
    return kept, common


def _others_tell(columns: Sequence[Column], body: Sequence[Sequence[Cell]], last: int) -> bool:
    """Whether rows are told apart without the last of their names."""
    names = [i for i, column in enumerate(columns) if column.kind == "key" and i != last and not column.head]
    return any(len({row[i].text for row in body}) > 1 for i in names)


def _parts(
    columns: Sequence[Column], body: Sequence[Sequence[Cell]], shown: Sequence[int], width: int, indent: int
) -> list[dict[int, int]]:
    """Tables, each column -> width, that hold all columns and repeat the keys; cells are broken where that makes fewer of them."""
    whole = {i: _widest(columns, body, i, broken=False) for i in shown}
    if _sum(whole, indent) <= width:
        return [whole]
    least = {i: _least(columns, body, i, width) for i in shown}
    unbroken = least | {i: whole[i] for i in shown if columns[i].kind == "number"}
    split = partial(_split, [i for i in shown if columns[i].kind == "key"], width=width, indent=indent)
    either = [split(unbroken), split(least)]
    parts = min(either, key=lambda found: (any(_sum(part, indent) > width for part in found), len(found)))
    texts = {i: whole[i] for i in shown if columns[i].kind != "number"}
    return [_widened(part, texts, width - _sum(part, indent), shown) for part in parts]


def _split(keys: Sequence[int], widths: dict[int, int], width: int, indent: int) -> list[dict[int, int]]:
    """Tables of as many columns as fit, beside the keys."""
    parts: list[dict[int, int]] = [{i: widths[i] for i in keys}]
    for i in (i for i in widths if i not in keys):
        if _sum(parts[-1] | {i: widths[i]}, indent) > width and len(parts[-1]) > len(keys):
            parts.append({j: widths[j] for j in keys})
        parts[-1][i] = widths[i]
    return _even(parts, keys, widths, width, indent)


def _even(
    parts: list[dict[int, int]], keys: Sequence[int], least: dict[int, int], width: int, indent: int
) -> list[dict[int, int]]:
    """The same number of tables, with about as many columns in each."""
    others = [i for part in parts for i in part if i not in keys]
    each = max(1, -(-len(others) // len(parts)))
    even = [
        {i: least[i] for i in (*keys, *others[start : start + each])} for start in range(0, len(others), each)
    ]
    return even if even and all(_sum(part, indent) <= width for part in even) else parts


def _widened(part: dict[int, int], texts: dict[int, int], room: int, shown: Sequence[int]) -> dict[int, int]:
    """Give room that is left to the columns of text, the narrowest first; columns in their usual order."""
    part = {i: part[i] for i in shown if i in part}
    while room > 0 and (narrow := [i for i in part if part[i] < texts.get(i, 0)]):
        part[min(narrow, key=lambda i: part[i])] += 1
        room -= 1
    return part


def _sum(part: dict[int, int], indent: int) -> int:
    return indent + sum(part.values()) + GAP * (len(part) - 1)


def _widest(columns: Sequence[Column], body: Sequence[Sequence[Cell]], i: int, broken: bool) -> int:
    """The width that a column needs, with `broken` where all that may be broken is."""
    name = columns[i].name
    head = max(map(cell_len, name.split()), default=0) if broken else cell_len(name)
    return max([head, *(cell_len(line) for row in body for line in _pieces(row[i], broken))])


def _pieces(cell: Cell, broken: bool) -> list[str]:
    if broken:
        return [cell.text, cell.below]
    return [f"{cell.text} {cell.below}".rstrip()]


def _least(columns: Sequence[Column], body: Sequence[Sequence[Cell]], i: int, width: int) -> int:
    """The least width of a column: of numbers and names all of it, unless a name takes up half of the line."""
    needed = _widest(columns, body, i, broken=True)
    if columns[i].kind == "number":
        return needed
    if columns[i].kind == "key":
        return min(needed, width // 2)
    words = max((cell_len(word) for row in body for word in row[i].text.split()), default=0)
    return min(needed, max(LEAST_TEXT, min(words, width // 3)))


def _block(
    columns: Sequence[Column], body: Sequence[Sequence[Cell]], part: dict[int, int], heads: Sequence[int], width: int
) -> list[Line]:  # fmt: skip
    indent = " " * (2 if heads else 0)
    names = [Cell(columns[i].name, "bold") for i in part]
    lines = _row(names, part, columns, indent, head=True)
    for number, (head, rows) in enumerate(groupby(body, key=partial(_head, heads))):
        if heads:
            lines += [[]] if number else []
            lines += [[(line, "bold")] for line in folded(head, width)]
        for row in rows:
            lines += _row([row[i] for i in part], part, columns, indent)
    return lines


def _head(heads: Sequence[int], row: Sequence[Cell]) -> str:
    return " ".join(row[i].text for i in heads)


def _row(
    cells: Sequence[Cell], part: dict[int, int], columns: Sequence[Column], indent: str, head: bool = False
) -> list[Line]:
    """A row on as many lines as its tallest cell needs."""
    folds = [_folds(cell, width) for cell, width in zip(cells, part.values(), strict=True)]
    height = max(map(len, folds), default=0)
    lines: list[Line] = []
    for number in range(height):
        at = number - height if head else number  # names of columns stand just above them
        line: Line = [(indent, "")] if indent else []
        for (i, width), cell, fold in zip(part.items(), cells, folds, strict=True):
            text = fold[at] if -len(fold) <= at < len(fold) else ""
            space = " " * max(0, width - cell_len(text))
            before, after = (space, "") if columns[i].right or columns[i].kind == "number" else ("", space)
            line += [(before, ""), (text, cell.style), (after + " " * GAP, "")]
        lines.append(_stripped(line))
    return lines


def _folds(cell: Cell, width: int) -> list[str]:
    whole = f"{cell.text} {cell.below}".rstrip()
    if cell_len(whole) <= width:
        return [whole]
    if cell.below and cell_len(cell.text) <= width:
        return [cell.text, *_folds(Cell(cell.below), width)]
    return folded(whole, width)


def _stripped(line: Line) -> Line:
    """Without blanks at the end."""
    while line and not line[-1][0].strip():
        line = line[:-1]
    if line:
        line = [*line[:-1], (line[-1][0].rstrip(), line[-1][1])]
    return line
