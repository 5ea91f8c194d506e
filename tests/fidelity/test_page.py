"""The page and its plots: what they show, and that no string of a text becomes markup."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from junkdna_harness.fidelity.html import render
from junkdna_harness.fidelity.load import Side, load_side
from junkdna_harness.fidelity.run import How, fidelity, over_grid
from junkdna_harness.report.divergence import pictures, plots
from junkdna_harness.sweep.plan import build_plan
from junkdna_harness.texts.documents import Document, read_documents

HOW = How(window=64, limit=400, worst=2)


@pytest.fixture(scope="module")
def runs(dense: Side) -> list[dict[str, Any]]:
    plan = build_plan(
        "text", {"pretrained": "embedded"}, "magnitude,random", "0.3,0.6", patterns="4:8", quantize="rtn:4,2"
    )
    copy = load_side({"pretrained": "embedded"}, "cpu")
    return [
        one.to_dict()
        for one in over_grid(dense, copy, plan, read_documents(["embedded", "starter"])[:2], HOW)
    ]


def test_the_page_has_every_state_with_its_figures_parts_and_passages(runs: list[dict[str, Any]]) -> None:
    page = render(runs)
    for run in runs:
        assert page.count(f"<summary>{run['model']}</summary>") == 2
        assert f"{run['kl_mean']:.4g}" in page
    assert page.count("<mark>") == 2 * len(runs) and "<script" not in page and page.count("<figure") == 3


def test_curves_are_drawn_of_methods_with_two_levels(runs: list[dict[str, Any]]) -> None:
    assert [plot.name for plot in pictures(runs)] == ["kl_by_level", "kl_by_frequency", "kl_by_context"]
    only = [run for run in runs if run["method"] == "rtn"]
    assert [plot.name for plot in pictures(only)] == ["kl_by_level"]
    assert pictures(runs[:1]) == []  # one state makes no curve
    assert plots(runs[:2], page=True) == plots(runs[:2], page=True)  # the same figures, the same bytes


def test_texts_and_names_are_escaped(dense: Side, tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script> \u202e <img src=x onerror=y> &amp; \x1b[31m " * 6
    found = fidelity(
        dense, load_side({"sparsity": 0.6}, "cpu"), [Document("<b>\x1b]0;x</b>", 0, hostile)], HOW
    ).to_dict()
    page = render([{**found, "model": "<i>m</i>"}])
    for raw in ("<script>alert", "<b>", "<i>m", "<img src=x", "\x1b", "\u202e"):
        assert raw not in page
    assert "&lt;i&gt;m&lt;/i&gt;" in page
