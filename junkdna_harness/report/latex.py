r"""A leaderboard as a LaTeX table of `\usepackage{booktabs}`: over both columns of a paper, or within one of them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from difficulty.text import NOISE_MARK, interval_text
from junkdna_harness.presentation.escape import latex
from junkdna_harness.report import formats
from junkdna_harness.report.leaderboard import OVERALL, Leaderboard

_NEEDS = "% needs \\usepackage{booktabs}"
# docs/statistics.md has the formulas.
_INTERVALS = "Intervals: Wilson's where items are right or wrong, else cluster-robust t; items of one cluster count together."
_WIDE, _NARROW = 6, 5  # scores that stand side by side in 6.75 and in 3.25 inches


def latex_tables(boards: Sequence[Leaderboard], form: str = "wide") -> str:
    """All tables, one below the other. `form`: `wide` or `narrow`."""
    return "\n".join(latex_table(board, form) for board in boards)


def latex_table(board: Leaderboard, form: str = "wide") -> str:
    """The table with caption and label; a single model is left to the caption."""
    return _narrow(board) if form == "narrow" else _wide(board)


def label(board: Leaderboard) -> str:
    r"""What `\ref` takes, e.g. `tab:acc-by-tier`."""
    metric = re.sub(r"[^A-Za-z0-9]+", "-", board.metric).strip("-") or "score"
    return f"tab:{metric}-by-{board.by}"


def _wide(board: Leaderboard) -> str:
    """Each row in two lines: the mean with the share left, below it the interval; what does not fit stands below."""
    parts = []
    for shown in _parts(board, _WIDE):
        rows = []
        for i, row in enumerate(board.rows):
            cells = [formats.cell(board, i, column) for column in shown]
            rows += _of_model(board, i, 3 + len(shown))
            rows.append([*(latex(name) for name in formats.row_heads(row)[1:]), *map(_mean, cells)])
            rows.append(["", "", "", *(_small(cell.interval) for cell in cells)])
        parts.append(_tabular(f"@{{}}lrr{'r' * len(shown)}@{{}}", [*formats.HEADS[1:], *shown], rows))
    return _table(board, "table*", "4pt", formats.caption(board), parts)


def _narrow(board: Leaderboard) -> str:
    """Means with a decimal less, in the last column (of tiers the hardest) with the interval; what does not fit stands below."""
    last = (OVERALL, *board.columns)[-1]
    parts = []
    for shown in _parts(board, _NARROW):
        rows = []
        for i, row in enumerate(board.rows):
            rows += _of_model(board, i, 2 + len(shown))
            cells = [_short(board, i, column, column == last) for column in shown]
            rows.append([*(latex(name) for name in formats.row_heads(row)[1:3]), *cells])
        heads = [*formats.HEADS[1:3], *("All" if column == OVERALL else column for column in shown)]
        parts.append(_tabular(f"@{{}}lr{'r' * len(shown)}@{{}}", heads, rows))
    interval = f"mean, in the column {last} with its 95 % interval"
    return _table(board, "table", "2.5pt", formats.caption(board, interval, kept=False), parts)


def _parts(board: Leaderboard, most: int) -> Iterator[Sequence[str]]:
    """The columns of scores, as many as fit at a time."""
    columns = (OVERALL, *board.columns)
    for start in range(0, len(columns), most):
        yield columns[start : start + most]


def _of_model(board: Leaderboard, number: int, width: int) -> list[list[str]]:
    """A row with the model's name above the first of its rows, where there are several models."""
    model = board.rows[number].model
    new = number == 0 or board.rows[number - 1].model != model
    if not new or len({row.model for row in board.rows}) == 1:
        return []
    return [[rf"\multicolumn{{{width}}}{{@{{}}l}}{{\emph{{{latex(model)}}}}}"]]


def _mean(cell: formats.Cell) -> str:
    """The mean, what is left of the dense score, and whether the difference is noise."""
    parts = [_bold(latex(cell.mean), cell), f"({cell.kept})" if cell.kept else "", _noise(cell)]
    return " ".join(part for part in parts if part)


def _short(board: Leaderboard, number: int, column: str, interval: bool) -> str:
    """A mean, and its interval where it is wanted."""
    cell, found = formats.cell(board, number, column), board.rows[number].scores.get(column)
    if found is None:
        return ""
    times, form = (100, ".1f") if board.percent else (1, ".3g")
    mean = f"{times * found.mean:{form}}" if math.isfinite(found.mean) else latex(cell.mean)
    bounds = interval_text(times * found.low, times * found.high, form) if interval else ""
    return " ".join(part for part in (_bold(mean, cell), _small(bounds), _noise(cell)) if part)


def _bold(text: str, cell: formats.Cell) -> str:
    return rf"\textbf{{{text}}}" if cell.bold else text


def _small(interval: str) -> str:
    return rf"{{\scriptsize {interval}}}" if interval else ""


def _noise(cell: formats.Cell) -> str:
    return latex(NOISE_MARK) if cell.near else ""


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


def _table(board: Leaderboard, kind: str, between: str, caption: str, parts: Sequence[Sequence[str]]) -> str:
    """`kind`: the environment, `table*` for both columns of a paper; `between`: half of what lies between two columns."""
    models = list(dict.fromkeys(row.model for row in board.rows))
    said = f"{models[0]}: {caption} {_INTERVALS}" if len(models) == 1 else f"{caption} {_INTERVALS}"
    lines = [
        _NEEDS,
        rf"\begin{{{kind}}}",
        r"\centering",
        rf"\caption{{{latex(said)}}}",
        rf"\label{{{label(board)}}}",
        r"\footnotesize",
        rf"\setlength{{\tabcolsep}}{{{between}}}",
    ]
    for number, part in enumerate(parts):
        lines += [r"\par\medskip"] * (number > 0) + list(part)
    return "\n".join([*lines, *(f"% {latex(note)}" for note in board.notes), rf"\end{{{kind}}}"]) + "\n"
