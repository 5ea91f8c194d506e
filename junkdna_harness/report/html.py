"""The report as one HTML file that needs no network: everything is inside it, and every string is escaped."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from difficulty.judge.fit_output import methods_paragraph
from difficulty.judge.series import PRIMARY
from difficulty.runs.identity import Method
from difficulty.runs.table import DENSE
from difficulty.text import NOISE_MARK
from difficulty.visible import visible_json
from junkdna_harness.presentation.escape import script_json
from junkdna_harness.report import formats
from junkdna_harness.report.build import Report
from junkdna_harness.report.drawing import Drawing
from junkdna_harness.report.explorer import MOST_TEXT, Explorer, explorer
from junkdna_harness.report.leaderboard import OVERALL, Leaderboard
from junkdna_harness.report.parts import environment, figures, page_file
from junkdna_harness.report.verdicts import answers, blocks

_HEADS = ("model", "method", "number level", "number bits")  # classes of the first columns


def render(
    report: Report,
    all_documents: bool = False,
    name: str = "report.html",
    also: Sequence[tuple[str, Report]] = (),
) -> str:
    """The whole page. `all_documents`: with every document that flipped, however large it gets; `name`: of its file; `also`: titles and reports
    of other items, each judged by itself, that get a section of their own.
    """
    from markupsafe import Markup

    js = page_file("page.js")
    found = explorer(report, math.inf if all_documents else MOST_TEXT)
    run_heads, run_rows = _runs(report)
    first, same, others = _plots(report)
    return (
        environment()
        .from_string(page_file("page.html.j2"))
        .render(
            title="What compression cost: " + ", ".join(report.models),
            subtitle=_subtitle(report),
            css=Markup(page_file("page.css")),
            js=Markup(js),
            script_hash=base64.b64encode(hashlib.sha256(js.encode()).digest()).decode(),
            answers=answers(report.fits, report.over),
            unanswered=next((w for w in report.warnings if w.startswith("no verdicts")), ""),
            guesses=list(dict.fromkeys(sentence for fit in report.fits for sentence in fit.guesses)),
            warnings=_remarks(report),
            verdicts=blocks(report.fits, report.over, report.warnings),
            looked=report.looked,
            first=first,
            same=same,
            boards=[_board(board, report) for board in report.boards],
            plots=others,
            explorer=found and _explorer(found),
            methods=_methods(report),
            command=_command(report, all_documents, name),
            run_heads=run_heads,
            runs=run_rows,
            manifests=[
                (run, visible_json(json.dumps(block, indent=1, ensure_ascii=False)))
                for run, block in report.manifests.items()
            ],
            version=version("junkdna-harness"),
            one_model=len(report.models) == 1,
            also=[_part(f"also-{k}", title, other) for k, (title, other) in enumerate(also, start=1)],
        )
    )


def _part(name: str, title: str, report: Report) -> dict[str, Any]:
    """A report as a section of another one's page: answer, pictures, verdicts and tables."""
    first, same, others = _plots(report)
    for plot in (*first, *same, *others):
        plot["name"] = f"{name}-{plot['name']}"
    return {
        "id": name,
        "title": title,
        "subtitle": _subtitle(report),
        "answers": answers(report.fits, report.over),
        "first": first,
        "same": same,
        "plots": others,
        "verdicts": blocks(report.fits, report.over, report.warnings),
        "boards": [_board(board, report) for board in report.boards],
        "warnings": _remarks(report),
    }


def _subtitle(report: Report) -> str:
    """How much was measured."""
    return (
        f"{report.items['run'].nunique()} runs on {report.boards[0].n_items:,} items each, "
        f"{report.items['family'].nunique()} families, {report.items['tier'].nunique()} tiers of difficulty"
    )


def _remarks(report: Report) -> list[str]:
    """What is to be known of the runs, without what stands at the answer."""
    shown = {sentence for fit in report.fits for sentence in fit.guesses}
    return [sentence for sentence in report.warnings if sentence not in shown]


def _plots(report: Report) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """The figures on top, the same of further models, and those that come after the tables."""
    leads = [plot for plot in report.plots if Drawing.leads(plot.name)]
    own = [
        plot
        for plot in leads
        if Drawing.over(plot.name) or len(report.models) == 1 or plot.name.endswith("_1")
    ]
    others = [plot for plot in report.plots if plot not in leads]
    return figures(own), figures([plot for plot in leads if plot not in own]), figures(others)


def _explorer(found: Explorer) -> dict[str, Any]:
    """The documents that flipped: (id of the script element, JSON) of each piece, and what chooses among them."""
    from markupsafe import Markup

    pieces = [
        ("documents", found.head),
        *((f"documents-{k}", piece) for k, piece in enumerate(found.documents)),
        *((f"answers-{r}", answers) for r, answers in enumerate(found.answers)),
    ]
    return {
        "runs": found.selectable,
        "tasks": found.tasks,
        "left_out": f"{found.left_out:,}" if found.left_out else "",
        "pieces": [(name, Markup(script_json(piece))) for name, piece in pieces],
    }


