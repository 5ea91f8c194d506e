"""P6: it is the small weights; and the verdict on the hypothesis."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from difficulty.judge.fit import FitResult, fit
from difficulty.judge.judgement import judge_panel
from difficulty.judge.verdicts import Claim, Rules, Scope, Verdict, hypothesis, not_tested
from difficulty.runs.halves import in_calibration_half
from difficulty.simulate.draw import simulate, tidy
from difficulty.simulate.world import Arm, World
from tests.difficulty.judge.worlds import FEW, headline, judged, rows_of

BASE = World(families=3, items=150)
MAGNITUDE = Arm(share=0.4)
RANDOM, LARGEST = Arm("random", (0.2, 0.3, 0.4)), Arm("largest", (0.05, 0.1, 0.15))


def world(*arms: Arm, **changes: object) -> World:
    return replace(BASE, arms=arms, **changes)  # type: ignore[arg-type]


def test_without_a_control_it_is_not_tested_and_the_command_is_there() -> None:
    claim = headline(world(MAGNITUDE), "P6")
    assert claim.verdict == "not tested"
    assert "junkdna" not in claim.reason or "sweep" in claim.reason
    assert "no runs of random or largest" in claim.reason
    assert "--methods magnitude,random,largest --match-loss" in claim.reason


def test_without_magnitude_it_is_not_tested() -> None:
    claim = headline(world(RANDOM, LARGEST), "P6")
    assert claim.verdict == "not tested"
    assert "no runs of magnitude" in claim.reason


@pytest.mark.parametrize(("control", "missing"), [(RANDOM, "largest"), (LARGEST, "random")])
def test_with_one_control_the_other_is_asked_for(control: Arm, missing: str) -> None:
    result = judged(world(MAGNITUDE, control), "P6")
    claim = result.headline()["P6"]
    assert claim.verdict == "inconclusive"
    assert f"There are no runs of {missing}." in claim.reason
    assert claim.details["missing"] == [missing]
    assert claim.details["controls"] == {f"magnitude vs {control.method}": "supported"}


def test_levels_without_a_common_loss_are_compared_with_nothing_and_both_ranges_are_said() -> None:
    weak = replace(RANDOM, losses=(0.05, 0.1, 0.15))
    result = judged(world(MAGNITUDE, weak, replace(weak, method="largest")), "P6")
    claim = result.headline()["P6"]
    assert (claim.verdict, claim.estimate) == ("inconclusive", None)
    assert "no mean loss in common over the same tiers (magnitude 0." in claim.reason
    assert "random 0." in claim.reason and claim.reason.count("--match-loss") == 1  # both controls ask for it


def test_more_slope_than_both_controls_at_the_same_loss_is_support() -> None:
    result = judged(world(MAGNITUDE, RANDOM, LARGEST), "P6", "P2")
    claim = result.headline()["P6"]
    assert claim.verdict == "supported"
    pooled = [c for c in rows_of(result, "P6") if c.scope.pooled and not c.scope.headline]
    assert [c.method for c in pooled] == ["magnitude vs largest", "magnitude vs random"] or len(pooled) == 2
    assert all(c.verdict == "supported" and abs((c.estimate or 0) - 0.4) < 0.15 for c in pooled)
    # the headline shows the control against which least is left
    assert claim.estimate == min(c.estimate or np.inf for c in pooled)
    assert result.hypothesis.verdict == "supported"


@pytest.mark.parametrize("same", ["random", "largest"])
def test_a_control_that_orders_the_tiers_as_much_refutes(same: str) -> None:
    arms = (MAGNITUDE, *(replace(a, share=0.6 if a.method == same else 0.0) for a in (RANDOM, LARGEST)))
    result = judged(world(*arms), "P6", "P2")
    claim = result.headline()["P6"]
    assert claim.verdict == "refuted"
    assert f"magnitude vs {same} is refuted" in claim.reason
    assert (claim.ci_high or 1) < 0.1
    assert result.hypothesis.verdict == "refuted"
    assert "P6 is refuted" in result.hypothesis.reason


def test_equal_slopes_at_equal_loss_are_not_support() -> None:
    same = (MAGNITUDE, replace(RANDOM, share=0.4), replace(LARGEST, share=0.4))
    found = [headline(world(*same), "P6", seed).verdict for seed in range(4)]
    assert "supported" not in found


def with_matched(
    the_world: World, matched: tuple[str, ...], seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = tidy(the_world, seed)
    runs = rows[["run", "method"]].drop_duplicates().reset_index(drop=True)
    return rows, runs.assign(matched=runs["method"].isin(matched))


def test_levels_chosen_by_their_loss_are_judged_on_the_other_half() -> None:
    rows, runs = with_matched(world(MAGNITUDE, RANDOM, LARGEST), ("random", "largest"))
    result = fit(rows, runs, n_resamples=FEW)
    clusters = rows.drop_duplicates("item_id").set_index("item_id")["cluster_id"]
    half = int((~in_calibration_half(clusters)).sum())
    claim = result.headline()["P6"]
    assert 0 < half < len(clusters)
    assert claim.n_items == half
    assert f"Judged on the {half:,} items that did not choose the matched levels" in claim.reason
    assert {c.n_items for c in rows_of(result, "P6") if c.scope.pooled} == {half}
    assert result.headline()["P2"].n_items == len(clusters) == result.n_items
    assert result.headline()["P1"].n_items == len(clusters)


def test_the_half_that_chose_the_levels_has_no_say() -> None:
    """In that half the controls look as good or bad as one likes: P6 must not move."""
    rows, runs = with_matched(world(MAGNITUDE, RANDOM, LARGEST), ("random", "largest"))
    spoiled = rows.copy()
    chose = pd.Series(in_calibration_half(rows["cluster_id"]), index=rows.index)
    other = chose & rows["method"].isin(["random", "largest"])
    spoiled.loc[other & (rows["metric"] == "margin"), "value"] -= 3 * rows["tier"]
    spoiled.loc[other & (rows["metric"] == "acc"), "value"] = 0.0
    a, b = (fit(r, runs, claims=("P6",), n_resamples=FEW).headline()["P6"] for r in (rows, spoiled))
    assert (a.estimate, a.ci_low, a.ci_high, a.verdict) == (b.estimate, b.ci_low, b.ci_high, b.verdict)


@pytest.mark.parametrize("says", [None, False])
def test_levels_that_were_not_chosen_are_judged_on_all_items(says: bool | None) -> None:
    rows, runs = with_matched(world(MAGNITUDE, RANDOM, LARGEST), ())
    runs = runs.assign(matched=says) if says is not None else runs.drop(columns="matched")
    claim = fit(rows, runs, claims=("P6",), n_resamples=FEW).headline()["P6"]
    assert claim.n_items == 3 * 4 * 150
    assert "Judged on the" not in claim.reason


def test_one_matched_level_is_enough_to_judge_on_the_half() -> None:
    rows, runs = with_matched(world(MAGNITUDE, RANDOM, LARGEST), ())
    runs.loc[runs["method"] == "random", "matched"] = [True, False, False]
    claim = fit(rows, runs, claims=("P6",), n_resamples=FEW).headline()["P6"]
    assert claim.n_items < 3 * 4 * 150


def test_tiers_at_the_floor_are_not_compared_over_other_tiers() -> None:
    """A control that drives one tier to chance has another mean loss: over the tiers that are left it is no match."""
    deep = replace(RANDOM, losses=(3.0, 5.0, 9.0))
    claim = headline(world(MAGNITUDE, deep, LARGEST, chance=0.25), "P6")
    assert claim.verdict != "supported" or "random" in claim.reason


def claim_of(name: str, verdict: Verdict) -> Claim:
    return replace(
        not_tested(name, "magnitude", "x"), verdict=verdict, scope=Scope("magnitude", headline=True)
    )


VERDICTS: tuple[Verdict, ...] = ("supported", "refuted", "inconclusive", "not tested")


@pytest.mark.parametrize(("p2", "p6"), list(itertools.product(VERDICTS, VERDICTS)))
def test_the_hypothesis_needs_both(p2: Verdict, p6: Verdict) -> None:
    found = hypothesis({"P2": claim_of("P2", p2), "P6": claim_of("P6", p6)})
    if "refuted" in (p2, p6):
        wanted = "refuted"
    elif p2 == p6 == "supported":
        wanted = "supported"
    elif "not tested" in (p2, p6):
        wanted = "not tested"
    else:
        wanted = "inconclusive"
    assert found.verdict == wanted
    assert f"P2 is {p2}" in found.reason and f"P6 is {p6}" in found.reason


@pytest.mark.parametrize("asked", [("P2",), ("P6",), ("P1",)])
def test_a_claim_that_was_not_asked_for_is_not_tested(asked: tuple[str, ...]) -> None:
    result = judged(world(MAGNITUDE, RANDOM, LARGEST), *asked)
    assert result.hypothesis.verdict == "not tested"


def test_a_panel_gives_what_the_table_gives() -> None:
    the_world = world(MAGNITUDE, RANDOM, LARGEST)
    result: FitResult = judged(the_world, "P6", seed=3)
    direct = judge_panel(simulate(the_world, 3), Rules(), {}, ("P6",), FEW, 3)[1]
    assert [(c.method, c.family, c.estimate, c.p) for c in direct] == [
        (c.method, c.family, c.estimate, c.p) for c in result.claims
    ]


def test_a_family_with_few_items_left_in_the_half_is_named() -> None:
    rows, runs = with_matched(world(MAGNITUDE, RANDOM, LARGEST, families=2), ("random", "largest"))
    chose = pd.Series(in_calibration_half(rows["cluster_id"]), index=rows.index)
    # of one family only tier 1 is left in the half that is judged
    rows = rows[chose | (rows["family"] != "f01") | (rows["tier"] == 1)]
    claim = fit(rows, runs, n_resamples=FEW).headline()["P6"]
    assert "f01" in claim.reason
    assert claim.about == "this family" or "f01" in claim.details["families_left_out"]
