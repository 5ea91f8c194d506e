"""The interval behind the gate, against a likelihood maximised by scipy, exact enumeration, and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, stats

from difficulty.stats.paired_loss import paired_loss
from difficulty.stats.tango import binary_tail, score_statistic


def binary(n: int, lost: int, gained: int, right: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Values before and after, of n items of which `right` are right in both runs (the rest are wrong in both)."""
    right = n - lost - gained if right is None else right
    before = np.r_[np.ones(lost), np.zeros(gained), np.ones(right), np.zeros(n - lost - gained - right)]
    after = np.r_[np.zeros(lost), np.ones(gained), before[lost + gained :]]
    return before, after


@pytest.mark.parametrize(
    ("n", "b", "c", "limit"), [(100, 7, 3, 0.02), (250, 0, 4, 0.05), (61, 23, 25, -0.1), (80, 1, 0, 0.3)]
)
def test_the_score_statistic_is_that_of_the_likelihood_maximised_by_scipy(
    n: int, b: int, c: int, limit: float
) -> None:
    def minus_log_likelihood(p: float) -> float:
        cells = np.clip([p + limit, p, 1 - 2 * p - limit], 1e-300, 1)
        return -float(np.dot([b, c, n - b - c], np.log(cells)))

    low, high = max(0.0, -limit), (1 - limit) / 2
    best = optimize.minimize_scalar(
        minus_log_likelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-12}
    ).x
    z, p_gained = score_statistic(n, b, c, limit)
    assert float(p_gained) == pytest.approx(best, abs=1e-5)
    expected = (b - c - n * limit) / math.sqrt(n * (2 * best + limit - limit**2))
    assert float(z) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("n", [30, 149, 200, 250])
def test_equal_runs_have_the_bound_of_the_rule_of_three(n: int) -> None:
    low, high = paired_loss(*binary(n, 0, 0)).bounds(0.05)
    assert high == pytest.approx(1 - 0.05 ** (1 / n), abs=1e-6)
    assert low == pytest.approx(-high, abs=1e-6)


def test_at_a_limit_of_zero_and_no_gains_the_test_is_the_sign_test() -> None:
    # With c = 0 and limit 0 the constrained estimate is b / 2n for both, so compare with the exact sum by hand.
    n, b = 40, 6
    p = b / (2 * n)
    total = sum(
        float(stats.multinomial.pmf([i, j, n - i - j], n, [p, p, 1 - 2 * p]))
        for i in range(n + 1)
        for j in range(n + 1 - i)
        if i > j and (i - j) / math.sqrt(i + j) >= b / math.sqrt(b) - 1e-9
    )
    assert binary_tail(n, b, 0, 0.0, True) == pytest.approx(total, rel=1e-9)


@pytest.mark.parametrize("limit", [0.02, 0.05])
@pytest.mark.parametrize("p_gained", [0.0, 0.005, 0.05])
@pytest.mark.parametrize("alpha", [0.05, 0.002])
def test_neither_error_is_made_much_more_often_than_alpha(
    limit: float, p_gained: float, alpha: float
) -> None:
    n, most = 100, 40
    fails = passes = 0.0
    for b in range(most):
        for c in range(most):
            p = float(
                stats.multinomial.pmf(
                    [b, c, n - b - c], n, [p_gained + limit, p_gained, 1 - 2 * p_gained - limit]
                )
            )
            if p > 1e-7:
                fails += p * (binary_tail(n, b, c, limit, True) < alpha)
                passes += p * (binary_tail(n, b, c, limit, False) < alpha)
    # Estimated p-values may exceed alpha a little (0.0023 for 0.002 at worst here); the normal tail gives three times it.
    assert fails <= 1.2 * alpha
    assert passes <= 1.2 * alpha


def test_the_exact_tail_meets_the_normal_tail_where_one_takes_over() -> None:
    exact = binary_tail(6000, 190, 160, 0.0, True)
    assert exact == pytest.approx(float(stats.norm.sf(30 / math.sqrt(350))), rel=0.05)


def test_bounds_agree_with_the_p_values() -> None:
    loss = paired_loss(*binary(250, 14, 3))
    low, high = loss.bounds(0.05)
    assert low < loss.loss < high
    assert loss.p_exceeds(low) == pytest.approx(0.05, abs=2e-3)
    assert loss.p_below(high) == pytest.approx(0.05, abs=2e-3)


def test_other_metrics_of_fewer_than_20_items_use_the_t_interval_of_scipy() -> None:
    rng = np.random.default_rng(0)
    before, after = rng.gamma(2, 10, 19), rng.gamma(2, 11, 19)
    loss = paired_loss(before, after, lower_is_better=True)
    reference = stats.ttest_rel(after, before).confidence_interval(0.90)
    assert loss.bounds(0.05) == pytest.approx((reference.low, reference.high))
    assert loss.p_exceeds(0.5) == pytest.approx(
        stats.ttest_1samp(after - before, 0.5, alternative="greater").pvalue
    )
    assert loss.p_below(0.5) == pytest.approx(
        stats.ttest_1samp(after - before, 0.5, alternative="less").pvalue
    )


def test_the_clustered_error_is_that_of_statsmodels() -> None:
    sm = pytest.importorskip("statsmodels.api")
    rng = np.random.default_rng(1)
    clusters = np.repeat(np.arange(30), 5)
    difference = rng.normal(0, 1, 150) + rng.normal(0, 1, 30)[clusters]
    fit = sm.OLS(difference, np.ones(150)).fit(
        cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": False, "df_correction": False}
    )
    loss = paired_loss(difference, np.zeros(150), clusters)
    assert loss.standard_error == pytest.approx(fit.bse[0] * math.sqrt(30 / 29), rel=1e-9)
    assert loss.design_effect > 2


def test_equal_runs_in_clusters_count_clusters_and_not_items() -> None:
    before, after = binary(250, 0, 0)
    grouped = paired_loss(before, after, np.repeat(np.arange(50), 5))
    assert grouped.bounds(0.05)[1] == pytest.approx(1 - 0.05 ** (1 / 50), abs=1e-6)


def test_a_rare_loss_of_a_score_between_0_and_1_is_not_given_an_interval_without_width() -> None:
    before = np.full(40, 0.5)
    assert paired_loss(before, before).bounds(0.05)[1] == pytest.approx(1 - 0.05 ** (1 / 40), abs=1e-9)
    assert paired_loss(before, before).p_below(0.02) > 0.05


@pytest.mark.parametrize(("lost", "gained", "limit"), [(0, 0, 0.02), (4, 3, 0.02), (9, 0, 0.05)])
def test_the_sample_size_asked_for_decides(lost: int, gained: int, limit: float) -> None:
    loss = paired_loss(*binary(100, lost, gained))
    n = loss.items_to_decide(limit)
    assert n is not None
    scale = n / 100
    grown = paired_loss(*binary(n, round(lost * scale), round(gained * scale)))
    assert min(grown.p_below(limit), grown.p_exceeds(limit)) < 0.05


def test_a_loss_on_the_limit_has_no_sample_size() -> None:
    assert paired_loss(*binary(100, 2, 0)).items_to_decide(0.02) is None


@pytest.mark.parametrize("values", [([1.0], [1.0, 0.0]), ([], []), ([float("nan")], [1.0])])
def test_unpaired_or_missing_values_are_refused(values: tuple[list[float], list[float]]) -> None:
    with pytest.raises(ValueError, match="paired values"):
        paired_loss(*values)
