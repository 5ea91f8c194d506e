"""A leaderboard as markdown, CSV or terminal table (LaTeX: `latex`): the same rounded numbers in each."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from difficulty.stats.score import Score
from difficulty.text import NOISE_MARK, score_bounds, score_text
from junkdna_harness.presentation.escape import csv_cell, markdown_cell
from junkdna_harness.presentation.lines import Line, paragraph
from junkdna_harness.presentation.table import Cell as TableCell
from junkdna_harness.presentation.table import Column, table
from junkdna_harness.report.leaderboard import OVERALL, Leaderboard, Row


@dataclass(frozen=True)
class Cell:
    """What is printed in one cell: the mean, its 95 % interval and the share kept, each as text; empty where unknown.

    `near`: the difference from dense is within the noise floor; None where that is not known.
    """

    mean: str = ""
    interval: str = ""
    kept: str = ""
    bold: bool = False
    near: bool | None = None


def cell(board: Leaderboard, number: int, column: str) -> Cell:
    """The cell of row `number` in `column`, rounded as every format prints it."""
    found = board.rows[number].scores.get(column)
    if found is None:
        return Cell()
    return Cell(
        score_text(found.mean, board.percent),
        score_bounds(found.low, found.high, board.percent),
        kept_text(found),
        (number, column) in board.best,
        board.near(number, column),
    )


def kept_text(found: Score) -> str:
    """The share of the dense score that is left, in percent."""
    return "" if found.retention is None else f"{100 * found.retention:.1f}"


def row_heads(row: Row) -> tuple[str, str, str, str]:
    """Model, method, size and effective bits of a row, as text."""
    method = row.method + (f" (mean of {row.replicates})" if row.replicates > 1 else "")
    return row.model, method, row.size, f"{row.effective_bits:.2f}"


HEADS = ("Model", "Method", "Level", "Bits/weight")


def caption(board: Leaderboard, interval: str = "mean and 95 % interval", kept: bool = True) -> str:
    """What the table shows, in a sentence or two. `interval`: what stands in a cell; `kept`: whether the share left does too."""
    unit = f"{board.metric} in %" if board.percent else board.metric
    return (
        f"{unit} by {board.by} on {board.n_items:,} items, {interval}"
        + ("; in brackets the share of the dense score that is left, in %. " if kept else ". ")
        + "Bold: best at its level, and significantly better than each other one there (paired, Holm, 5 %)."
        + (f" {board.legend}." if board.legend else "")
    )


def markdown(board: Leaderboard) -> str:
    """A GitHub table with caption and notes."""
    columns = (OVERALL, *board.columns)
    lines = [
        "| " + " | ".join(markdown_cell(h) for h in (*HEADS, *columns)) + " |",
        "|:--|:--|--:|--:|" + "--:|" * len(columns),
    ]
    for i, row in enumerate(board.rows):
        cells = [compose(cell(board, i, c), "**{}**") for c in columns]
        lines.append("| " + " | ".join([*map(markdown_cell, row_heads(row)), *cells]) + " |")
    notes = "".join(f"\n- {markdown_cell(note)}" for note in board.notes)
    return "\n".join(lines) + f"\n\n{markdown_cell(caption(board))}\n{notes}\n"


def markdown_page(boards: Sequence[Leaderboard], remarks: Sequence[str] = (), verdicts: str = "") -> str:
    """The tables one below the other, after what a reader must know of their runs, and the verdicts where there are any."""
    above = "".join(f"Note: {markdown_cell(sentence)}\n\n" for sentence in remarks)
    above += f"{verdicts}\n" if verdicts else ""
    return above + "\n".join(f"### By {board.by}\n\n{markdown(board)}" for board in boards)


def compose(c: Cell, bold: str, escape: Callable[[str], str] = str) -> str:
    """A cell on one line; `bold` holds what stands around a bold one, `escape` is of the format."""
    if not c.mean:
        return ""
    text = escape(f"{c.mean} {c.interval}".rstrip())
    if c.bold:
        text = bold.format(text)
    text += f" ({c.kept})" if c.kept else ""
    return f"{text} {escape(NOISE_MARK)}" if c.near else text


def csv_table(boards: list[Leaderboard]) -> str:
    """One line per row and column: `by, model, method, level, bits_per_weight, column, metric, score, low, high, kept,
    best, n_items, within_noise`; an end that is not known is empty."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(
        [
            "by",
            "model",
            "method",
            "level",
            "bits_per_weight",
            "column",
            "metric",
            "score",
            "low",
            "high",
            "kept",
            "best",
            "n_items",
            "within_noise",
        ]
    )
    for board in boards:
        for i, row in enumerate(board.rows):
            model, method, size, effective = row_heads(row)
            for column in (OVERALL, *board.columns):
                c = cell(board, i, column)
                if c.mean:
                    n = row.scores[column].n_items
                    heads = [
                        csv_cell(text)
                        for text in (board.by, model, method, size, effective, column, board.metric)
                    ]
                    low, high = c.interval.strip("[]").split(", ") if c.interval else ("", "")
                    near = "" if c.near is None else int(c.near)
                    writer.writerow([*heads, c.mean, low, high, c.kept, int(c.bold), n, near])
    return buffer.getvalue()


def terminal(board: Leaderboard, width: int | None = None) -> list[Line]:
    """The lines of a table for a terminal, with its caption and notes; a cell is broken before the share kept, not within."""
    heads = [
        Column(HEADS[0], head=True),
        Column(HEADS[1]),
        Column(HEADS[2], right=True),
        Column(HEADS[3], "number"),
    ]
    columns = (OVERALL, *board.columns)
    rows: list[list[str | TableCell]] = [
        # A plain minus for the dense model's dash: no terminal lacks it.
        [
            *(head.replace("–", "-") for head in row_heads(row)),
            *(_terminal_cell(cell(board, i, c)) for c in columns),
        ]
        for i, row in enumerate(board.rows)
    ]
    scores = [Column(name, "number", told=False) for name in columns]
    lines = table([*heads, *scores], rows, width, f"by {board.by}")
    lines += [[], *paragraph(caption(board), width, indent="")]
    for note in board.notes:
        lines += paragraph(f"note: {note}", width)
    return lines


def _terminal_cell(c: Cell) -> TableCell:
    kept = f"({c.kept})" if c.kept else ""
    below = f"{kept} {NOISE_MARK}".strip() if c.near else kept
    return TableCell(f"{c.mean} {c.interval}".rstrip(), "bold" if c.bold else "", below)
