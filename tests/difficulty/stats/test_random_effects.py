"""Random effects against figures that R's metafor printed (oracle/random_effects.R), SciPy, closed forms and simulation."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import scipy.stats

from difficulty.stats import RandomEffects, random_effects

TIGHT = {"rel": 1e-6, "abs": 1e-9}
# Nine laboratories, Kacker 2004, Metrologia 41:132.
KACKER = np.array([61.0, 61.4, 62.21, 62.3, 62.34, 62.6, 62.7, 62.84, 65.9])
KACKER_V = np.array([0.2025, 1.21, 0.09, 0.2025, 0.3844, 0.5625, 0.0676, 0.0225, 1.8225])


def excess(effects: np.ndarray, variances: np.ndarray, tau2: float) -> float:
    """sum w (y - mean)^2 - (K - 1) at a tau^2."""
    w = 1 / (variances + tau2)
    return float((w * (effects - np.average(effects, weights=w)) ** 2).sum() - (len(effects) - 1))


def test_it_equals_metafor_with_paule_and_mandel() -> None:
    """`rma(y, v, method="PM", control=list(tol=1e-9))`, as printed in statsmodels/stats/tests/results/results_meta.py."""
    found = random_effects(KACKER, KACKER_V)
    assert found.estimate == pytest.approx(62.4076199113286, rel=1e-10)
    assert found.standard_error == pytest.approx(0.338030602684471, **TIGHT)
    assert found.tau2 == pytest.approx(0.705395309224248, **TIGHT)
    assert found.i2 == pytest.approx(0.837218626490482, **TIGHT)
    assert (found.q, found.q_p) == pytest.approx((24.801897741835, 0.00167935146372742), **TIGHT)
    t = scipy.stats.t(8).ppf(
        0.975
    )  # with the factor of 1, knha's interval is that of the same error with t on K - 1
    half = t * 0.338030602684471
    assert (found.ci_low, found.ci_high) == pytest.approx(
        (found.estimate - half, found.estimate + half), **TIGHT
    )
    further = t * np.sqrt(0.338030602684471**2 + 0.705395309224248)
    assert found.prediction_high - found.estimate == pytest.approx(further, **TIGHT)
    assert found.estimate - found.prediction_low == pytest.approx(further, **TIGHT)
    assert (found.df, found.n) == (8, 9)


def test_it_equals_the_published_figures_of_clasp() -> None:
    """DerSimonian & Kacker 2007, tables 3 and 4; also metafor, tests/testthat/test_analysis_example_dersimonian2007.r."""
    n1, a = np.array([156, 303, 565, 1570, 103, 4659.0]), np.array([5, 5, 12, 69, 9, 313.0])
    n2, c = np.array([74, 303, 477, 1565, 105, 4650.0]), np.array([8, 17, 9, 94, 11, 352.0])
    log_odds = np.log(a * (n2 - c) / (c * (n1 - a)))
    found = random_effects(log_odds, 1 / a + 1 / (n1 - a) + 1 / c + 1 / (n2 - c))
    assert np.sqrt(found.tau2) == pytest.approx(0.3681, abs=5e-5)
    assert (found.estimate, found.standard_error) == pytest.approx((-0.3811, 0.2060), abs=5e-5)


def test_at_equal_variances_it_is_the_one_sample_t_test() -> None:
    effects = np.array([0.3, -0.4, 1.2, 0.8, 0.1])
    found, expected = random_effects(effects, np.full(5, 0.02)), scipy.stats.ttest_1samp(effects, 0)
    assert found.q > 4
    assert found.p == pytest.approx(expected.pvalue, **TIGHT)
    assert (found.ci_low, found.ci_high) == pytest.approx(tuple(expected.confidence_interval()), **TIGHT)
    assert found.tau2 == pytest.approx(effects.var(ddof=1) - 0.02, **TIGHT)
    wide = random_effects(effects, np.full(5, 0.02), confidence=0.99)
    assert (wide.ci_low, wide.ci_high) == pytest.approx(tuple(expected.confidence_interval(0.99)), **TIGHT)


def test_two_effects_have_a_closed_form() -> None:
    """tau^2 = ((y1 - y2)^2 - v1 - v2) / 2. At these, statsmodels' iteration ends at 0 for a tight tolerance."""
    found = random_effects(np.array([-0.42, 0.61]), np.array([0.15, 0.002]))
    assert found.tau2 == pytest.approx((1.03**2 - 0.152) / 2, **TIGHT)
    w1, w2 = 1 / (found.tau2 + 0.15), 1 / (found.tau2 + 0.002)
    assert found.estimate == pytest.approx((-0.42 * w1 + 0.61 * w2) / (w1 + w2), **TIGHT)
    assert found.p == pytest.approx(2 * scipy.stats.t(1).sf(abs(found.estimate) * np.sqrt(w1 + w2)), **TIGHT)


