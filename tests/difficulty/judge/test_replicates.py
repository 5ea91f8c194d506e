"""What was drawn by lot, once or several times."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from difficulty.judge.drawn import drawn_by_lot
from difficulty.judge.fit import fit
from difficulty.judge.series import Condition
from difficulty.runs.identity import Method
from difficulty.simulate.draw import tidy
from difficulty.simulate.world import Arm, World
from tests.difficulty.judge.simulated import recovered, table
from tests.difficulty.judge.worlds import FEW, headline, judged, rows_of

SMALL = World(families=2, items=80)


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("magnitude", ""),
        ("largest", ""),
        ("random", ", for this mask"),
        ("wanda", ", for this calibration"),
        ("sparsegpt", ", for this calibration"),
    ],
)
@pytest.mark.parametrize("claim", ["P1", "P2", "P3"])
def test_one_draw_of_something_drawn_by_lot_is_said_to_be_one(claim: str, method: str, words: str) -> None:
    found = judged(replace(SMALL, arms=(Arm(method, share=0.3),)), claim)
    assert found.headline()[claim].about == f"these 2 families{words}"
    assert {c.about for c in rows_of(found, claim) if not c.scope.pooled} == {f"this family{words}"}


def test_one_training_is_said_to_be_one() -> None:
    result = fit(recovered(table(0.4, items=60), (0.2, 0.6, 1.2)), claims=("P5",), n_resamples=FEW)
    assert result.headline()["P5"].about == "these 2 families, for this training"


def test_a_comparison_says_what_was_drawn_for_either_side() -> None:
    arms = (Arm(share=0.3), Arm("random"), Arm("largest"))
    result = judged(replace(SMALL, arms=arms), "P6")
    about = {c.method: c.about for c in rows_of(result, "P6") if c.scope.pooled}
    assert about["magnitude vs random"] == "these 2 families, for this mask"
    assert about["magnitude vs largest"] == "these 2 families"


@pytest.mark.parametrize("claim", ["P1", "P2", "P3"])
def test_three_masks_are_what_the_interval_is_over(claim: str) -> None:
    world = replace(SMALL, arms=(Arm("random", share=0.3, replicates=3, replicate_sd=0.3),))
    several, none = headline(world, claim), headline(world.with_arm(replicate_sd=0.0), claim)
    assert several.over == ("items", "3 masks")
    assert several.about == "these 2 families"
    if claim == "P2":
        assert several.ci_high - several.ci_low > 2 * (none.ci_high - none.ci_low)
        shares = several.details["scales"]["T"]["variance"]
        assert shares["masks"] > 0.5
        assert sum(shares.values()) == pytest.approx(1)


def test_over_three_families_masks_count_beside_families() -> None:
    world = World((Arm("random", share=0.3, replicates=3, replicate_sd=0.3),), families=4, items=80)
    claim = headline(world, "P2")
    assert claim.over == ("items", "3 masks", "4 families")
    fixed = claim.details["scales"]["T"]["these"]
    assert claim.ci_high - claim.ci_low > 0.99 * (fixed["ci_high"] - fixed["ci_low"])


def test_magnitude_beside_three_masks_keeps_its_own_interval() -> None:
    arms = (Arm(share=0.3), Arm("random", share=0.3, replicates=3, replicate_sd=0.3))
    both, alone = judged(replace(SMALL, arms=arms), "P2"), judged(replace(SMALL, arms=arms[:1]), "P2")
    mine, same = both.headline()["P2"], alone.headline()["P2"]
    assert mine.over == ("items",)
    assert (mine.estimate, mine.ci_low, mine.ci_high) == pytest.approx(
        (same.estimate, same.ci_low, same.ci_high)
    )


def unequal(kept: dict[float, tuple[int, ...]]) -> pd.DataFrame:
    """A table of three masks of which some levels have fewer."""
    rows = tidy(replace(SMALL, arms=(Arm("random", share=0.3, replicates=3, replicate_sd=0.3),)), 0)
    gone = pd.Series(False, index=rows.index)
    for level, replicates in kept.items():
        gone |= (rows["level"] == level) & ~rows["replicate"].isin(replicates)
    return rows[~gone]


def test_unequal_numbers_of_masks_are_named_and_the_common_ones_give_the_spread() -> None:
    result = fit(unequal({0.5: (0, 1)}), claims=("P2",), n_resamples=FEW)
    sentence = next(w for w in result.warnings if "unequal numbers" in w)
    assert "the levels of random have unequal numbers of replicates (0.3: 3, 0.5: 2, 0.7: 3)" in sentence
    assert "that of the 2 which all levels have" in sentence
    assert result.headline()["P2"].over == ("items", "2 masks")
    assert result.cells.groupby("level")["n_replicates"].first().to_dict() == {0: 1, 0.3: 3, 0.5: 2, 0.7: 3}


@pytest.mark.parametrize("kept", [{0.5: (0,)}, {0.3: (0, 1), 0.5: (2,)}])
def test_without_two_common_masks_the_spread_is_unknown_and_it_is_said(
    kept: dict[float, tuple[int, ...]],
) -> None:
    result = fit(unequal(kept), claims=("P2",), n_resamples=FEW)
    assert any("spread between replicates is unknown" in w for w in result.warnings)
    claim = result.headline()["P2"]
    assert claim.over == ("items",)
    assert claim.about.endswith("for this mask")


def test_masks_that_are_all_equal_are_one_and_change_nothing() -> None:
    one = tidy(replace(SMALL, arms=(Arm("random", share=0.3),)), 0)
    again = [
        one[one["method"] == "random"].assign(replicate=r, run=lambda f, r=r: f["run"] + f" #{r}")
        for r in (1, 2)
    ]
    single, copied = (
        fit(rows, claims=("P2",), n_resamples=FEW).headline()["P2"]
        for rows in (one, pd.concat([one, *again]))
    )
    assert (copied.estimate, copied.ci_low, copied.ci_high) == pytest.approx(
        (single.estimate, single.ci_low, single.ci_high)
    )
    assert copied.over == ("items",)
    assert np.isfinite(copied.p or np.nan)


def test_the_order_of_replicates_does_not_matter() -> None:
    rows = unequal({})
    swapped = rows.assign(replicate=rows["replicate"].map({0: 2, 1: 0, 2: 1}))
    swapped = swapped.assign(replicate=swapped["replicate"].where(rows["method"] != "dense", 0))
    a, b = (fit(r, claims=("P2",), n_resamples=FEW).headline()["P2"] for r in (rows, swapped))
    assert (a.estimate, a.ci_low, a.p) == pytest.approx((b.estimate, b.ci_low, b.p))


def test_a_mask_that_a_level_lacks_is_not_counted_in_the_critical_levels() -> None:
    result = fit(unequal({0.5: (0, 1)}), claims=("P3",), n_resamples=FEW)
    assert result.headline()["P3"].over == ("items", "2 masks")


@pytest.mark.parametrize("claim", ["P4", "P4 memory"])
def test_a_mask_that_a_level_lacks_is_not_counted_against_quantization(claim: str) -> None:
    arms = (
        Arm("random", share=0.3, replicates=3, replicate_sd=0.3),
        Arm("rtn", bits=(8.0, 6.0), losses=(0.7, 1.2)),
    )
    rows = tidy(replace(SMALL, arms=arms), 0)
    rows = rows[~((rows["level"] == 0.5) & (rows["replicate"] == 2))]
    found = fit(rows, claims=(claim,), n_resamples=FEW).headline()[claim]
    assert found.over == ("items", "2 masks")


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("nvfp4", ()), ("nf4-kv4", ()), ("kv", ()), ("aint8-kv", ()), ("aint8static", ("calibration",)), ("gguf-q4_k_m", ()),
        ("rtn-aint8static-kv4", ("calibration",)), ("awq", ("calibration",)), ("magnitude-owl", ("calibration",)), ("magnitude-alphapruning", ()),
        ("random-owl", ("mask", "calibration")), ("experts-random", ("mask",)), ("experts", ("calibration",)), ("rtn+random", ("mask",)), ("magnitude_2:4+rtn", ()), ("wanda_2:4+magnitude", ("calibration",)),
        ("somebodys-own", ("calibration",)), ("magnitude+sparse_transfer", ("training",)),
    ],
)  # fmt: skip
def test_what_was_drawn_is_read_from_the_whole_name(method: str, words: tuple[str, ...]) -> None:
    assert (
        drawn_by_lot(Condition(method, "pruned", Method.parse(method), 0.5, np.nan, 9.0, (0,), (0,))) == words
    )
