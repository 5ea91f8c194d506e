"""Trimmed means and medians of resamples, against the same figures of the repeated items."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from difficulty.stats.bootstrap import resample_counts
from difficulty.stats.quantiles import trimmed_means_and_medians


def repeated(counts: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.repeat(values, counts.astype(int), axis=0)


def trimmed_by_loop(values: np.ndarray, trim: float) -> float:
    """Items by rank, each with the weight that the cuts of `trim` of the items leave it."""
    n = len(values)
    low, high = trim * n, (1 - trim) * n
    total = weight = 0.0
    for rank, value in enumerate(sorted(values)):
        part = max(0.0, min(rank + 1, high) - max(rank, low))
        total, weight = total + part * value, weight + part
    return total / weight


@pytest.mark.parametrize("n_items", [10, 30, 200])
def test_a_whole_number_of_cut_items_gives_the_figures_of_scipy_and_numpy(n_items: int) -> None:
    g = np.random.default_rng(n_items)
    values = g.standard_t(3, size=(n_items, 4))
    counts = resample_counts(n_items, 60, g)
    means, medians = trimmed_means_and_medians(counts, values)
    for b, count in enumerate(counts):
        items = repeated(count, values)
        assert means[b] == pytest.approx(scipy.stats.trim_mean(items, 0.1), abs=1e-10)
        assert medians[b] == pytest.approx(np.median(items, axis=0), abs=1e-12)


@pytest.mark.parametrize("trim", [0.1, 0.07, 0.25, 0.49])
@pytest.mark.parametrize("n_items", [1, 2, 3, 7, 23, 101])
def test_an_item_that_a_cut_goes_through_counts_with_what_is_left_of_it(n_items: int, trim: float) -> None:
    g = np.random.default_rng(n_items)
    values = np.round(g.normal(size=(n_items, 2)), 1)  # with ties
    counts = resample_counts(n_items, 30, g)
    means, medians = trimmed_means_and_medians(counts, values, trim)
    for b, count in enumerate(counts):
        items = repeated(count, values)
        wanted = [trimmed_by_loop(column, trim) for column in items.T]
        assert means[b] == pytest.approx(wanted, abs=1e-10)
        assert medians[b] == pytest.approx(np.median(items, axis=0), abs=1e-12)


def test_clusters_make_resamples_of_unequal_size() -> None:
    g = np.random.default_rng(3)
    cluster = np.sort(g.integers(0, 9, 40))
    cluster = np.unique(cluster, return_inverse=True)[1]
    values = g.normal(size=(40, 3))
    counts = resample_counts(int(cluster.max()) + 1, 80, g)[:, cluster]
    assert len(np.unique(counts.sum(axis=1))) > 5
    means, medians = trimmed_means_and_medians(counts, values)
    for b, count in enumerate(counts):
        items = repeated(count, values)
        assert means[b] == pytest.approx([trimmed_by_loop(c, 0.1) for c in items.T], abs=1e-10)
        assert medians[b] == pytest.approx(np.median(items, axis=0), abs=1e-12)


def test_many_resamples_are_done_in_parts_that_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    g = np.random.default_rng(4)
    values, counts = g.normal(size=(50, 2)), resample_counts(50, 100, g)
    whole = trimmed_means_and_medians(counts, values)
    monkeypatch.setattr("difficulty.stats.quantiles._CHUNK", 350)
    for a, b in zip(whole, trimmed_means_and_medians(counts, values), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


def test_five_outliers_of_a_thousand_do_not_move_a_trimmed_mean() -> None:
    g = np.random.default_rng(5)
    values = g.normal(size=(1000, 1))
    spoiled = values.copy()
    spoiled[:5] -= 200
    ones = np.ones((1, 1000))
    clean, after = (trimmed_means_and_medians(ones, v)[0][0, 0] for v in (values, spoiled))
    assert abs(clean - after) < 0.02
    assert spoiled.mean() < -0.9


@pytest.mark.parametrize("total", [2**15 - 2, 2**15 - 1, 2**15])
def test_as_many_items_as_small_whole_numbers_hold(total: int) -> None:
    counts = np.array([[1000.0, total - 2000.0, 1000.0]])
    means, medians = trimmed_means_and_medians(counts, np.array([[-1.0], [2.0], [5.0]]))
    assert medians.tolist() == [[2.0]] and means == pytest.approx(np.array([[2.0]]))
