"""The tables of a comparison, each once: for a terminal, for a page, as Markdown; and all points as CSV."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from difficulty.runs.csv_cells import safe_csv
from difficulty.text import estimate_text, p_text
from junkdna_harness.presentation.escape import markdown_cell
from junkdna_harness.presentation.lines import Line
from junkdna_harness.presentation.table import Column, table
from junkdna_harness.study.against.agree import Agreement
from junkdna_harness.study.against.compare import SCALES, Beside, Comparison, Drawn
from junkdna_harness.study.against.curve import Curve, Level, Passing
from junkdna_harness.study.against.readings import LESS, MORE, Order, Reading, Steps

PANEL = "Panel"
_TOLD = 0.02  # of the dense score: smaller rises are not worth a row, unless they are shown


@dataclass(frozen=True)
class Table:
    """A table: what it shows, its columns (a name, and how it is set), its rows, and what is said below it.

    `brief`: the columns that a terminal shows; none of them, and it is left to the page.
    """

    title: str
    columns: tuple[Column, ...]
    rows: list[list[str]]
    notes: tuple[str, ...] = ()
    brief: tuple[int, ...] = ()


def paper_tables(found: Comparison) -> list[Table]:
    """What the paper's curves show by themselves."""
    floors = {(one.figure, one.panel, one.series): one.floor for one in found.steps}
    return [
        Table(
            "What the paper's own curves show, read with intervals",
            (
                Column("Figure", head=True), Column(PANEL), Column("Compared", "text"), Column("Keeps more"), Column("Loses more"), Column("Lower at", "number"),
                Column("Shown to lose more at", "text"), Column("to lose less", "text"), Column("Surest difference, points", "text"),
                Column("Shown, chance off", "text"), Column("At chance", "text"), Column("Control"), Column("Rests on", "text"),
            ),
            [_reading_row(one, floors) for one in found.readings],
            (
                "Of easy and hard tasks, and of much and little data, the paper says that the second loses more. Lower at: levels at which "
                "its value is lower. Shown: the 95 % interval of the difference lies above 0, each level by itself. Intervals are those of the items alone; how far two trainings lie apart is "
                "not in them, and the figures do not show it. Chance off: what the commonest answer scores is taken off both scores. "
                "Control: series that remove other weights than small ones.",
            ),
            (0, 1, 4, 5, 6, 9, 11),
        ),
        _steps_table(found.steps),
    ]  # fmt: skip


def _reading_row(one: Reading, floors: dict[tuple[str, str, str], tuple[Level, ...]]) -> list[str]:
    at = [
        f"{name}: {levels_text(there)}"
        for name in (one.keeps, one.loses)
        if (there := floors.get((one.figure, one.panel, name), ()))
    ]
    intervals = bool(one.raw.states)
    return [
        one.figure, one.panel, one.what, one.keeps, one.loses, f"{one.raw.values} of {one.raw.n}",
        _shown(one.raw, MORE) if intervals else "no interval", _shown(one.raw, LESS) if intervals else "", _largest(one.raw),
        "" if one.corrected is None or not one.corrected.states else _shown(one.corrected, MORE), "; ".join(at), one.control,
        "; ".join(filter(None, (one.why_not, one.assumed))) or "what was told",
    ]  # fmt: skip


def _shown(order: Order, state: str) -> str:
    return levels_text(order.levels(state)) or "none"


def _largest(order: Order) -> str:
    if order.largest is None:
        return ""
    level, d, low, high = order.largest
    return f"{level}: {estimate_text(100 * d, 100 * low, 100 * high, '+.1f')}"


