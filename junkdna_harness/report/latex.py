r"""A leaderboard as a LaTeX table of `\usepackage{booktabs}`: over both columns of a paper, or within one of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from difficulty.text import NOISE_MARK
from junkdna_harness.presentation.escape import latex
from junkdna_harness.report import formats
from junkdna_harness.report.leaderboard import OVERALL, Leaderboard

_NEEDS = "% needs \\usepackage{booktabs}"
# docs/statistics.md has the formulas.
_INTERVALS = "Intervals: Wilson's where items are right or wrong, else cluster-robust t; items of one cluster count together."
_SIDE = 4  # columns of scores that stand side by side within one column of a paper


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
    """Means alone, the interval below the mean in the last column, which is that of the hardest tier; further columns below."""
    heads = [k for k in _heads(board) if k < 3]
    columns = (OVERALL, *board.columns)
    parts = []
    for shown in _parts(columns):
        rows = []
        for i, row in enumerate(board.rows):
            cells = [_short(formats.cell(board, i, column), column == columns[-1]) for column in shown]
            rows.append([*(latex(formats.row_heads(row)[k]) for k in heads), *cells])
        spec = "@{}" + "".join("l" if k < 2 else "r" for k in heads) + "r" * len(shown) + "@{}"
        parts.append(_tabular(spec, [*(formats.HEADS[k] for k in heads), *shown], rows))
    caption = formats.caption(
        board, kept=False, interval=f"mean, in the column {columns[-1]} with its 95 % interval"
    )
    return _table(board, "table", _caption(board, caption), parts)


def _parts(columns: Sequence[str]) -> Iterator[Sequence[str]]:
    """As many columns as fit, the last of all with room for its interval."""
    rest = list(columns)
    while len(rest) > _SIDE + 1:
        yield rest[: _SIDE + 1]
        rest = rest[_SIDE + 1 :]
    yield rest


def _short(cell: formats.Cell, interval: bool) -> str:
    """A mean, and its interval where it is wanted, in one line."""
    mean = rf"\textbf{{{cell.mean}}}" if cell.bold else cell.mean
    mark = latex(NOISE_MARK) if cell.near else ""
    return " ".join(
        part
        for part in (mean, rf"{{\scriptsize {cell.interval}}}" if interval and cell.interval else "", mark)
        if part
    )


def _heads(board: Leaderboard) -> list[int]:
    """The first columns that differ between rows; the method always, the level where there is one."""
    several = len({row.model for row in board.rows}) > 1
    return [0, 1, 2, 3] if several else [1, 2, 3]


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
    small = [r"\footnotesize", r"\setlength{\tabcolsep}{3pt}"] if kind == "table" else [r"\small"]
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
