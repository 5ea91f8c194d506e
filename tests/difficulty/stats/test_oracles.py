"""Each statistic against R (oracle/stats.R, which prints the numbers below), SciPy, statsmodels or a closed form."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats
import statsmodels.api as sm
from statsmodels.stats.contingency_tables import mcnemar

from difficulty.stats import (
    above_chance,
    clustered_error,
    crossing,
    expanded_level,
    flips,
    holm,
    interaction,
    isotonic,
    jonckheere_terpstra,
    kendall_tau,
    option_kl,
    page,
    paired_interval,
    retention,
    shuffled_slope,
    wilson,
)

TIGHT = {"rel": 1e-6, "abs": 1e-9}


def lcg(n: int, seed: int) -> np.ndarray:
    """The generator of stats.R, so that both sides see the same data."""
    values = []
    for _ in range(n):
        seed = seed * 16807 % 2147483647
        values.append(seed / 2147483647)
    return np.array(values)


def test_mcnemar_equals_r_binom_test_and_statsmodels() -> None:
    before = np.array([1.0] * 14 + [0.0] * 5 + [1.0] * 30)
    after = np.array([0.0] * 14 + [1.0] * 5 + [1.0] * 30)
    found = flips(before, after)
    assert (found.lost, found.gained, found.rate) == (14, 5, 19 / 49)
    assert found.p == pytest.approx(0.0635681152344, **TIGHT)  # binom.test(14, 19, 0.5)
    assert found.p == pytest.approx(mcnemar([[30, 14], [5, 0]], exact=True).pvalue, **TIGHT)


def test_flips_of_equal_runs_have_p_one() -> None:
    assert flips(np.ones(5), np.ones(5)).p == 1.0


def test_isotonic_equals_r_isoreg_and_scipy() -> None:
    y = np.round(10 * lcg(12, 7)) + np.arange(12) / 2
    expected = [0, *[17 / 3] * 3, *[7.5] * 3, *[11.0] * 3, 11.75, 11.75]  # isoreg(y)$yf
    assert isotonic(y) == pytest.approx(expected, **TIGHT)
    g = np.random.default_rng(0)
    many = g.normal(size=(50, 9))
    for curve, fit in zip(many, isotonic(many), strict=True):
        assert fit == pytest.approx(scipy.optimize.isotonic_regression(curve).x, **TIGHT)
    for curve, fit in zip(many, isotonic(many, increasing=False), strict=True):
        assert fit == pytest.approx(scipy.optimize.isotonic_regression(curve, increasing=False).x, **TIGHT)


def test_wilson_equals_r_prop_test() -> None:
    low, high = wilson(np.array([37.0]), np.array([50.0]))
    assert (low[0], high[0]) == pytest.approx((0.604468427352, 0.841284725064), **TIGHT)


def test_clustered_error_equals_clubsandwich_cr1_and_statsmodels() -> None:
    d = lcg(40, 3) - 0.3 + np.repeat(lcg(8, 5), 5)
    clusters = np.repeat(np.arange(8), 5)
    assert d.mean() == pytest.approx(0.482410632077, **TIGHT)
    assert clustered_error(d, clusters)[0] == pytest.approx(0.111541678383, **TIGHT)  # vcovCR(type = "CR1")
    ols = sm.OLS(d, np.ones(40)).fit(
        cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": True, "df_correction": True}
    )
    assert clustered_error(d, clusters)[0] == pytest.approx(float(ols.bse[0]), **TIGHT)


def test_paired_interval_of_fewer_than_20_items_is_the_paired_t_test() -> None:
    g = np.random.default_rng(1)
    a, b = g.beta(4, 2, size=19), g.beta(3, 3, size=19)
    found, expected = paired_interval(a, b), scipy.stats.ttest_rel(a, b)
    assert found.p == pytest.approx(expected.pvalue, **TIGHT)
    assert (found.ci_low, found.ci_high) == pytest.approx(tuple(expected.confidence_interval()), **TIGHT)


def test_jonckheere_equals_r_kendall_with_ties() -> None:
    groups = np.repeat([1, 2, 3], [8, 10, 12])
    values = np.round(8 * lcg(30, 11)) + groups
    found = jonckheere_terpstra(values, groups)
    assert found.statistic == 211.5
    assert found.z == pytest.approx(2.4725782927594, **TIGHT)  # cor.test(method = "kendall", exact = FALSE)
    assert found.p == pytest.approx(0.0134142327478, **TIGHT)


def test_jonckheere_variance_is_that_of_all_permutations() -> None:
    values, groups = np.array([1.0, 2, 2, 3, 5, 5]), np.array([0, 0, 1, 1, 2, 2])
    every = [jonckheere_terpstra(values[list(o)], groups).statistic for o in itertools.permutations(range(6))]
    found = jonckheere_terpstra(values, groups)
    assert (found.mean, found.variance) == pytest.approx((np.mean(every), np.var(every)), **TIGHT)


def test_page_equals_r_coin_with_ties_and_scipy_without() -> None:
    rows = np.round(3 * lcg(60, 13)).reshape(5, 12).T + np.array([0, 0, 1, 1, 1])
    found = page(rows)
    assert found.z == pytest.approx(1.7473989645645, **TIGHT)  # friedman_test(y ~ ordered t | b)
    assert found.p == pytest.approx(0.0805681569723, **TIGHT)
    untied = np.random.default_rng(2).normal(size=(20, 6)) + np.arange(6) / 4
    expected = scipy.stats.page_trend_test(untied, method="asymptotic")
    assert page(untied).statistic == expected.statistic
    assert page(untied).p / 2 == pytest.approx(expected.pvalue, **TIGHT)  # SciPy's is one-sided


def test_kendall_equals_scipy() -> None:
    levels, scores = np.arange(8.0), np.array([0.9, 0.9, 0.8, 0.85, 0.5, 0.4, 0.4, 0.1])
    assert kendall_tau(levels, scores) == pytest.approx(
        scipy.stats.kendalltau(levels, scores).statistic, **TIGHT
    )
    assert kendall_tau(levels, np.ones(8)) == 0.0


def test_holm_equals_r_p_adjust() -> None:
    adjusted = holm(np.array([0.01, 0.04, 0.03, 0.005, np.nan, 0.5]))
    assert adjusted == pytest.approx([0.040, 0.090, 0.090, 0.025, np.nan, 0.500], nan_ok=True, **TIGHT)


def _answers() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    clusters = np.repeat(np.arange(60), 4)
    level = np.tile([0.0, 0.3, 0.5, 0.8], 60)
    tier = np.repeat(1 + np.arange(60) % 3, 4).astype(float)
    centred = tier - 2
    p = 1 / (1 + np.exp(-(1.5 - 2 * level - 0.5 * centred - level * centred)))
    return (lcg(240, 17) < p).astype(float), level, tier, clusters


def test_logistic_interaction_equals_geepack_and_statsmodels_gee() -> None:
    right, level, tier, clusters = _answers()
    found = interaction(right, level, tier, clusters)
    assert found is not None
    assert found.estimate == pytest.approx(-1.73442846326, **TIGHT)
    error = (found.ci_high - found.ci_low) / (2 * scipy.stats.norm.ppf(0.975))
    assert error == pytest.approx(0.508805191622 * np.sqrt(60 / 59), **TIGHT)  # geepack has no G / (G - 1)
    design = np.column_stack([np.ones(240), level, tier - 2, level * (tier - 2)])
    gee = sm.GEE(right, design, groups=clusters, family=sm.families.Binomial()).fit()
    assert found.estimate == pytest.approx(float(gee.params[3]), **TIGHT)
    assert error == pytest.approx(float(gee.bse[3]) * np.sqrt(60 / 59), **TIGHT)


def test_logistic_interaction_of_perfect_answers_is_none() -> None:
    _, level, tier, clusters = _answers()
    assert interaction(np.ones(240), level, tier, clusters) is None


def test_option_kl_equals_scipy_entropy() -> None:
    g = np.random.default_rng(3)
    p, q = g.dirichlet(np.ones(4), 6), g.dirichlet(np.ones(4), 6)
    found = option_kl(np.log(p) - 7.0, np.log(q) + 2.0)  # unnormalised log-likelihoods
    assert found == pytest.approx(scipy.stats.entropy(p, q, axis=1), **TIGHT)


def test_scores_above_chance_and_retention_in_closed_form() -> None:
    assert above_chance(np.array(0.25), np.array(0.25)) == 0
    assert above_chance(np.array(1.0), np.array(0.5)) == 1
    assert retention(np.array(0.6), np.array(0.85), np.array(0.25)) == pytest.approx(0.35 / 0.60, **TIGHT)
    assert np.isnan(retention(np.array(0.3), np.array(0.2), np.array(0.25)))


def test_expanded_percentile_in_closed_form() -> None:
    tail = scipy.stats.norm.cdf(np.sqrt(10 / 9) * scipy.stats.t.ppf(0.025, 9))
    assert expanded_level(0.95, 10) == pytest.approx(tail, **TIGHT)
    assert expanded_level(0.95, 10**7) == pytest.approx(0.025, rel=1e-4)


def test_crossing_interpolates_and_censors() -> None:
    levels = np.array([0.0, 0.2, 0.4])
    curves = np.array([[0.0, 0.0, 0.1], [0.0, 0.01, 0.02], [0.2, 0.3, 0.4]])
    assert crossing(levels, curves, 0.05) == pytest.approx([0.3, 0.4, 0.0])


def test_shuffled_slope_is_the_least_squares_slope_of_tier_means() -> None:
    g = np.random.default_rng(4)
    tiers = np.repeat([1, 2, 4], 20)
    values = g.normal(size=60) + 0.5 * tiers
    slope, p = shuffled_slope(values, np.ones(60), tiers, 500, g)
    means = [values[tiers == t].mean() for t in (1, 2, 4)]
    assert slope == pytest.approx(np.polyfit([1, 2, 4], means, 1)[0], **TIGHT)
    assert p <= 0.01


def test_shuffled_slope_rejects_a_true_null_as_often_as_it_says() -> None:
    tiers = np.repeat([1, 2, 3], 15)
    ps = []
    for seed in range(300):
        g = np.random.default_rng(seed)
        ps.append(shuffled_slope(g.exponential(size=45), np.ones(45), tiers, 99, g)[1])
    assert 0.02 <= np.mean(np.array(ps) <= 0.05) <= 0.09
