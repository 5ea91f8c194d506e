"""Simulated worlds are what they say they are, and the readers read them as they were drawn."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from difficulty.errors import UsageError
from difficulty.judge.panel import Panel, build_panel
from difficulty.judge.series import conditions
from difficulty.runs.table import validate
from difficulty.simulate.draw import family_slopes, replicate_slopes, simulate, tidy
from difficulty.simulate.world import LOGISTIC, Arm, Cut, World

SMALL = World(families=2, items=30)
LARGE = World(families=2, items=20_000)
RICH = World(
    arms=(
        Arm(),
        Arm("random", replicates=3, replicate_sd=0.2),
        Arm("rtn", bits=(8, 4, 3), losses=(0.1, 0.4, 1.0)),
        Arm("dense+dense_transfer", (0.0,), (-0.3,), replicates=2),
        Arm("magnitude+sparse_transfer", (0.6,), (0.7,), replicates=2),
    ),
    families=4,
    items=25,
    shared=2,
    per_cluster=4,
    cluster_sd=0.5,
    symbols=(1, 2, 3, 4),
    chance=0.25,
    cut=Cut(2, 0.5),
)


def by_tier(panel: Panel, values: np.ndarray) -> np.ndarray:
    """Means by tier, shape (n_tiers, ...)."""
    tier = panel.items["tier"].to_numpy()
    return np.stack([values[tier == t].mean(axis=0) for t in np.unique(tier)])


@pytest.mark.parametrize(
    "world", [SMALL, RICH, RICH.accuracies_only(), replace(RICH, guessing=(4,), cut=None)]
)
def test_the_table_is_read_as_the_panel_that_was_drawn(world: World) -> None:
    drawn, read = simulate(world, 3), build_panel(validate(tidy(world, 3)))
    pd.testing.assert_frame_equal(drawn.items, read.items, check_dtype=False)
    pd.testing.assert_frame_equal(drawn.runs, read.runs, check_dtype=False)
    np.testing.assert_array_equal(drawn.score, read.score)
    np.testing.assert_array_equal(drawn.margin, read.margin)
    assert (drawn.model, drawn.metrics, drawn.n_rows) == (read.model, read.metrics, read.n_rows)
    assert np.isnan(drawn.margin).all() != world.margins


def test_a_draw_depends_on_its_seed_alone() -> None:
    np.random.seed(1)
    first = simulate(RICH, 5)
    np.random.seed(2)
    again, other = simulate(RICH, 5), simulate(RICH, 6)
    np.testing.assert_array_equal(first.margin, again.margin)
    np.testing.assert_array_equal(first.score, again.score)
    assert not np.array_equal(first.score, other.score)


def test_every_kind_of_run_is_known_for_what_it_is() -> None:
    panel = simulate(RICH, 0)
    kinds = [(c.kind, c.method, len(c.columns)) for c in conditions(panel.runs, {})]
    assert kinds[0] == ("dense", "dense", 1)
    assert ("pruned", "random", 3) in kinds and ("quantized", "rtn", 1) in kinds
    assert ("recovered", "dense+dense_transfer", 2) in kinds
    assert ("recovered", "magnitude+sparse_transfer", 2) in kinds


def test_losses_and_spread_are_those_of_the_law() -> None:
    arm = Arm(share=0.3)
    panel = simulate(replace(LARGE, arms=(arm,)), 0)
    lost = by_tier(panel, panel.margin[:, :1] - panel.margin[:, 1:])
    # each mean is of 40,000 items with an SD of 0.85: three standard errors are 0.013
    np.testing.assert_allclose(lost.T, arm.tier_losses(4), atol=0.013)
    slopes = np.polyfit(np.arange(4), lost, 1)[0]
    assert abs(slopes.mean() - arm.true_slope) < 0.01
    tier = panel.items["tier"].to_numpy()
    spreads = np.array([panel.margin[tier == t].std(axis=0) for t in range(1, 5)])
    np.testing.assert_allclose(spreads, LOGISTIC, rtol=0.02)


def test_the_mean_accuracy_is_that_of_the_draws() -> None:
    world = replace(LARGE, chance=0.25)
    panel = simulate(world, 1)
    expected = [world.accuracy(loss) for loss in (0.0, 0.5, 1.0, 1.5)]
    # 160,000 items: a standard error of 0.001
    np.testing.assert_allclose(panel.score.mean(axis=0), expected, atol=0.004)


def test_a_tier_loses_half_a_log_odd_at_its_critical_level() -> None:
    for power in (1.0, 6.0):
        arm = Arm(levels=(0.1, 0.2), critical=(0.2, 0.1), power=power)
        losses = arm.tier_losses(2)
        assert losses[1, 0] == pytest.approx(0.5) and losses[0, 1] == pytest.approx(0.5)
        assert losses[0, 0] < 0.5 < losses[1, 1] < arm.top


@pytest.mark.parametrize("shape", ["normal", "logistic", "t3", "cloglog", "loglog"])
def test_shapes_have_the_spread_that_was_asked_for(shape: str) -> None:
    world = replace(LARGE, shape=shape, noise=0.0, arms=(Arm(losses=(0, 0, 0)),))
    z = (
        simulate(world, 2).margin[:, 0].reshape(2, 4, -1) - (2.4 - 0.6 * np.arange(4))[:, None]
    ) / world.spread
    z = z.ravel()
    law = {
        "normal": stats.norm(),
        "logistic": stats.logistic(scale=math.sqrt(3) / math.pi),
        "t3": stats.t(3, scale=1 / math.sqrt(3)),
        "cloglog": stats.gumbel_l(loc=np.euler_gamma * math.sqrt(6) / math.pi, scale=math.sqrt(6) / math.pi),
        "loglog": stats.gumbel_r(loc=-np.euler_gamma * math.sqrt(6) / math.pi, scale=math.sqrt(6) / math.pi),
    }[shape]
    assert law.mean() == pytest.approx(0, abs=1e-12) and law.std() == pytest.approx(1)
    assert stats.kstest(z, law.cdf).pvalue > 0.001


def test_what_is_done_to_logits_changes_no_answer() -> None:
    plain = simulate(SMALL, 4)
    for world in (
        replace(SMALL, sharpen=1.3),
        replace(SMALL, discriminations=(0.7, 0.9, 1.1, 1.3)),
        replace(SMALL, clip=2.0),
    ):
        panel = simulate(world, 4)
        np.testing.assert_array_equal(panel.score, plain.score)
        assert not np.allclose(panel.margin, plain.margin)
        assert world.accuracies_only() == SMALL.accuracies_only()
    sharp = simulate(replace(SMALL, sharpen=1.3), 4)
    np.testing.assert_allclose(
        sharp.margin / plain.margin, np.broadcast_to([1, 1 + 0.9 / 7, 1 + 1.5 / 7, 1.3], plain.margin.shape)
    )


def test_slopes_of_families_and_replicates_are_in_the_draws() -> None:
    arm = Arm(replicates=2, replicate_sd=0.3, share=0.1)
    world = replace(LARGE, arms=(arm,), family_sd=0.3)
    panel = simulate(world, 9)
    lost = panel.margin[:, :1] - panel.margin[:, 1:]
    family, tier = panel.items["family"].to_numpy(), panel.items["tier"].to_numpy()
    for f, own in zip(("f00", "f01"), family_slopes(world, 9), strict=True):
        means = np.stack([lost[(family == f) & (tier == t)].mean(axis=0) for t in range(1, 5)])
        slopes = np.polyfit(np.arange(4), means, 1)[0].reshape(3, 2).mean(axis=0)
        np.testing.assert_allclose(slopes, 0.1 + own + replicate_slopes(world, 9), atol=0.015)
    many = np.array([family_slopes(world, seed) for seed in range(300)])
    assert many.std() == pytest.approx(0.3, rel=0.15) and abs(many.mean()) < 0.05


def test_families_that_share_questions_share_clusters_and_easiness() -> None:
    panel = simulate(World(families=4, items=10, shared=2, per_cluster=4, noise=0.0), 0)
    items = panel.items
    assert (
        items["cluster_id"].nunique() == 2 * 4 * 3
    )  # two sets of questions, four tiers, ten items in threes of up to four
    assert (items.groupby("cluster_id")["tier"].nunique() == 1).all()
    assert (items.groupby("cluster_id")["family"].nunique() == 2).all()
    margins = [panel.margin[items["family"] == f"f{k:02d}", 0] for k in range(4)]
    np.testing.assert_array_equal(margins[0], margins[1])
    assert not np.allclose(margins[1], margins[2])


def test_items_of_a_cluster_share_a_part_of_the_noise() -> None:
    world = World(families=1, items=10_000, per_cluster=2, cluster_sd=0.5, step=0.0)
    panel = simulate(world, 0)
    change = panel.margin[:, 1:] - panel.margin[:, :1]
    first, second = change[0::2], change[1::2]
    assert (panel.items["cluster_id"][0::2].to_numpy() == panel.items["cluster_id"][1::2].to_numpy()).all()
    # cov 0.25, of a variance of 2 x 0.36
    assert np.corrcoef(first[:, 0], second[:, 0])[0, 1] == pytest.approx(0.25 / 0.72, abs=0.03)
    assert change.std(axis=0) == pytest.approx(np.sqrt(0.72), rel=0.02)


def test_tiers_cut_from_a_run_part_its_margins() -> None:
    for cut, column in ((Cut(), 0), (Cut(2), 2)):
        panel = simulate(replace(SMALL, cut=cut, step=0.0), 1)
        one = panel.items["family"].to_numpy() == "f00"
        tier, margin = panel.items["tier"].to_numpy()[one], panel.margin[one, column]
        assert all(margin[tier == t].min() > margin[tier == t + 1].max() for t in (1, 2, 3))
        assert np.bincount(tier).tolist() == [0, 30, 30, 30, 30]
        others = [k for k in range(4) if k != column]
        assert all(margin_of_others_overlap(panel.margin[one, k], tier) for k in others)


def margin_of_others_overlap(margin: np.ndarray, tier: np.ndarray) -> bool:
    return bool(margin[tier == 1].min() < margin[tier == 2].max())


def test_outliers_lie_in_the_hardest_tier_of_the_compressed_runs() -> None:
    plain, spoiled = (
        simulate(replace(SMALL, items=250), 2),
        simulate(replace(SMALL, items=250, outliers=0.005), 2),
    )
    moved = spoiled.margin != plain.margin
    assert moved[:, 0].sum() == 0 and moved.sum(axis=0).tolist() == [0, 10, 10, 10]
    assert set(spoiled.items["tier"][moved.any(axis=1)]) == {4}
    np.testing.assert_allclose(plain.margin[moved] - spoiled.margin[moved], 200)


def test_an_answer_of_several_symbols_is_right_where_all_are() -> None:
    world = replace(LARGE, items=2000, symbols=(1, 2, 4, 8), step=0.0)
    panel = simulate(world, 0)
    score, margin = by_tier(panel, panel.score)[:, 0], by_tier(panel, panel.margin)[:, 0]
    assert (np.diff(score) < -0.03).all()  # more symbols, more of them wrong
    np.testing.assert_allclose(margin, 2.4, atol=0.1)  # by the symbol, nothing is harder
    table = tidy(world, 0)
    assert dict(table[["tier", "n_symbols"]].drop_duplicates().to_numpy().tolist()) == {
        1: 1,
        2: 2,
        3: 4,
        4: 8,
    }


def test_guessing_tiers_are_right_by_chance() -> None:
    panel = simulate(replace(LARGE, items=5000, guessing=(3,), chance=0.25), 0)
    score = by_tier(panel, panel.score)
    np.testing.assert_allclose(score[2], 0.25, atol=0.015)
    assert (score[[0, 1, 3], 0] > 0.6).all()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: World(families=0), "families=0"),
        (lambda: World(spreads=(1.0,)), "1 values for 4 tiers"),
        (lambda: World(noise=-1.0), "cannot be below 0"),
        (lambda: World(cluster_sd=0.7), "part of the noise"),
        (lambda: World(arms=()), "needs an arm"),
        (lambda: World(chance=1.0), "chance level"),
        (lambda: World(cut=Cut(9)), "run 9"),
        (lambda: Arm(losses=(1.0,)), "3 levels and 1 losses"),
        (lambda: Arm(replicates=0), "0 replicates"),
        (lambda: Arm(critical=(0.2, 0.0)), "above 0"),
        (lambda: World(arms=(Arm(critical=(0.2, 0.1)),)), "2 critical levels for 4 tiers"),
    ],
)  # fmt: skip
def test_what_makes_no_world_is_refused_in_a_sentence(make: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make()  # type: ignore[operator]