def _steps_table(steps: Sequence[Steps]) -> Table:
    told = [one for one in steps if one.beyond or (one.largest and one.largest[2] >= _TOLD)]
    rows = [
        [
            one.figure, one.panel, one.series, _rise(one.largest),
            "; ".join(_rise(rise) for rise in one.beyond) or ("no interval" if one.why_not else "none"),
        ]
        for one in told
    ]  # fmt: skip
    rising = sum(one.largest is not None for one in steps)
    shown = sum(bool(one.beyond) for one in steps)
    return Table(
        "Where the paper's curves rise as more is removed",
        (
            Column("Figure", head=True), Column(PANEL), Column("Series"), Column("Largest rise, points", "text"),
            Column("Shown to be a rise", "text"),
        ),
        rows,
        (
            f"{rising} of {len(steps)} series rise somewhere, {shown} by more than their items explain (95 %, each step by itself). Listed: those, and rises of "
            f"{100 * _TOLD:.0f} points or more. What two trainings would differ by is not known.",
        ),
        (0, 1, 2, 3, 4),
    )  # fmt: skip


def _rise(found: tuple[Level, Level, float, float, float] | None) -> str:
    if found is None:
        return ""
    a, b, seen, low, high = found
    return f"{a} to {b}: {estimate_text(100 * seen, 100 * low, 100 * high, '+.1f')}"


def beside_tables(beside: Beside) -> list[Table]:
    """What comes out beside our runs."""
    drawn = [(panel, one) for panel in beside.panels for one in panel.drawn]
    rows = [
        [panel.figure, panel.name, one.series.name, *_agreement_row(one, scale, found)]
        for panel, one in drawn
        for scale, found in one.agreements.items()
    ]
    orders = [
        [
            panel.figure, panel.name, f"{one.keeps} / {one.loses}", one.scale, f"{100 * one.mark:.0f} %",
            _first(one.paper.which, one.paper.shown), _first(one.ours.which, one.ours.shown), one.verdict, one.reason,
        ]
        for panel in beside.panels
        for one in panel.orders
    ]  # fmt: skip
    return [
        Table(
            f"Shapes: the paper's curves and {beside.model}",
            (
                Column("Figure", head=True), Column(PANEL), Column("Series"), Column("Scale"), Column("Verdict"), Column("Why", "text"),
                Column("Levels", "number"), Column("Rho", "number"), Column("p", "number"), Column("95 % at: paper", "text"),
                Column("ours", "text"), Column("80 % at: paper", "text"), Column("ours", "text"), Column("Ours is", "text"),
                Column("Stands in", "text"),
            ),
            rows,
            (RULE,),
            (0, 1, 2, 3, 4),
        ),
        Table(
            f"Which of two falls first: the paper and {beside.model}",
            (
                Column("Figure", head=True), Column(PANEL), Column("Keeps more / loses more"), Column("Scale"), Column("Mark", "number"),
                Column("Paper: first", "text"), Column("Ours: first", "text"), Column("Verdict"), Column("Why", "text"),
            ),
            orders,
            ("Shown: both curves have intervals, and where they fall to the mark these do not meet. Two orders are compared where both are shown.",),
        ),
        Table(
            "How they were made",
            (Column("Figure"), Column("Model"), Column("Pruning", "text"), Column("Training after it", "text"), Column("Metric", "text"), Column("Levels", "text")),
            [list(row) for row in beside.setups],
        ),
        Table(
            "Drawn alone",
            (Column("Figure", head=True), Column(PANEL), Column("Series"), Column("Why", "text")),
            [[panel.figure, panel.name, one.series.name, one.missing] for panel, one in drawn if one.missing],
        ),
    ]  # fmt: skip


RULE = (
    "Rule, fixed beforehand. Agrees: rank correlation over the common levels with one-sided p of at most 0.05, and at both marks (95 % and "
    "80 % of dense) the curves fall to it within a tenth of the weights of each other, or neither does. Does not: at some mark they lie "
    "further apart and their intervals do not meet, or the correlation is at most 0 over five levels. Else it cannot be told, as with "
    "fewer than four common levels, or apart at a mark without intervals. Curves that fall are correlated whatever else they do."
)