def _board(board: Leaderboard, report: Report) -> dict[str, Any]:
    """Heads and cells of a table, with what each is sorted and filtered by; which rows are shown first."""
    columns = (OVERALL, *board.columns)
    css = dict.fromkeys(columns, "number")
    if board.by == "tier" and board.columns:
        css[board.columns[-1]] += " hardest"
    primary = {fit.model: Method.parse(fit.primary).base for fit in report.fits}
    rows = []
    for i, row in enumerate(board.rows):
        model, method, size, effective = formats.row_heads(row)
        severity = row.bits if row.bits is not None else (row.level or 0.0)
        cells = [
            _cell(model, css="name model", choose=model),
            _cell(method, css="name method", choose=method),
            _cell(size, repr(float(severity)), "number level"),
            _cell(effective, repr(float(row.effective_bits)), "number bits"),
        ]
        for column in columns:
            shown = formats.cell(board, i, column)
            exact = repr(float(row.scores[column].mean)) if column in row.scores else ""
            bold = " best" if shown.bold else ""
            cells.append(_cell(shown.mean, exact, css[column] + bold, None, shown))
        own = Method.parse(row.method).base in (DENSE, primary.get(row.model, PRIMARY))
        rows.append({"cells": cells if len(report.models) > 1 else cells[1:], "primary": own})
    heads = list(zip((*formats.HEADS, *columns), (*_HEADS, *css.values()), strict=True))
    filters = [
        (0, "Model", list(dict.fromkeys(row.model for row in board.rows))),
        (
            len(report.models) > 1,
            "Method",
            list(dict.fromkeys(formats.row_heads(row)[1] for row in board.rows)),
        ),
    ]
    names = list(dict.fromkeys(primary.values())) or [PRIMARY]
    some = any(row["primary"] for row in rows) and not all(row["primary"] for row in rows)
    compressed = any(
        row["primary"] and found.method != DENSE for row, found in zip(rows, board.rows, strict=True)
    )
    return {
        "by": board.by,
        "heads": heads if len(report.models) > 1 else heads[1:],
        "rows": rows,
        "only": f"dense and {', '.join(names)}" if some and compressed else "",
        "filters": [(int(column), *rest) for column, *rest in filters if len(rest[1]) > 1],
        "caption": formats.caption(board),
        "notes": board.notes,
    }


def _cell(
    text: str,
    sort: str | None = None,
    css: str = "",
    choose: str | None = None,
    shown: formats.Cell | None = None,
) -> dict[str, Any]:
    return {
        "text": text,
        "sort": text if sort is None else sort,
        "css": css,
        "filter": choose,
        "interval": shown.interval if shown else "",
        "kept": shown.kept if shown else "",
        "mark": NOISE_MARK if shown and shown.near else "",
    }


def _methods(report: Report) -> list[str]:
    """What was done, in paragraphs: first the tables, then the verdicts as the statistics describe themselves."""
    tables = (
        f"Tables: {report.boards[0].metric}, each item evaluated in every run. Means over items, replicates (seeds) averaged "
        "item by item first; 95 % intervals by Wilson's formula on the number of items divided by the design effect of their "
        "clusters, or a cluster-robust t interval where scores are not right or wrong, widened where nearly all items score the "
        "same. In brackets the score as a share of "
        "the dense score, left out where the dense score is not clearly above chance. Bold marks the best of the rows at "
        "the same level where a paired test against each other one, Holm-corrected, stays below 5 %."
    )
    return [tables, *(methods_paragraph(fit) for fit in report.fits)]


def _command(report: Report, all_documents: bool, name: str) -> str:
    """What makes the page again, where it was made."""
    more = [*(["--all-documents"] if all_documents else []), f"--html={name}"]
    return report.options.command(report.sources, [board.by for board in report.boards], more)


_RUN_HEADS = (
    ("Run", ""), ("Bits/weight", "number"), ("Zeros, all weights", "number"), ("Weights (sha256)", ""), ("lm-eval", ""),
)  # fmt: skip


def _runs(report: Report) -> tuple[list[tuple[str, str]], list[list[tuple[str, str]]]]:
    """Heads and rows of the table of runs, as (text, class); columns of which nothing is known are left out."""

    def text(value: object, form: str = "") -> str:
        return "" if value is None or value != value else format(value, form)

    rows = [
        [
            (text(row.run), "name"),
            (text(row.effective_bits, ".2f"), "number"),
            (text(row.sparsity_all, ".4f"), "number"),
            (text(row.weights_sha256)[:16], ""),
            (text(row.lm_eval_version), ""),
        ]
        for row in report.runs.itertuples()
    ]
    known = [k for k in range(len(_RUN_HEADS)) if any(row[k][0] for row in rows)]
    return [_RUN_HEADS[k] for k in known], [[row[k] for k in known] for row in rows]
