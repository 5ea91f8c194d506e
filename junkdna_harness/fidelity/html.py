"""The figures of one state or a grid as one HTML file that needs no network and runs no script; every string is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from importlib.metadata import version
from typing import Any

from junkdna_harness.fidelity.output import GRID_HEADER, PART_HEADER, PARTS, grid_row, number, part_row
from junkdna_harness.presentation.escape import one_line
from junkdna_harness.report.divergence import plots
from junkdna_harness.report.parts import environment, figures, page_file


def render(runs: Sequence[Mapping[str, Any]]) -> str:
    """The page of comparisons as `Fidelity.to_dict` has them."""
    from markupsafe import Markup

    page = resources.files("junkdna_harness.fidelity") / "page" / "page.html.j2"
    first = runs[0]
    return (
        environment()
        .from_string(page.read_text(encoding="utf-8"))
        .render(
            title=f"What compression changed on a text: {one_line(str(first['against']))}",
            subtitle=f"{first['n_tokens']:,} tokens in {first['n_blocks']:,} blocks, windows of {first['window']} ({first['layout']}); dense "
            f"perplexity {number(first['perplexity_dense'], '.4g')}",
            css=Markup(page_file("page.css")),  # our own file
            heads=GRID_HEADER,
            rows=[grid_row(run) for run in runs],
            plots=figures(plots(runs, page=True)),
            part_heads=PART_HEADER[1:],
            runs=[_run(run) for run in runs],
            block=first["block"],
            version=version("junkdna-harness"),
        )
    )


def _run(run: Mapping[str, Any]) -> dict[str, Any]:
    passages = [
        {
            "kl": number(one["kl"], ".3g"), "source": one_line(one["source"]), "before": one_line(one["before"]),
            "token": one_line(one["token"]) or " ", "after": one_line(one["after"]),
            "dense": ", ".join(map(repr, one["dense_says"])), "this": ", ".join(map(repr, one["this_says"])),
        }
        for one in run["worst_passages"]
    ]  # fmt: skip
    parts = [
        {"title": title, "rows": [part_row(row) for row in run[name]]}
        for name, title in PARTS.items()
        if len(run[name]) > 1
    ]
    return {"name": one_line(str(run["model"])), "parts": parts, "passages": passages}