def test_tau2_solves_its_equation_whatever_the_weights() -> None:
    g = np.random.default_rng(0)
    solved = 0
    for _ in range(1000):
        k = g.integers(2, 10)
        v = g.choice([1.0, 0.1, 1e-3, 1e-5], k) * g.uniform(0.2, 2, k)
        y = g.normal(0, np.sqrt(v + g.choice([0, 0.01, 0.3, 5.0])))
        tau2 = random_effects(y, v).tau2
        assert excess(y, v, tau2) == pytest.approx(0, abs=1e-5) if tau2 else excess(y, v, 0) <= 0
        solved += tau2 > 0
    assert 600 < solved < 1000  # both branches were seen


def test_where_families_do_not_differ_the_interval_is_never_narrower_than_the_common_effects() -> None:
    y, v = np.array([0.10, 0.12, 0.15, 0.11]), np.array([0.01, 0.02, 0.03, 0.04])
    found, common = random_effects(y, v), np.sqrt(1 / (1 / v).sum())
    assert (found.tau2, found.i2) == (0, 0)
    assert found.standard_error == pytest.approx(common, **TIGHT)
    assert (found.prediction_low, found.prediction_high) == (found.ci_low, found.ci_high)
    equal = random_effects(np.full(4, 0.2), np.full(4, 0.04))
    assert (equal.q, equal.q_p, equal.tau2) == (0, 1, 0)
    assert equal.ci_high - 0.2 == pytest.approx(scipy.stats.t(3).ppf(0.975) * 0.1, **TIGHT)


def test_a_family_without_a_seen_error_counts_as_much_as_the_surest_of_the_others() -> None:
    y, v = np.array([0.3, 0.5, 0.1]), np.array([0.04, 0.0, 0.09])
    assert random_effects(y, v) == random_effects(y, np.array([0.04, 0.04, 0.09]))
    assert random_effects(y, np.array([0.04, 1e-12, 0.09])) == random_effects(y, v)
    assert random_effects(y, v).standard_error > 0.1  # at a variance of 1e-6 it would be .001


def test_where_no_error_was_seen_it_is_the_one_sample_t_test() -> None:
    y = np.array([0.3, 0.5, 0.1, 0.8])
    found, expected = random_effects(y, np.zeros(4)), scipy.stats.ttest_1samp(y, 0)
    assert found.p == pytest.approx(expected.pvalue, **TIGHT)
    assert (found.ci_low, found.ci_high) == pytest.approx(tuple(expected.confidence_interval()), **TIGHT)
    assert found.i2 == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_the_unit_of_the_effects_does_not_matter(unit: float) -> None:
    one, other = (
        random_effects(KACKER - 62, KACKER_V),
        random_effects((KACKER - 62) * unit, KACKER_V * unit**2),
    )
    assert other.p == pytest.approx(one.p, **TIGHT)
    assert other.tau2 / unit**2 == pytest.approx(one.tau2, **TIGHT)


@pytest.mark.parametrize(
    ("effects", "variances", "said"),
    [
        ([0.1], [0.1], "2 or more effects; got 1"),
        ([], [], "2 or more effects; got 0"),
        ([0.1, 0.2], [0.1], "one variance per effect"),
        ([0.1, np.nan], [0.1, 0.1], "finite"),
        ([0.1, 0.2], [0.1, np.inf], "finite"),
        ([0.1, 0.2], [0.1, -0.1], "negative; got -0.1"),
        ([0.2, 0.2], [0.0, 0.0], "all equal, none with an error"),
    ],
)
def test_bad_input_is_said(effects: list[float], variances: list[float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        random_effects(np.array(effects), np.array(variances))


@pytest.mark.parametrize("confidence", [0, 1, 95])
def test_a_confidence_is_a_share(confidence: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        random_effects(np.array([0.1, 0.3]), np.array([0.1, 0.1]), confidence)


@pytest.mark.parametrize(("k", "low", "high"), [(3, 0.93, 0.99), (5, 0.93, 0.97), (9, 0.93, 0.97)])
def test_the_interval_covers_the_mean_of_families_that_differ(k: int, low: float, high: float) -> None:
    """tau .25, standard errors .05 to .15. With 3 families the factor of at least 1 makes it wide: tau^2 is 0 in one of 8."""
    g = np.random.default_rng(1)
    found: list[RandomEffects] = []
    for _ in range(2000):
        v = g.uniform(0.05, 0.15, k) ** 2
        found.append(random_effects(g.normal(0.3, np.sqrt(v + 0.25**2)), v))
    assert low <= np.mean([r.ci_low <= 0.3 <= r.ci_high for r in found]) <= high
    further = g.normal(0.3, 0.25, 2000)
    within = [r.prediction_low <= y <= r.prediction_high for r, y in zip(found, further, strict=True)]
    assert np.mean(within) >= 0.90  # measured: .92 to .94; tau^2 is uncertain, which no t allows for


def test_judging_loads_none_of_the_large_parts_of_scipy() -> None:
    """scipy.stats alone takes half a second, a third of a small `junkdna fit`."""
    code = "import sys, difficulty.judge.fit, difficulty.runs.read; "
    code += "sys.exit(len({'statsmodels', 'scipy.stats', 'scipy.optimize'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
