"""The report as one HTML file that needs no network: everything is inside it, and every string is escaped."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import shlex
from importlib import resources
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from difficulty.judge.fit_output import methods_paragraph
from difficulty.text import NOISE_MARK
from difficulty.visible import visible_json
from junkdna_harness.presentation.escape import page_value, script_json
from junkdna_harness.report import formats
from junkdna_harness.report.build import Report
from junkdna_harness.report.explorer import MOST_TEXT, Explorer, explorer
from junkdna_harness.report.leaderboard import OVERALL, Leaderboard
from junkdna_harness.report.verdicts import blocks

if TYPE_CHECKING:
    from junkdna_harness.report.figures import Plot

_WIDE = 760  # CSS pixels beyond which a plot scrolls sideways on a phone in place of shrinking


def render(report: Report, all_documents: bool = False) -> str:
    """The whole page. `all_documents`: with every document that flipped, however large it gets."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    folder = resources.files("junkdna_harness.report") / "page"
    js = (folder / "page.js").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, finalize=page_value, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string((folder / "page.html.j2").read_text(encoding="utf-8"))
    found = explorer(report, math.inf if all_documents else MOST_TEXT)
    items = report.boards[0].n_items
    run_heads, run_rows = _runs(report)
    return template.render(
        title="What compression cost: " + ", ".join(report.models),
        subtitle=f"{report.items['run'].nunique()} runs on {items:,} items each, "
        f"{report.items['family'].nunique()} families, {report.items['tier'].nunique()} tiers of difficulty",
        css=Markup((folder / "page.css").read_text(encoding="utf-8")),
        js=Markup(js),
        script_hash=base64.b64encode(hashlib.sha256(js.encode()).digest()).decode(),
        warnings=report.warnings,
        verdicts=blocks(report.fits, report.over, report.warnings),
        looked=report.looked,
        boards=[_board(board) for board in report.boards],
        plots=[_plot(plot) for plot in report.plots],
        explorer=found and _explorer(found),
        methods=_methods(report),
        command=_command(report) + all_documents * " --all-documents",
        run_heads=run_heads,
        runs=run_rows,
        manifests=[
            (run, visible_json(json.dumps(block, indent=1, ensure_ascii=False)))
            for run, block in report.manifests.items()
        ],
        version=version("junkdna-harness"),
        one_model=len(report.models) == 1,
    )


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


def _board(board: Leaderboard) -> dict[str, Any]:
    """Heads and cells of a table, with what each is sorted and filtered by."""
    columns = (OVERALL, *board.columns)
    rows = []
    for i, row in enumerate(board.rows):
        model, method, size, effective = formats.row_heads(row)
        severity = row.bits if row.bits is not None else (row.level or 0.0)
        cells = [
            _cell(model, css="name", choose=model),
            _cell(method, choose=method),
            _cell(size, repr(float(severity)), "number"),
            _cell(effective, repr(float(row.effective_bits)), "number"),
        ]
        for column in columns:
            shown = formats.cell(board, i, column)
            exact = repr(float(row.scores[column].mean)) if column in row.scores else ""
            cells.append(
                {
                    **_cell(
                        shown.mean,
                        exact,
                        "number best" if shown.bold else "number",
                        None,
                        shown.interval,
                        shown.kept,
                    ),
                    "mark": NOISE_MARK if shown.near else "",
                }
            )
        rows.append(cells)
    filters = [
        (0, "Model", list(dict.fromkeys(row.model for row in board.rows))),
        (1, "Method", list(dict.fromkeys(formats.row_heads(row)[1] for row in board.rows))),
    ]
    return {
        "by": board.by,
        "heads": [
            {"text": h, "css": "" if i < 2 else "number"} for i, h in enumerate((*formats.HEADS, *columns))
        ],
        "rows": rows,
        "filters": [one for one in filters if len(one[2]) > 1],
        "caption": formats.caption(board),
        "notes": board.notes,
    }


def _cell(
    text: str,
    sort: str | None = None,
    css: str = "",
    choose: str | None = None,
    interval: str = "",
    kept: str = "",
) -> dict[str, Any]:
    return {
        "text": text,
        "sort": text if sort is None else sort,
        "css": css,
        "filter": choose,
        "interval": interval,
        "kept": kept,
        "mark": "",
    }


def _plot(plot: Plot) -> dict[str, Any]:
    size = re.search(rb'<svg[^>]*?height="([\d.]+)pt"[^>]*?width="([\d.]+)pt"', plot.svg) or re.search(
        rb'<svg[^>]*?width="([\d.]+)pt"[^>]*?height="([\d.]+)pt"', plot.svg
    )
    assert size is not None
    a, b = (round(float(value) * 4 / 3) for value in size.groups())
    width, height = (b, a) if size.re.pattern.find(b"height") < size.re.pattern.find(b"width") else (a, b)
    return {
        "name": plot.name.replace("_", " "),
        "alt": plot.alt,
        "css": "wide" if width > _WIDE else "",
        "width": width,
        "height": height,
        "data": base64.b64encode(plot.svg).decode(),
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


def _command(report: Report) -> str:
    metric = f" --metric {shlex.quote(report.metric)}" if report.metric else ""
    by = "".join(f" --by {board.by}" for board in report.boards)
    return f"pip install junkdna-harness=={version('junkdna-harness')}\njunkdna report {shlex.join(report.sources)}{by}{metric} --html report.html"


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
