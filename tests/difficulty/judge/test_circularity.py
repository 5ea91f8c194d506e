"""Tiers that were made from a judged run, seen in the scores or said in the provenance."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from difficulty.judge.fit import fit
from difficulty.simulate.draw import tidy
from difficulty.simulate.world import Arm, Cut, World
from tests.difficulty.judge.worlds import FEW, headline, judged, rows_of

ORDERED = ("P2", "P3", "P4", "P4 memory", "P6")


def cut_world(run: int) -> World:
    return World(families=3, step=0.0, easiness=1.5, noise=1.2, items=100, cut=Cut(run))


@pytest.mark.parametrize("run", [0, 1, 2, 3])
def test_tiers_cut_from_any_run_are_seen_in_the_scores(run: int) -> None:
    result = judged(cut_world(run))
    claim = result.headline()["P2"]
    assert (claim.verdict, claim.estimate, claim.p) == ("inconclusive", None, None)
    name = "simulated dense" if run == 0 else f"simulated magnitude {(0.3, 0.5, 0.7)[run - 1]:g}"
    assert name in claim.reason and "regression to the mean" in claim.reason
    assert any(f"seem to be cut from the scores of '{name}'" in w for w in result.warnings)
    assert result.headline()["P1"].estimate is not None  # the order of tiers is not asked
    assert not any(c.verdict == "supported" for c in result.claims if c.claim != "P1")


def test_tiers_cut_from_another_evaluation_of_other_questions_are_judged() -> None:
    assert "cut from the scores" not in headline(World(families=3, items=100), "P2").reason


def said(rows: pd.DataFrame, entry: object, family: str | None = None) -> pd.DataFrame:
    text = json.dumps([entry])
    where = pd.Series(True, index=rows.index) if family is None else rows["family"] == family
    return rows.assign(tiers_from=where.map({True: text, False: ""}))


ARMS = (Arm(share=0.5), Arm("random", (0.2, 0.3, 0.4)), Arm("rtn", bits=(8.0, 6.0), losses=(0.6, 1.2)))
WORLD = World(ARMS, families=3, items=100)


@pytest.mark.parametrize("entry", ["simulated dense", "simulated magnitude 0.5", {"model": "simulated"}])
def test_tiers_that_are_said_to_come_from_a_judged_run_are_not_judged(entry: object) -> None:
    rows = tidy(WORLD, 0)
    assert fit(rows, claims=("P2",), n_resamples=FEW).headline()["P2"].verdict == "supported"
    result = fit(said(rows, entry), n_resamples=FEW)
    for name in ORDERED:
        claims = rows_of(result, name)
        assert claims and all(c.verdict in ("inconclusive", "not tested") for c in claims)
        assert all(c.estimate is None for c in claims)
    reason = result.headline()["P2"].reason
    run = entry if isinstance(entry, str) else "simulated dense"
    assert f"the tiers were made from the scores of '{run}', which is judged here" in reason
    assert any("were cut from the scores of" in w for w in result.warnings)


def test_of_several_families_only_the_one_that_says_so_is_left_out() -> None:
    result = fit(said(tidy(WORLD, 0), "simulated dense", "f01"), claims=("P2",), n_resamples=FEW)
    claim = result.headline()["P2"]
    assert claim.about == "these 2 families"
    assert "Not in it: f01" in claim.reason
    assert claim.details["families_left_out"] == ["f01"]
    assert rows_of(result, "P2", "f01")[0].estimate is None


@pytest.mark.parametrize(
    "entry",
    [
        "another dense",
        {"model": "another"},
        {"model": "simulated", "method": "magnitude", "level": 0.9},
        {"model": "simulated", "method": "dense", "level": 0.0, "cross_fitted": True},
    ],
)
def test_tiers_from_a_run_that_is_not_judged_are_judged(entry: object) -> None:
    rows = tidy(WORLD, 0)
    plain, told = (
        fit(r, claims=("P2",), n_resamples=FEW).headline()["P2"] for r in (rows, said(rows, entry))
    )
    assert told.verdict == plain.verdict == "supported"
    assert told.estimate == plain.estimate
