"""P5: floors, several shares of the data, replicates that share a seed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from difficulty.judge.fit import fit
from difficulty.simulate.draw import tidy
from difficulty.simulate.world import Arm, World
from tests.difficulty.judge.worlds import FEW, headline, judged, rows_of

WAY = "magnitude+sparse_transfer"
PRUNED = Arm(share=0.4)


def world(
    gap: float = 0.4, replicates: int = 1, sd: float = 0.0, shares: tuple[str, ...] = ("",), **more: object
) -> World:
    arms = [PRUNED]
    for share in shares:
        arms.append(Arm(f"dense+dense_transfer{share}", (0.0,), (-0.3,), replicates=replicates))
        arms.append(
            Arm(f"{WAY}{share}", (0.5, 0.7), (0.6, 1.0), share=gap, replicates=replicates, replicate_sd=sd)
        )
    return World(tuple(arms), **{"families": 3, "items": 120, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(("gap", "verdict"), [(0.5, "supported"), (-0.4, "refuted")])
def test_the_gap_that_grows_with_the_tier_is_found(gap: float, verdict: str) -> None:
    assert headline(world(gap), "P5").verdict == verdict


def test_tiers_at_chance_after_recovery_are_left_out_of_the_slope() -> None:
    """The hardest tier is lost for good: its gap cannot grow, and must not flatten the slope of the others."""
    rows = tidy(world(0.5, chance=0.25, easiness=3.0, items=300), 0)
    whole = fit(rows, claims=("P5",), n_resamples=FEW).headline()["P5"]
    lost = (rows["method"] == WAY) & (rows["tier"] == 4)
    g = np.random.default_rng(0)
    spoiled = rows.copy()
    right = g.random(len(rows)) < 0.25
    spoiled.loc[lost & (rows["metric"] == "acc"), "value"] = right[lost & (rows["metric"] == "acc")].astype(
        float
    )
    spoiled.loc[lost & (rows["metric"] == "margin"), "value"] = g.normal(
        3, 1, int((lost & (rows["metric"] == "margin")).sum())
    )
    result = fit(spoiled, claims=("P5",), n_resamples=FEW)
    claim = result.headline()["P5"]
    flags = {(r["tier"], r["at_floor"]) for r in rows_of(result, "P5", "f00")[0].details["levels"]}
    assert flags == {(1, False), (2, False), (3, False), (4, True)}
    assert claim.verdict == "supported" == whole.verdict
    assert claim.estimate == pytest.approx(whole.estimate, abs=0.25)


def test_without_two_tiers_above_chance_after_training_nothing_is_judged() -> None:
    rows = tidy(world(0.5, chance=0.25), 0)
    lost = (rows["method"] == WAY) & (rows["metric"] == "acc")
    g = np.random.default_rng(0)
    rows.loc[lost, "value"] = (g.random(int(lost.sum())) < 0.25).astype(float)
    claim = fit(rows, claims=("P5",), n_resamples=FEW).headline()["P5"]
    assert (claim.verdict, claim.estimate) == ("inconclusive", None)
    assert "at no level are two tiers above chance after training" in claim.reason


def test_shares_of_the_data_are_corrected_together() -> None:
    result = judged(world(0.2, shares=("", "@0.25", "@0.5"), items=60), "P5")
    pooled = [c for c in rows_of(result, "P5") if c.scope.pooled]
    assert {c.method for c in pooled} == {WAY, f"{WAY}@0.25", f"{WAY}@0.5"}
    p = np.array([c.p for c in pooled], dtype=float)
    order = np.argsort(p)
    wanted = np.minimum(1, np.maximum.accumulate((3 - np.arange(3)) * p[order]))
    assert np.array([c.p_holm for c in pooled], dtype=float)[order] == pytest.approx(wanted)
    assert result.headline()["P5"].method == WAY
    # over families, a method by itself
    for claim in pooled:
        own = [c for c in rows_of(result, "P5") if c.method == claim.method and not c.scope.pooled]
        assert min(c.p_holm or 0 for c in own) == pytest.approx(min(1, 3 * min(c.p or 1 for c in own)))


def test_trainings_are_what_the_interval_is_over() -> None:
    one, three = headline(world(), "P5"), headline(world(replicates=3, sd=0.3), "P5")
    assert one.about == "families like these (3), for this training"
    assert three.about == "families like these (3)"
    assert three.over == ("items", "3 trainings", "3 families")


def test_arms_that_share_a_seed_are_resampled_together() -> None:
    """What a seed does to both arms is no difference between them."""
    rows = tidy(world(replicates=3, items=80), 0)
    shift = {0: -1.0, 1: 0.0, 2: 1.0}
    trained = rows["method"].str.contains("transfer") & (rows["metric"] == "margin")
    move = rows["replicate"].map(shift) * (rows["tier"] - 2.5) * trained
    other = {0: 1.0, 1: 0.0, 2: -1.0}
    against = rows["replicate"].map(other) * (rows["tier"] - 2.5) * trained
    control = rows["method"] == "dense+dense_transfer"

    def scale_t(change: pd.Series) -> dict[str, float]:
        found = fit(rows.assign(value=rows["value"] + change), claims=("P5",), n_resamples=FEW)
        these: dict[str, float] = found.headline()["P5"].details["scales"]["T"]["these"]
        return these

    together, apart = scale_t(move), scale_t(move.where(~control, against))
    plain = scale_t(0 * move)
    width = [w["ci_high"] - w["ci_low"] for w in (plain, together, apart)]
    assert width[1] == pytest.approx(width[0], rel=1e-6)
    assert width[2] > 3 * width[0]


def test_a_control_that_was_trained_once_is_said_beside_several_trainings() -> None:
    rows = tidy(world(replicates=3, items=80), 0)
    once = rows[~((rows["method"] == "dense+dense_transfer") & (rows["replicate"] > 0))]
    claim = fit(once, claims=("P5",), n_resamples=FEW).headline()["P5"]
    assert claim.over == ("items", "3 trainings", "3 families")
    assert "The dense model was trained once" in claim.reason
    both = fit(rows, claims=("P5",), n_resamples=FEW).headline()["P5"]
    assert "trained once" not in both.reason


def test_levels_with_unequal_numbers_of_trainings_are_named() -> None:
    rows = tidy(world(replicates=3, sd=0.3, items=80), 0)
    fewer = rows[~((rows["method"] == WAY) & (rows["level"] == 0.7) & (rows["replicate"] == 2))]
    result = fit(fewer, claims=("P5",), n_resamples=FEW)
    assert any(
        f"the levels of {WAY} have unequal numbers of replicates (0.5: 3, 0.7: 2)" in w
        for w in result.warnings
    )
    assert result.headline()["P5"].over == ("items", "2 trainings", "3 families")
