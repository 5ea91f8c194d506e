"""What `fit` can be asked for, and what it says to a wrong question."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from difficulty.errors import UsageError
from difficulty.judge.fit import fit
from difficulty.judge.verdicts import CLAIMS, Rules
from difficulty.simulate.draw import tidy
from difficulty.simulate.world import Arm, World
from tests.difficulty.judge.worlds import FEW, judged

WORLD = World((Arm(share=0.4), Arm("rtn", bits=(8.0, 6.0), losses=(0.6, 1.2))), families=2, items=80)


def test_without_margins_accuracies_decide_whatever_the_margins_are() -> None:
    rows = tidy(WORLD, 0)
    garbage = rows.assign(
        value=np.where(rows["metric"] == "margin", -7.0 * rows["value"] ** 2, rows["value"])
    )
    bare = rows[rows["metric"] != "margin"]
    results = [fit(r, n_resamples=FEW, margins=False) for r in (rows, garbage, bare)]
    assert results[0].claims == results[1].claims == results[2].claims
    assert set(results[0].cells["scale"]) == {"A"}
    assert list(results[0].headline()["P2"].details["scales"]) == ["A", "C", "L"]
    assert results[0].settings.margins is False


@pytest.mark.parametrize("name", ["p4 memory", "P4 MEMORY", " P4 memory "])
def test_claims_are_known_in_any_case(name: str) -> None:
    result = judged(WORLD, name)
    assert {c.claim for c in result.claims} == {"P4 memory"}
    assert result.settings.claims == ("P4 memory",)


def test_claims_asked_for_twice_are_judged_once() -> None:
    result = judged(WORLD, "P2", "p2")
    assert result.settings.claims == ("P2",)
    assert sum(c.scope.headline for c in result.claims) == 1


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_alone_gives_what_it_gives_among_all(name: str) -> None:
    whole, alone = judged(WORLD), judged(WORLD, name)
    assert [c for c in whole.claims if c.claim == name] == list(alone.claims)


def test_other_limits_move_the_verdict_and_stand_in_the_rule() -> None:
    rows = tidy(WORLD, 0)
    generous = fit(rows, claims=("P2",), n_resamples=FEW, rules=Rules(delta_tier=2.0)).headline()["P2"]
    assert generous.verdict == "refuted"
    assert "What is left is above 0, but too small to matter" in generous.reason
    assert "below 2 on every scale" in generous.rule


Change = Callable[[pd.DataFrame], Any]


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (
            lambda r: r,
            {"claims": ["P7"]},
            "there is no claim 'P7'. Claims: P1, P2, P3, P4, P4 memory, P5, P6",
        ),
        (lambda r: r, {"claims": [""]}, "there is no claim ''"),
        (lambda r: r, {"claims": []}, "no claim is asked for"),
        (lambda r: r, {"n_resamples": 99}, "n-resamples=99 is too few"),
        (lambda r: r, {"families": []}, "no family is asked for"),
        (lambda r: r, {"families": ["f0"]}, "there is no family 'f0'. Did you mean 'f0"),
        (lambda r: r.iloc[:0], {}, "no rows"),
        (lambda r: r.drop(columns="value"), {}, "value"),
        (lambda r: r.drop(columns="tier"), {}, "tier"),
        (lambda r: r[r["metric"] == "margin"], {}, "the table holds margins alone"),
        (lambda r: pd.concat([r, r.head(1)]), {}, ""),
        (lambda r: r.assign(value=r["value"].where(r.index != 3, np.inf)), {}, "inf"),
        (lambda r: r.assign(tier=r["tier"].astype(float) + 0.5), {}, "tier"),
        (lambda r: r.assign(chance=1.0), {}, "chance"),
        (lambda r: r.assign(level=r["level"] + 1.5), {}, "level"),
    ],
)
def test_a_wrong_question_gets_one_sentence(change: Change, options: dict[str, Any], message: str) -> None:
    rows = tidy(World(families=2, items=10), 0)
    with pytest.raises(UsageError) as caught:
        fit(change(rows), **{"n_resamples": FEW, **options})
    said = str(caught.value)
    assert message in said
    assert said and "\n" not in said and said.rstrip().endswith((".", "`"))


@pytest.mark.parametrize(
    "name", ["alpha", "delta", "delta_rise", "delta_tier", "delta_latent", "delta_level", "floor"]
)
@pytest.mark.parametrize("value", [0.0, -0.1, 11.0, float("nan")])
def test_limits_out_of_range_are_refused_with_their_default(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=rf"{name.replace('_', '-')}=.*The default is"):
        Rules(**{name: value})
