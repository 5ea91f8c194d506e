"""A table in CSV, whose text no terminal obeys and no spreadsheet runs as a formula, and the same text read again."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from difficulty.visible import restored, reversible

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "'")


def csv_text(text: str) -> str:
    """`text` so that no terminal obeys it (`difficulty.visible`) and no spreadsheet: what it would take for a formula gets a leading
    apostrophe."""
    shown = reversible(text)
    return f"'{shown}" if shown.startswith(_FORMULA_STARTS) else shown


def safe_csv(table: pd.DataFrame) -> str:
    """`table` as CSV, its text as `csv_text` writes it."""
    return str(safe_cells(table).to_csv(index=False))


def safe_cells(table: pd.DataFrame, lists: str | None = None) -> pd.DataFrame:
    """`table` with its text as `csv_text` writes it; `lists` is a column with lists of numbers, which become JSON."""
    out = table.copy(deep=False)
    for name in out.columns:
        if name == lists:
            out[name] = [
                None if v is None or np.ndim(v) == 0 else json.dumps([float(x) for x in v]) for v in out[name]
            ]
        elif not pd.api.types.is_numeric_dtype(out[name]):
            out[name] = _map(out[name], csv_text)
    out.columns = [csv_text(str(name)) for name in out.columns]
    return out


def from_csv(table: pd.DataFrame, lists: str) -> pd.DataFrame:
    """What `safe_cells` was given, of a table as pandas reads it.

    Text is taken back only where all of it is as we write it. In a file of others `\\x1b` and an escape, or `'=a` and `=a`, may be two
    names; and apostrophes for a spreadsheet may stand beside backslashes that are text (LaTeX).
    """
    texts = {c for c in table if c != lists and not pd.api.types.is_numeric_dtype(table[c])}
    cells = set(table.columns).union(*(_texts(table[name]) for name in texts))
    marked = all(_is_marked(cell) for cell in cells if cell.startswith(_FORMULA_STARTS))
    escaped = all(reversible(restored(cell)) == cell for cell in cells)

    def original(cell: str) -> str:
        bare = cell.removeprefix("'") if marked else cell
        return restored(bare) if escaped else bare

    for name in table.columns:
        if name == lists:
            table[name] = [json.loads(v) if isinstance(v, str) else None for v in table[name]]
        elif name in texts and (marked or escaped):
            table[name] = _map(table[name], original)
    table.columns = [original(name) for name in table.columns]
    if "axis" in table:
        table["axis"] = table["axis"].astype(object).fillna("")
    return table


def _is_marked(cell: str) -> bool:
    """True for what `csv_text` gives an apostrophe."""
    return cell[0] == "'" and cell[1:].startswith(_FORMULA_STARTS)


def _texts(column: pd.Series[Any]) -> set[str]:
    """The texts in a column, each once."""
    cells = column if column.dtype == object else column.unique()  # other objects may have no hash
    return {cell for cell in cells if isinstance(cell, str)}


def _map(column: pd.Series[Any], function: Callable[[str], str]) -> pd.Series[Any]:
    """`function` of every text in a column, of each text once; nearly always nothing is to be changed."""
    done = {text: new for text in _texts(column) if (new := function(text)) != text}
    if not done:
        return column
    return column.astype(object).map(lambda cell: done.get(cell, cell) if isinstance(cell, str) else cell)
