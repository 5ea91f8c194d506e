"""How many resamples are drawn, and that memory goes by the largest family and not by the table."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from difficulty.judge import judgement
from difficulty.judge.claims.context import Setting
from difficulty.judge.draws import draw, draw_scores
from difficulty.judge.fit import fit
from difficulty.judge.judgement import judge_panel, resolving
from difficulty.judge.series import conditions
from difficulty.judge.verdicts import Rules
from difficulty.simulate.draw import simulate, tidy
from difficulty.simulate.world import Arm, World
from difficulty.stats.bootstrap import interval
from difficulty.stats.isotonic import isotonic
from tests.difficulty.judge.worlds import FEW, judged


def needed(families: int, alpha: float = 0.05) -> int:
    panel = simulate(World(families=families, items=3), 0)
    setting = Setting(panel, tuple(conditions(panel.runs, {})), Rules(alpha=alpha))
    return resolving(panel, setting, FEW)


def test_resamples_grow_with_the_number_of_families_over_alpha() -> None:
    assert needed(2) == FEW
    assert needed(100) >= 100 / 0.05
    assert needed(20, 0.01) >= 20 / 0.01


def test_resamples_do_not_grow_beyond_what_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judgement, "_MOST_NUMBERS", 4 * 4 * 2 * 700)
    assert needed(100) == 700
    monkeypatch.setattr(judgement, "_MOST_NUMBERS", 1)
    assert needed(100) == FEW


def peak(families: int) -> float:
    panel = simulate(
        World(
            (Arm(levels=tuple(np.linspace(0.05, 0.9, 30).round(3)), losses=(1.0,) * 30),),
            families=families,
            items=20,
        ),
        0,
    )
    tracemalloc.start()
    try:
        judge_panel(panel, Rules(), {}, ("P1", "P2", "P3"), FEW, 0)
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_ten_times_the_families_take_little_more_memory() -> None:
    one, ten = peak(2), peak(20)
    assert ten < 2 * one


def test_draws_without_replicates_are_not_copied_and_with_them_are_means() -> None:
    world = World(families=1, items=20)
    panel = simulate(world, 0)
    draws = next(draw(panel, conditions(panel.runs, {}), 50, np.random.default_rng(0)))
    scores = draw_scores(panel, conditions(panel.runs, {}), 50, np.random.default_rng(0))
    np.testing.assert_array_equal(draws.score, scores.score)
    assert draws.values["T"].shape == (1, 51, 4, 4)
    several = replace(world, arms=(Arm("random", replicates=3, replicate_sd=0.3),))
    panel = simulate(several, 0)
    found = conditions(panel.runs, {})
    draws = next(draw(panel, found, 50, np.random.default_rng(0)))
    assert draws.values["T"].shape == (4, 51, 4, 4)
    np.testing.assert_allclose(draws.values["T"][1:].mean(axis=0), draws.values["T"][0])
    # dense was not drawn: the same in all
    assert np.ptp(draws.values["T"][..., 0], axis=0).max() == 0


def test_runs_in_any_order_are_the_same_draws() -> None:
    """The conditions' order is not that of the panel's columns where bits and levels are mixed."""
    arms = (Arm("wanda", share=0.2), Arm("rtn", bits=(8.0, 6.0), losses=(0.3, 0.6)), Arm(share=0.3))
    rows = tidy(World(arms, families=2, items=30), 0)
    result = fit(rows, claims=("P1",), n_resamples=FEW)
    for (method, level, bits, family, tier), own in result.cells.groupby(
        ["method", "level", "bits", "family", "tier"], dropna=False
    ):
        at = (rows["method"] == method) & (rows["family"] == family) & (rows["tier"] == tier)
        at &= (rows["level"] == level) if level == level else (rows["bits"] == bits)
        value = rows.loc[at & (rows["metric"] == "acc"), "value"].mean()
        assert own["score"].item() == pytest.approx(value)


def test_the_table_of_cells_holds_what_the_items_say() -> None:
    rows = tidy(World(families=1, tiers=2, items=50), 0)
    cells = fit(rows, claims=("P2",), n_resamples=FEW).cells
    wide = rows.pivot_table(index=["tier", "item_id"], columns=["metric", "level"], values="value")
    for row in cells.itertuples():
        own = wide.loc[row.tier]
        dense, now = own["acc"][0.0], own["acc"][row.level]
        assert (row.lost, row.gained) == (
            ((dense == 1) & (now == 0)).sum(),
            ((dense == 0) & (now == 1)).sum(),
        )
        assert row.sd_ratio == pytest.approx(own["margin"][row.level].std() / own["margin"][0.0].std())
        assert row.margin_correlation == pytest.approx(own["margin"][row.level].corr(own["margin"][0.0]))
        assert row.loss_low <= row.loss <= row.loss_high
        assert row.score_low <= row.score <= row.score_high
    dense = cells[cells["method"] == "dense"]
    assert (dense["loss_low"] == 0).all() and (dense["loss_high"] == 0).all()


def test_a_cell_of_two_items_or_of_equal_margins_has_no_spread_to_compare() -> None:
    rows = tidy(World(families=1, tiers=2, items=2), 0)
    cells = fit(rows, claims=("P1",), n_resamples=FEW).cells
    assert cells["sd_ratio"].isna().all() and cells["margin_correlation"].isna().all()
    rows = tidy(World(families=1, tiers=2, items=30), 0)
    flat = (rows["metric"] == "margin") & (rows["level"] == 0.5)
    cells = fit(rows.assign(value=rows["value"].mask(flat, 0.1)), claims=("P1",), n_resamples=FEW).cells
    unknown = cells["level"] == 0.5
    assert cells.loc[unknown, "sd_ratio"].isna().all() and cells.loc[~unknown, "sd_ratio"].notna().all()


def test_an_interval_is_that_of_numpy_s_quantiles() -> None:
    g = np.random.default_rng(0)
    draws = g.normal(size=(402, 3, 5))
    draws[7, 1, 1] = np.nan
    low, high = interval(draws, 10**9)
    wanted = np.quantile(draws[1:], [0.025, 0.975], axis=0)
    np.testing.assert_allclose([low, high], wanted, atol=1e-6)
    assert np.isnan(low[1, 1]) and not np.isnan(low[0, 0])


def test_unknown_curves_do_not_spoil_the_fits_of_others() -> None:
    curves = np.random.default_rng(0).normal(size=(200, 40))
    spoiled = curves.copy()
    spoiled[3, 5] = np.nan
    fits = isotonic(spoiled)
    assert np.isnan(fits[3]).all()
    np.testing.assert_allclose(np.delete(fits, 3, 0), np.delete(isotonic(curves), 3, 0), atol=1e-11)


def test_the_numbers_drawn_are_in_the_settings() -> None:
    result = judged(World(families=2, items=20), "P2")
    assert (result.settings.n_resamples, result.settings.n_drawn) == (FEW, FEW)
