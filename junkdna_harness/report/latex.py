r"""A leaderboard as a LaTeX table of `\usepackage{booktabs}`: over both columns of a paper, or within one of them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from difficulty.text import NOISE_MARK, interval_text
from junkdna_harness.presentation.escape import latex
from junkdna_harness.report import formats
from junkdna_harness.report.leaderboard import OVERALL, Leaderboard

_NEEDS = "% needs \\usepackage{booktabs}"
# docs/statistics.md has the formulas.
_INTERVALS = "Intervals: Wilson's where items are right or wrong, else cluster-robust t; items of one cluster count together."
_SIDE = 5  # scores that stand side by side within a column of 3.25 inches


def latex_tables(boards: Sequence[Leaderboard], form: str = "wide") -> str:
    """All tables, one below the other. `form`: `wide` or `narrow`."""
    return "\n".join(latex_table(board, form) for board in boards)


def latex_table(board: Leaderboard, form: str = "wide") -> str:
    """The table with caption and label; columns that say the same in every row are left to the caption."""
    return _narrow(board) if form == "narrow" else _wide(board)


def label(board: Leaderboard) -> str:
    """What `\\ref` takes, e.g. `tab:acc-by-tier`."""
    metric = re.sub(r"[^A-Za-z0-9]+", "-", board.metric).strip("-") or "score"
    return f"tab:{metric}-by-{board.by}"


def _wide(board: Leaderboard) -> str:
    columns = (OVERALL, *board.columns)
    heads = _heads(board)
    rows = []
    for i, row in enumerate(board.rows):
        cells = [formats.compose(formats.cell(board, i, c), r"\textbf{{{}}}", latex) for c in columns]
        rows.append([*(latex(formats.row_heads(row)[k]) for k in heads), *cells])
    spec = "".join("l" if k < 2 else "r" for k in heads) + "r" * len(columns)
    names = [*(formats.HEADS[k] for k in heads), *columns]
    return _table(board, "table*", _caption(board, formats.caption(board)), [_tabular(spec, names, rows)])


def _narrow(board: Leaderboard) -> str:
    """Means with a decimal less, in the last column (of tiers the hardest) with the interval; what does not fit stands below."""
    columns = (OVERALL, *board.columns)
    parts = []
    for start in range(0, len(columns), _SIDE):
        shown = columns[start : start + _SIDE]
        rows: list[list[str]] = []
        model = None
        for i, row in enumerate(board.rows):
            if row.model != model and len({one.model for one in board.rows}) > 1:
                model = row.model
                rows.append([rf"\multicolumn{{{2 + len(shown)}}}{{@{{}}l}}{{\emph{{{latex(model)}}}}}"])
            cells = [_short(board, i, column, column == columns[-1]) for column in shown]
            rows.append([*(latex(formats.row_heads(row)[k]) for k in (1, 2)), *cells])
        heads = [formats.HEADS[1], formats.HEADS[2], *("All" if c == OVERALL else c for c in shown)]
        parts.append(_tabular(f"@{{}}lr{'r' * len(shown)}@{{}}", heads, rows))
    interval = f"mean, in the column {columns[-1]} with its 95 % interval"
    return _table(board, "table", _caption(board, formats.caption(board, interval, kept=False)), parts)


def _short(board: Leaderboard, number: int, column: str, interval: bool) -> str:
    """A mean, and its interval where it is wanted."""
    cell, found = formats.cell(board, number, column), board.rows[number].scores.get(column)
    if found is None:
        return ""
    times, form = (100, ".1f") if board.percent else (1, ".3g")
    mean = f"{times * found.mean:{form}}" if math.isfinite(found.mean) else latex(cell.mean)
    parts = [rf"\textbf{{{mean}}}" if cell.bold else mean]
    bounds = interval_text(times * found.low, times * found.high, form) if interval else ""
    parts += [rf"{{\scriptsize {bounds}}}"] if bounds else []
    parts += [latex(NOISE_MARK)] if cell.near else []
    return " ".join(parts)


def _heads(board: Leaderboard) -> list[int]:
    """The first columns: the model only where there are several."""
    return [0, 1, 2, 3] if len({row.model for row in board.rows}) > 1 else [1, 2, 3]


def _caption(board: Leaderboard, text: str) -> str:
    models = list(dict.fromkeys(row.model for row in board.rows))
    return f"{models[0]}: {text} {_INTERVALS}" if len(models) == 1 else f"{text} {_INTERVALS}"


def _tabular(spec: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        rf"\begin{{tabular}}{{{spec}}}",
        r"\toprule",
        " & ".join(latex(head) for head in heads) + r" \\",
        r"\midrule",
        *(" & ".join(row) + r" \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]


def _table(board: Leaderboard, kind: str, caption: str, parts: Sequence[Sequence[str]]) -> str:
    """`kind`: the environment, `table*` for both columns of a paper."""
    small = [r"\footnotesize", r"\setlength{\tabcolsep}{2.5pt}"] if kind == "table" else [r"\small"]
    lines = [
        _NEEDS,
        rf"\begin{{{kind}}}",
        r"\centering",
        rf"\caption{{{latex(caption)}}}",
        rf"\label{{{label(board)}}}",
        *small,
    ]
    for number, part in enumerate(parts):
        lines += [r"\par\medskip"] * (number > 0) + list(part)
    return "\n".join([*lines, *(f"% {latex(note)}" for note in board.notes), rf"\end{{{kind}}}"]) + "\n"
