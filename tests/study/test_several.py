"""A study of several models, with texts and two budgets: one report, verdicts over trainings, and the same after a kill."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from junkdna_harness.study.plan import StudyPlan
from junkdna_harness.study.run import run_study
from tests.study.killed import killed_at

PLAN = StudyPlan(
    pretrained=("embedded:0", "embedded:1"), tasks=("difficulty_tiers_agreement", "difficulty_tiers_names"), limit=20,
    methods=("magnitude",), sparsity="0,0.8", patterns=None, quantize="rtn:2,W4A8", controls=("random",), text=("embedded",), text_limit=40,
    text_quantize="rtn:2", arms=("dense_transfer", "sparse_transfer", "local_reconstruction"), recovery_levels=(0.8,), steps=(2, 4),
    local_steps=2, batch_size=4,
)  # fmt: skip
FILES = ("fit.json", "over.csv", "claims.csv", "cells.csv")
EVERY = (*FILES, *(f"tokens_{name}" for name in FILES))

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study."""
    path = tmp_path_factory.mktemp("several") / "s"
    outcome = run_study(PLAN, path, say=lambda _: None)
    assert not outcome.failed
    assert outcome.verdicts.title == outcome.tokens.title == "2 trainings of embedded"
    assert set(outcome.seconds) == {
        "sweep", "tokens of texts", "recovery", "evaluation of what was recovered", "verdicts and report",
    }  # fmt: skip
    return path


def test_the_verdicts_over_trainings_and_of_each_are_written_of_tasks_and_of_tokens(folder: Path) -> None:
    assert all((folder / name).is_file() for name in EVERY)
    for prefix in ("", "tokens_"):
        found = json.loads((folder / f"{prefix}fit.json").read_text())
        assert found["trainings"] == {"embedded": ["embedded:0", "embedded:1"]}
        assert {c["claim"] for c in found["claims"] if c["family"] == "pooled"} >= {
            "P1",
            "P2",
            "P3",
            "P4",
            "P5",
            "P6",
        }
        assert [one["model"] for one in found["models"]] == ["embedded:0", "embedded:1"]
        over = pd.read_csv(folder / f"{prefix}over.csv")
        assert list(over["verdict"]) == [c["verdict"] for c in found["claims"]]
        assert set(pd.read_csv(folder / f"{prefix}claims.csv")["model"]) == {"embedded:0", "embedded:1"}
    tokens = json.loads((folder / "tokens_fit.json").read_text())
    assert {row["family"] for row in tokens["models"][0]["cells"]} >= {"text_frequency", "text_copy"}


def test_each_budget_has_its_own_dense_model_and_verdict(folder: Path) -> None:
    claims = pd.read_csv(folder / "claims.csv")
    p5 = claims[(claims["claim"] == "P5") & claims["family"].str.startswith("pooled")]
    assert set(p5["method"]) == {
        "magnitude+sparse_transfer~2steps", "magnitude+sparse_transfer~4steps", "magnitude+local_reconstruction",
    }  # fmt: skip
    assert "not tested" not in set(p5["verdict"])
    made = {path.name for path in (folder / "checkpoints").iterdir()}
    assert {name for name in made if name.startswith("1-dense")} == {
        "1-dense-dense_transfer-2steps", "1-dense-dense_transfer-4steps",
    }  # fmt: skip


def test_the_report_is_one_page_in_which_every_place_has_a_name_of_its_own(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    names = re.findall(r'<\w+[^>]*? id="([^"]+)"', page)
    assert len(names) == len(set(names))
    assert "<h2>On the tokens of a text</h2>" in page and 'href="#also-1"' in page
    assert len(re.findall("<h4>P2: ", page)) == 2 * (1 + 2)  # of tasks and of tokens, over models and of each
    assert [path.name for path in folder.glob("*.html")] == ["report.html"]


def test_a_study_that_was_killed_among_its_tokens_comes_to_the_same_tables(
    folder: Path, tmp_path: Path
) -> None:
    """`test_study` kills one among its trainings."""
    cut = tmp_path / "cut"
    killed_at(__name__, cut, "tokens/runs/*.json")
    assert not (cut / "checkpoints").exists()
    run_study(PLAN, cut, say=lambda _: None)
    for name in EVERY:
        assert (cut / name).read_text() == (folder / name).read_text(), name