def _agreement_row(one: Drawn, scale: str, found: Agreement) -> list[str]:
    assert one.compared is not None
    marks = [_passing(passing) for mark in found.marks for passing in (mark.paper, mark.ours)]
    rho = "" if found.rho is None else f"{found.rho:.2f}"
    return [
        scale, found.verdict, found.reason, str(found.n), rho, p_text(found.p), *marks, f"{one.compared.what}, {one.compared.n_items:,} items",
        one.compared.stand_in or "the same",
    ]  # fmt: skip


def _first(which: str, shown: bool) -> str:
    return which if shown else f"{which} (not shown)"


def _passing(one: Passing) -> str:
    """A level in percent with its interval, or that it is not reached."""
    if one.at is None:
        return f"not up to {100 * one.last:.0f}"
    if one.low is None or one.high is None:
        return f"{100 * one.at:.0f}"
    high = f"{100 * one.high:.0f}" if np.isfinite(one.high) else "…"
    return f"{100 * one.at:.0f} [{100 * one.low:.0f}, {high}]"


def levels_text(levels: Iterable[Level]) -> str:
    """Levels in one cell.

    >>> levels_text([Level(0.5), Level(0.6)]), levels_text([Level(0.5, "4:8")]), levels_text([])
    ('50, 60 %', '4:8', '')
    """
    found = [str(level) for level in levels]
    return ", ".join(found).replace(" %,", ",")


def terminal(one: Table) -> list[Line]:
    """The lines of a table for a terminal, none where it is left to the page."""
    if not (one.rows and one.brief):
        return []
    columns = [one.columns[k] for k in one.brief]
    columns = [Column(c.name, "text") if c.name == PANEL else c for c in columns]  # folded, to fit
    return table(columns, [[row[k] for k in one.brief] for row in one.rows], title=one.title)


def markdown(tables: Sequence[Table], remarks: Sequence[str]) -> str:
    """All tables as Markdown."""
    parts = []
    for one in tables:
        if not one.rows:
            continue
        names = [column.name for column in one.columns]
        lines = ["| " + " | ".join(map(markdown_cell, cells)) + " |" for cells in (names, *one.rows)]
        lines.insert(1, "|" + "---|" * len(names))
        parts += [
            f"## {markdown_cell(one.title)}",
            "\n".join(lines),
            *(markdown_cell(note) for note in one.notes),
        ]
    if remarks:
        parts += [
            "## What the values give away",
            "\n".join(f"* {markdown_cell(remark)}" for remark in remarks),
        ]
    return "\n\n".join(parts) + "\n"


def points_csv(found: Comparison) -> str:
    """Every point that is drawn, the paper's and ours, with its interval on both scales; shares of the dense score."""
    rows = []
    for beside in found.beside:
        for panel in beside.panels:
            for one in panel.drawn:
                head = {
                    "model": beside.model,
                    "figure": panel.figure,
                    "panel": panel.name,
                    "series": one.series.name,
                }
                for whose, what, stand_in, curves in _curves(one):
                    rows += [
                        {**head, "whose": whose, "what": what, "stand_in": stand_in, **point}
                        for point in _points(curves)
                    ]
    return safe_csv(pd.DataFrame(rows))


def _curves(one: Drawn) -> list[tuple[str, str, str, tuple[Curve, Curve]]]:
    paper = one.paper[SCALES[0]], one.paper[SCALES[1]]
    return [
        ("paper", "", "", paper),
        *(("ours", mine.what, mine.stand_in, (mine.raw, mine.corrected)) for mine in one.ours),
    ]


def _points(curves: tuple[Curve, Curve]) -> list[dict[str, object]]:
    raw, corrected = curves
    found = []
    for k, level in enumerate(raw.levels):
        point: dict[str, object] = {"level": str(level), "sparsity": level.sparsity}
        for start, curve in (("", raw), ("chance_off_", corrected)):
            for name in ("kept", "low", "high"):
                value = getattr(curve, name)[k] if curve.levels else np.nan
                point[f"{start}{name}"] = round(float(value), 6)
        found.append(point)
    return found
