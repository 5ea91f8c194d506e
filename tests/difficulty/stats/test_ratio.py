"""Perplexity and other weighted means: closed forms, a linearisation by hand, scipy's bootstrap, and coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from difficulty.stats import mean_interval, paired_loss, score
from difficulty.stats.mean import clustered_error


def documents(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nats per word before and after, and words, of n documents; longer documents are easier."""
    g = np.random.default_rng(seed)
    words = np.ceil(g.lognormal(4, 0.8, n))
    before = 3.4 - 0.2 * np.log(words / 50) + g.normal(0, 0.3, n)
    return before, before + 0.1 + g.normal(0, 0.15, n), words


def test_perplexity_is_exp_of_the_loglikelihood_over_all_words() -> None:
    before, after, words = documents(30, 0)
    loss = paired_loss(before, after, None, True, words, "perplexity")
    assert loss.before == pytest.approx(math.exp((before * words).sum() / words.sum()), rel=1e-12)
    assert loss.after == pytest.approx(math.exp((after * words).sum() / words.sum()), rel=1e-12)
    assert loss.loss == pytest.approx(loss.after - loss.before)
    assert mean_interval(before, None, words, "perplexity").mean == pytest.approx(loss.before)
    bits = paired_loss(before, after, None, True, words, "bits")
    assert bits.before == pytest.approx(math.log2(loss.before))


def test_the_error_of_a_ratio_is_the_linearisation_by_hand() -> None:
    before, after, words = documents(40, 1)
    clusters = np.arange(40) // 4
    d = after - before
    ratio = (words * d).sum() / words.sum()
    influence = words * (d - ratio) / words.mean()
    sums = np.bincount(clusters, influence)
    by_hand = math.sqrt(10 / 9 * (sums**2).sum()) / 40
    assert clustered_error(d, clusters, words)[0] == pytest.approx(by_hand, rel=1e-12)
    loss = paired_loss(before, after, clusters, True, words, "perplexity")
    half = stats.t.ppf(0.95, 9) * by_hand
    assert loss.bounds(0.05) == pytest.approx(
        tuple(loss.before * math.expm1(ratio + side * half) for side in (-1, 1)), rel=1e-9
    )


def test_the_error_of_a_ratio_is_that_of_scipys_bootstrap() -> None:
    before, after, words = documents(400, 2)
    d = after - before

    def ratio(d: np.ndarray, w: np.ndarray, axis: int = -1) -> np.ndarray:
        return (d * w).sum(axis=axis) / w.sum(axis=axis)

    drawn = stats.bootstrap(
        (d, words), ratio, paired=True, n_resamples=2000, random_state=0, method="percentile"
    )
    assert clustered_error(d, np.arange(400), words)[0] == pytest.approx(drawn.standard_error, rel=0.06)


def test_equal_weights_change_nothing() -> None:
    before, after, _ = documents(50, 3)
    assert paired_loss(before, after, weights=np.full(50, 7.0)) == paired_loss(before, after)
    assert mean_interval(before, weights=np.full(50, 7.0)) == mean_interval(before)


def test_a_relative_limit_on_perplexity_is_log_of_one_plus_it() -> None:
    before, after, words = documents(60, 4)
    loss = paired_loss(before, after, None, True, words, "perplexity")
    in_nats = paired_loss(before, after, None, True, words, "mean", bounded=False)
    limit = 0.1 * loss.before
    for found, plain in ((loss.p_exceeds, in_nats.p_exceeds), (loss.p_below, in_nats.p_below)):
        assert found(limit) == pytest.approx(plain(math.log(1.1)), rel=1e-9)
    z = (loss.shift - math.log(1.1)) / loss.standard_error
    assert loss.p_below(limit) >= stats.t.cdf(z, 59)
    low, high = loss.bounds(0.05)
    assert loss.p_exceeds(low) == pytest.approx(0.05, abs=3e-4)  # a draw of 4,999 is 0.0002
    assert loss.p_below(high) == pytest.approx(0.05, abs=3e-4)


def test_the_bounds_of_a_perplexity_ratio_cover_the_truth_as_often_as_they_say() -> None:
    """Documents in clusters of three, long-tailed lengths that go with difficulty; the truth by a large sample."""
    g = np.random.default_rng(5)

    def sample(n_clusters: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        words = np.ceil(g.lognormal(4, 0.7, 3 * n_clusters))
        shared = np.repeat(g.normal(0, 0.1, n_clusters), 3)
        before = 3.4 - 0.2 * np.log(words / 50) + g.normal(0, 0.3, len(words))
        after = before + 0.1 + 0.05 * np.log(words / 50) + shared + g.normal(0, 0.1, len(words))
        return before, after, words

    before, after, words = sample(200_000)
    truth = ((after - before) * words).sum() / words.sum()
    below = above = 0
    for _ in range(600):
        before, after, words = sample(60)
        loss = paired_loss(before, after, np.arange(180) // 3, True, words, "perplexity")
        low, high = (math.log1p(b / loss.before) for b in loss.bounds(0.05))
        below += high < truth
        above += low > truth
    assert 0.02 <= below / 600 <= 0.085
    assert 0.02 <= above / 600 <= 0.085


def test_retention_of_perplexity_is_dense_over_pruned() -> None:
    before, after, words = documents(30, 6)
    found = score(after, None, 0.0, before, True, words, "perplexity")
    loss = paired_loss(before, after, None, True, words, "perplexity")
    assert found.retention == pytest.approx(loss.before / loss.after)
    assert found.low < found.mean < found.high


def test_a_perplexity_beyond_all_numbers_is_infinite_and_fails() -> None:
    before, _, words = documents(220, 7)
    loss = paired_loss(before, before + 2000, None, True, words, "perplexity")
    assert loss.after == loss.loss == math.inf
    assert loss.p_exceeds(0.1 * loss.before) < 0.05


@pytest.mark.parametrize("weights", [[1.0, 0.0], [1.0, float("nan")], [1.0], [1.0, -2.0]])
def test_weights_that_are_none_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="weights must be 2 numbers above 0"):
        paired_loss([1.0, 2.0], [1.0, 2.0], weights=weights)


def test_perplexity_where_higher_is_better_is_refused() -> None:
    with pytest.raises(ValueError, match="lower is better on the scale 'perplexity'"):
        paired_loss([1.0, 2.0], [1.0, 2.0], scale="perplexity")


@pytest.mark.parametrize("noise", [0.0, 1e-9, -1e-7])
def test_the_rounding_of_a_machine_is_no_change(noise: float) -> None:
    old = np.tile([0.3, 0.9], 10)
    assert paired_loss(old, old + noise) == paired_loss(old, old)


@pytest.mark.parametrize("noise", [2e-6, 1e-4, 9e-4])
def test_a_change_that_is_too_small_to_matter_does_not_stand_for_items_not_seen(noise: float) -> None:
    """Twenty items that all moved a little say as little about a rare, large loss as twenty that did not move."""
    old = np.tile([0.3, 0.9], 10)
    moved = paired_loss(old, old + noise * np.resize([1, -1, 1], 20))
    assert moved.p_below(0.02) > 0.5
    assert moved.bounds(0.05)[1] == pytest.approx(paired_loss(old, old).bounds(0.05)[1], abs=2e-3)
    assert moved.bounds(0.05)[1] >= paired_loss(old, old).bounds(0.05)[1]
