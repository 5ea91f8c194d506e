"""The paper beside a study as one HTML file that needs no network and runs no script; every string is escaped."""

from __future__ import annotations

from importlib import resources
from importlib.metadata import version
from typing import Any

from junkdna_harness.presentation.escape import one_line
from junkdna_harness.report.figures import Finisher
from junkdna_harness.report.parts import environment, figures, page_file
from junkdna_harness.study.against.compare import Beside, Comparison
from junkdna_harness.study.against.draw import pictures
from junkdna_harness.study.against.outputs import Table, beside_tables, paper_tables


def render(found: Comparison) -> str:
    """The whole page."""
    from markupsafe import Markup

    page = resources.files("junkdna_harness.study.against") / "page" / "page.html.j2"
    models = ", ".join(one.model for one in found.beside)
    return (
        environment()
        .from_string(page.read_text(encoding="utf-8"))
        .render(
            title=f"The paper's curves beside {one_line(models)}",
            subtitle=f"{len(found.points)} series of {len({one.figure for one in found.points})} figures, {sum(len(one.levels) for one in found.points):,} "
            f"points, read from {found.source.name}",
            css=Markup(page_file("page.css")),  # our own file
            verdicts=[_counts(one) for one in found.beside],
            models=[_model(one, number) for number, one in enumerate(found.beside)],
            own=[_table(one) for one in paper_tables(found) if one.rows],
            remarks=found.remarks,
            command=f"junkdna study --against {found.source} --output {found.folder}",
            version=version("junkdna-harness"),
        )
    )


def _counts(beside: Beside) -> str:
    """How many shapes agree, in one sentence."""
    return f"{beside.model}: {counts(beside)}"


def counts(beside: Beside) -> str:
    """How many series agree as they are drawn, how many stand alone, and how many of ours stand in."""
    drawn = [one for panel in beside.panels for one in panel.drawn]
    verdicts = [next(iter(one.agreements.values())).verdict for one in drawn if one.agreements]
    alone = sum(not one.ours for one in drawn)
    stand_ins = sum(bool(one.compared and one.compared.stand_in) for one in drawn)
    told = ", ".join(f"{verdicts.count(v)} {words}" for v, words in _WORDS.items())
    return f"of {len(drawn)} series {told}; {alone} have nothing of ours beside them, {stand_ins} a stand-in."


_WORDS = {"agrees": "agree in shape", "does not": "do not", "cannot be told": "cannot be told"}


def _model(beside: Beside, number: int) -> dict[str, Any]:
    finisher = Finisher(files=False)
    for k, picture in enumerate(pictures(beside)):
        finisher.add(f"against_{number}_{k}", picture)
    return {
        "name": beside.model,
        "plots": figures(list(finisher.plots().values())),
        "tables": [_table(one) for one in beside_tables(beside) if one.rows],
    }


def _table(one: Table) -> dict[str, Any]:
    return {
        "title": one.title,
        "heads": [(column.name, _css(column.kind)) for column in one.columns],
        "rows": [
            [(cell, _css(column.kind)) for cell, column in zip(row, one.columns, strict=True)]
            for row in one.rows
        ],
        "notes": one.notes,
    }


def _css(kind: str) -> str:
    return {"key": "name", "text": "words", "number": "number"}[kind]
