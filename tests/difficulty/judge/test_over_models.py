"""Several models: each one's verdicts, and what holds over models."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from difficulty.errors import UsageError
from difficulty.judge.fit import fit
from difficulty.judge.fit_output import cells_csv, claims_csv, models_to_json
from difficulty.judge.over_models import ModelsResult, fit_models, own_dense_runs
from difficulty.runs.read import Runs
from difficulty.simulate.draw import tidy
from difficulty.simulate.world import Arm, World
from difficulty.stats.random_effects import random_effects
from tests.difficulty.judge.worlds import FEW

BASE = World((Arm(share=0.4),), families=3, items=100)


def model(name: str, seed: int, share: float = 0.4, world: World = BASE) -> pd.DataFrame:
    return tidy(replace(world.with_arm(share=share), model=name), seed)


def runs_of(*tables: pd.DataFrame) -> Runs:
    rows = pd.concat(tables, ignore_index=True)
    facts = rows[["run", "model", "method", "level", "bits", "replicate"]].drop_duplicates("run")
    return Runs(rows, facts.reset_index(drop=True))


def judged(*tables: pd.DataFrame, claims: tuple[str, ...] | None = ("P2",), **options: Any) -> ModelsResult:
    return fit_models(runs_of(*tables), claims=claims, n_resamples=FEW, **options)


def test_each_model_is_judged_as_it_is_alone() -> None:
    tables = model("small", 1), model("large", 2)
    found = judged(*tables)
    assert list(found.results) == ["small", "large"]
    for table, result in zip(tables, found.results.values(), strict=True):
        alone = fit(table, claims=("P2",), n_resamples=FEW)
        assert result.claims == alone.claims


def test_two_models_are_about_these_two() -> None:
    found = judged(model("small", 1), model("large", 2)).headline()["P2"]
    assert found.about == "these 2 models"
    assert found.verdict == "supported"
    assert found.over == ("items",)
    assert all("like" not in scale for scale in found.details["scales"].values())
    own = [
        c.estimate
        for c in (r.headline()["P2"] for r in judged(model("small", 1), model("large", 2)).results.values())
    ]
    assert found.estimate == pytest.approx(np.mean(np.array(own, dtype=float)))


def test_three_models_are_random_effects_over_models_like_these() -> None:
    found = judged(model("a", 1), model("b", 2, 0.6), model("c", 3, 0.5))
    claim = found.headline()["P2"]
    assert claim.about == "models like these (3)"
    assert claim.over == ("items", "3 models")
    own = [r.headline()["P2"].details["scales"]["T"]["like"] for r in found.results.values()]
    errors = np.array([(o["ci_high"] - o["ci_low"]) / (2 * 1.959964) for o in own])
    wanted = random_effects(np.array([o["estimate"] for o in own]), errors**2)
    assert (claim.estimate, claim.ci_low, claim.ci_high) == pytest.approx(
        (wanted.estimate, wanted.ci_low, wanted.ci_high), rel=1e-5
    )
    assert "By model: a supported, b supported, c supported." in claim.reason


def test_one_model_against_two_is_not_support_over_models() -> None:
    found = judged(model("a", 1, 0.6), model("b", 2, -0.4), model("c", 3, 0.0)).headline()["P2"]
    assert found.verdict != "supported"


def test_models_that_differ_leave_p1_open() -> None:
    flat = model("flat", 3, world=BASE.with_arm(losses=(0.0, 0.0, 0.0)))
    big = World((Arm(share=0.4),), families=2, items=500)
    falls = [model("x", 1, world=big), model("y", 2, world=big)]
    apart = judged(*falls, flat, claims=("P1",)).headline()["P1"]
    assert apart.verdict == "inconclusive" and "the models differ" in apart.reason
    assert judged(*falls, claims=("P1",)).headline()["P1"].verdict == "supported"


def test_all_claims_have_a_row_and_what_no_model_tests_says_why() -> None:
    found = judged(model("a", 1), model("b", 2), claims=None)
    assert list(found.headline()) == ["P1", "P2", "P3", "P4", "P4 memory", "P5", "P6"]
    claim = found.headline()["P5"]
    assert claim.verdict == "not tested"
    assert claim.reason == "there are no recovered runs. Make some with junkdna recover."
    assert found.hypothesis.verdict == "not tested"


def test_a_claim_that_one_model_tests_is_about_that_one_and_says_who_does_not() -> None:
    quantized = replace(BASE, arms=(Arm(share=0.4), Arm("rtn", bits=(8.0, 6.0), losses=(0.6, 1.2))))
    found = judged(model("a", 1), tidy(replace(quantized, model="b"), 2), claims=("P4",)).headline()["P4"]
    assert found.about == "one model"
    assert "Not judged: a" in found.reason


@pytest.mark.parametrize("margins", [True, False])
def test_one_model_under_two_names_is_refused(margins: bool) -> None:
    first = model("a", 1)
    second = first.assign(model="b", run=first["run"].str.replace("a ", "b ", n=1))
    if not margins:
        first, second = (t[t["metric"] != "margin"] for t in (first, second))
    with pytest.raises(UsageError, match="'a' and 'b' are one model under two names") as caught:
        judged(first, second)
    assert "\n" not in str(caught.value)


def test_the_same_weights_under_two_names_are_refused() -> None:
    runs = runs_of(model("a", 1), model("b", 2))
    same = replace(
        runs, runs=runs.runs.assign(weights_sha256=np.where(runs.runs["method"] == "dense", "f00d", None))
    )
    with pytest.raises(UsageError, match="one model under two names"):
        fit_models(same, claims=("P2",), n_resamples=FEW)


def test_a_model_without_a_dense_run_is_asked_about_as_before() -> None:
    b = model("b", 2)
    both = runs_of(model("a", 1), b[b["method"] != "dense"])
    assert own_dense_runs(both.table) == []
    with pytest.raises(UsageError, match="the table holds 2 models.*Choose one with --model") as caught:
        fit(both, claims=("P2",), n_resamples=FEW)
    assert "\n" not in str(caught.value)
    assert own_dense_runs(model("a", 1)) == []


def test_a_model_that_cannot_be_judged_is_named() -> None:
    b = model("b", 2)
    with pytest.raises(UsageError, match="model 'b' cannot be judged: there is only the dense run"):
        judged(model("a", 1), b[b["method"] == "dense"])


def test_json_is_valid_and_csv_names_the_model() -> None:
    found = judged(model("a", 1), model("b", 2), claims=None)
    text = models_to_json(found)
    document = json.loads(text)
    assert "NaN" not in text and "Infinity" not in text
    assert [m["model"] for m in document["models"]] == ["a", "b"]
    assert {c["claim"] for c in document["claims"]} == {"P1", "P2", "P3", "P4", "P4 memory", "P5", "P6"}
    assert document["hypothesis"]["verdict"] == "not tested"
    table = pd.read_csv(io.StringIO(claims_csv(*found.results.values())))
    assert table.columns[0] == "model"
    assert table["model"].value_counts().to_dict() == {n: len(r.claims) for n, r in found.results.items()}
    cells = pd.read_csv(io.StringIO(cells_csv(*found.results.values())))
    assert set(cells["model"]) == {"a", "b"}
    alone = pd.read_csv(io.StringIO(claims_csv(found.results["a"])))
    assert "model" not in alone.columns


def test_models_that_answer_few_questions_alike_are_two_models() -> None:
    """All answers right, or a handful of answers alike, is no sign of one model."""
    rows = tidy(replace(World((Arm(),), families=2, items=60, easiness=12.0, margins=False), model="a"), 0)
    other = tidy(replace(World((Arm(),), families=2, items=60, easiness=12.0, margins=False), model="b"), 1)
    assert list(judged(rows, other, claims=("P1",)).results) == ["a", "b"]


def test_what_no_model_shows_for_want_of_a_control_is_not_shown_over_models() -> None:
    world = replace(BASE, arms=(Arm(share=0.5), Arm("random", (0.2, 0.3, 0.4))), items=150)
    found = judged(
        *(tidy(replace(world, model=name), n) for n, name in enumerate("abc")), claims=("P2", "P6")
    )
    assert {r.headline()["P6"].verdict for r in found.results.values()} == {"inconclusive"}
    claim = found.headline()["P6"]
    assert claim.verdict == "inconclusive"
    assert "There are no runs of largest." in claim.reason
    assert found.hypothesis.verdict == "inconclusive"


def test_what_something_speaks_against_in_each_model_is_not_shown_over_models() -> None:
    """Pruning orders nothing, quantization the wrong way round: the difference is above 0, and P4 is not supported."""
    world = replace(BASE, arms=(Arm(share=0.0), Arm("rtn", bits=(8.0, 6.0), losses=(0.6, 1.2), share=-0.5)))
    found = judged(*(tidy(replace(world, model=name), n) for n, name in enumerate("abc")), claims=("P4",))
    assert "supported" not in {r.headline()["P4"].verdict for r in found.results.values()}
    claim = found.headline()["P4"]
    assert claim.verdict == "inconclusive"
    assert "3 of 3 models hold it back, e.g. a: pruning itself does not order the tiers there" in claim.reason


def test_a_control_that_some_models_lack_is_missing_over_models() -> None:
    arms = (Arm(share=0.5), Arm("random", (0.2, 0.3, 0.4)), Arm("largest", (0.05, 0.1, 0.15)))
    whole, fewer = (replace(BASE, arms=a, items=150) for a in (arms, arms[:2]))
    tables = [
        tidy(replace(w, model=name), n)
        for n, (name, w) in enumerate((("a", whole), ("b", fewer), ("c", fewer)))
    ]
    found = judged(*tables, claims=("P2", "P6"))
    assert found.results["a"].headline()["P6"].verdict == "supported"
    claim = found.headline()["P6"]
    assert claim.verdict == "inconclusive"
    assert "There are no runs of largest in b and c." in claim.reason or "largest in b, c" in claim.reason
    complete = [tidy(replace(whole, model=name), n) for n, name in enumerate("abc")]
    assert judged(*complete, claims=("P2", "P6")).headline()["P6"].verdict == "supported"


def test_methods_are_not_mixed_over_models() -> None:
    """Where models' headlines are of several methods, that of most models is combined, and who is not in it is named."""
    other = tidy(replace(BASE.with_arm(method="wanda", share=0.4), model="c"), 3)
    found = judged(model("a", 1), model("b", 2), other).headline()["P2"]
    assert found.method == "magnitude" and set(found.details["models"]) == {"a", "b"}
    assert found.about == "these 2 models" and "Not judged: c" in found.reason
