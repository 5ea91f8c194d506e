from __future__ import annotations

import numpy as np
import pytest

from difficulty.stats import (
    cluster_sums,
    clustered_error,
    interval,
    p_value,
    resample_counts,
    summarise,
    weighted_means,
)


def test_resample_counts_hold_the_sample_first_and_as_many_clusters_in_each() -> None:
    counts = resample_counts(7, 300, np.random.default_rng(0))
    assert (counts[0] == 1).all()
    assert (counts.sum(axis=1) == 7).all()
    assert counts[1:].mean(axis=0) == pytest.approx(np.ones(7), abs=0.25)


def test_weighted_means_equal_a_loop_over_items() -> None:
    g = np.random.default_rng(1)
    clusters = g.integers(0, 6, 40)
    values = g.normal(size=(40, 3))
    counts = resample_counts(6, 20, g)
    sizes = np.bincount(clusters, minlength=6).astype(float)
    found = weighted_means(counts, cluster_sums(values, clusters, 6), sizes)
    for b in range(21):
        rows = np.repeat(np.arange(40), counts[b, clusters].astype(int))
        assert found[b] == pytest.approx(values[rows].mean(axis=0))


def test_bootstrap_error_is_the_clustered_error() -> None:
    g = np.random.default_rng(2)
    clusters = np.repeat(np.arange(200), 4)
    values = g.normal(size=800) + np.repeat(g.normal(size=200), 4)
    sums = cluster_sums(values[:, None], clusters, 200)
    draws = weighted_means(resample_counts(200, 4000, g), sums, np.full(200, 4.0))[:, 0]
    error = clustered_error(values, clusters)[0] * np.sqrt(199 / 200)
    assert draws[1:].std() == pytest.approx(error, rel=0.05)


def test_p_is_below_alpha_exactly_where_the_interval_leaves_out_the_null() -> None:
    g = np.random.default_rng(3)
    for shift in np.linspace(-3, 3, 25):
        draws = np.concatenate([[shift], g.normal(shift, 1, 1999)])
        low, high = interval(draws, 12)
        outside = low > 0 or high < 0
        p = p_value(draws, 12)
        assert outside == (p < 0.05) or abs(p - 0.05) < 0.004


def test_few_clusters_get_wider_intervals() -> None:
    draws = np.random.default_rng(5).normal(size=2001)
    few, many = summarise(draws, 10, 5), summarise(draws, 10, 500)
    assert few.ci_high - few.ci_low > 1.3 * (many.ci_high - many.ci_low)
