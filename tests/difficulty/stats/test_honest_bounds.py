"""Bounds keep what they promise: exact and simulated coverage, few or no changes, clusters, long tails; and the advised n."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from scipy import stats

from difficulty.stats import clustered_error, mean_interval, paired_interval, paired_loss, t_draws, wilson


def pairs(n: int, lost: int, gained: int) -> tuple[np.ndarray, np.ndarray]:
    before = np.r_[np.ones(lost), np.zeros(gained), np.ones(n - lost - gained)]
    return before, np.r_[np.zeros(lost), np.ones(gained), np.ones(n - lost - gained)]


@cache
def ends(n: int, lost: int, gained: int) -> tuple[float, float]:
    found = paired_interval(*pairs(n, lost, gained))
    return found.ci_low, found.ci_high


@pytest.mark.parametrize("n", [8, 16, 50])
@pytest.mark.parametrize("discordance", [0.02, 0.05, 0.1, 0.2])
def test_right_or_wrong_pairs_are_covered_exactly(n: int, discordance: float) -> None:
    """Every table that is at all likely, weighted by its probability: no draws, no noise."""
    for loss in (0.0, discordance / 2, discordance):
        p = [(discordance + loss) / 2, (discordance - loss) / 2, 1 - discordance]
        covered = 0.0
        for lost in range(n + 1):
            for gained in range(n + 1 - lost):
                weight = float(stats.multinomial.pmf([lost, gained, n - lost - gained], n, p))
                if weight > 1e-5:
                    low, high = ends(n, lost, gained)
                    covered += weight * (low <= loss <= high)
        assert covered >= 0.93, f"{covered:.4f} at n = {n}, discordance {discordance}, loss {loss}"


@pytest.mark.parametrize(("size", "shared"), [(1, 0.0), (4, 0.7), (4, 1.0)])
@pytest.mark.parametrize("discordance", [0.05, 0.2])
def test_pairs_in_clusters_are_covered(size: int, shared: float, discordance: float) -> None:
    """200 items; with probability `shared` an item has the fate of its cluster."""
    g, n, draws = np.random.default_rng(11), 200, 300
    loss = discordance / 2
    codes = np.repeat(np.arange(n // size), size)
    covered = 0
    for _ in range(draws):
        u = np.where(g.random(n) < shared, g.random(n // size)[codes], g.random(n))
        lost, gained = u < 0.75 * discordance, (u >= 0.75 * discordance) & (u < discordance)
        found = paired_interval((~gained).astype(float), (~lost).astype(float), codes)
        covered += found.ci_low <= loss <= found.ci_high
    assert covered / draws >= 0.93, f"{covered / draws:.3f} in clusters of {size}, {shared} shared"


def test_equal_runs_have_a_width_and_exchanged_runs_the_mirrored_interval() -> None:
    for values in (np.ones(16), np.full(16, 0.5), np.zeros(16)):
        found = paired_interval(values, values)
        assert found.ci_high == pytest.approx(1 - 0.025 ** (1 / 16), abs=1e-6)
        assert found.ci_low == pytest.approx(-found.ci_high, abs=1e-6)
        assert found.p == 1
    g = np.random.default_rng(2)
    codes = np.arange(60) // 3
    for a, b in (
        (g.random(60) < 0.7, g.random(60) < 0.6),
        (g.random(60), g.random(60)),
        (g.normal(5, 1, 60), g.normal(5, 1, 60)),
    ):
        one, other = paired_interval(a, b, codes), paired_interval(b, a, codes)
        assert (one.ci_low, one.ci_high, one.p) == pytest.approx((-other.ci_high, -other.ci_low, other.p))


def test_an_unbounded_metric_that_did_not_change_on_few_items_shows_nothing() -> None:
    text = np.linspace(5, 9, 60)
    found = paired_interval(text, text, lower_is_better=True)
    assert (found.ci_low, found.ci_high, found.p) == (-math.inf, math.inf, 1.0)
    assert paired_loss(text, text).too_few and not paired_loss(np.tile(text, 4), np.tile(text, 4)).too_few
    shares = np.linspace(
        0.2, 0.9, 60
    )  # values within [0, 1] of a metric that can leave it, as a loss in nats
    assert not paired_loss(shares, shares).too_few and paired_loss(shares, shares, bounded=False).too_few


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_score_of_which_all_items_are_equal_has_a_width(value: float) -> None:
    found = mean_interval(np.full(20, value))
    assert 0 <= found.low <= value <= found.high <= 1
    assert found.high - found.low > 0.1


def test_one_wrong_cluster_does_not_make_clusters_count_as_items() -> None:
    codes = np.arange(100) // 5
    x = np.ones(100)
    x[0] = 0
    low, _ = wilson(np.array(19.8), np.array(20.0))
    assert mean_interval(x, codes).low == pytest.approx(float(low))


def test_the_studentized_draws_are_those_of_a_plain_loop() -> None:
    """The same resamples one by one, with the error of each by `clustered_error` on the items themselves."""
    g = np.random.default_rng(4)
    codes = np.repeat(np.arange(30), g.integers(1, 5, 30))
    weights, values = g.uniform(1, 9, len(codes)), g.gamma(1.5, 2, len(codes))
    sums = np.bincount(codes, weights * values)
    sizes = np.bincount(codes, weights)
    found = t_draws(sums, sizes, seed=9)
    drawn = np.random.default_rng(9).integers(30, size=(len(found), 30), dtype=np.int32)
    mean = (weights * values).sum() / weights.sum()
    by_hand = []
    for row in drawn[:400]:
        at = np.concatenate([np.flatnonzero(codes == c) for c in row])
        named = np.repeat(np.arange(30), [np.count_nonzero(codes == c) for c in row])
        v, w = values[at], weights[at]
        by_hand.append(((w * v).sum() / w.sum() - mean) / clustered_error(v, named, w)[0])
    assert np.isin(np.round(by_hand, 8), np.round(found, 8)).all()


def test_clusters_are_drawn_once_for_all_pairs_of_runs_with_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    from difficulty.stats import studentized

    g = np.random.default_rng(5)
    pairs = [(g.normal(size=n), g.integers(1, 5, n).astype(float)) for n in (83, 84, 83, 83)]
    drawn = studentized._drawn_counts
    asked: list[int] = []

    def counted(n: int, seed: int) -> object:
        asked.append(n)
        return drawn(n, seed)

    monkeypatch.setattr(studentized, "_drawn_counts", counted)
    monkeypatch.setattr(studentized, "_KEPT", 0)
    each_anew = [t_draws(*pair, seed=7) for pair in pairs]
    assert asked == [83, 84, 83, 83]
    monkeypatch.undo()
    monkeypatch.setattr(studentized, "_drawn_counts", counted)
    for pair, found in zip(pairs, each_anew, strict=True):
        np.testing.assert_array_equal(t_draws(*pair, seed=7), found)
    assert asked[4:] == [83, 84]


def test_the_studentized_draws_of_normal_items_are_student_s() -> None:
    g = np.random.default_rng(0)
    wanted = stats.t.ppf([0.025, 0.05, 0.95, 0.975], 39)
    seen = [
        np.quantile(t_draws(g.normal(size=40), np.ones(40), k), [0.025, 0.05, 0.95, 0.975]) for k in range(60)
    ]
    assert np.mean(seen, axis=0) == pytest.approx(wanted, abs=0.06)


def test_a_skewed_sample_has_a_longer_bound_towards_its_tail_like_bca() -> None:
    """Lognormal items: bounds by scipy's BCa, which is second-order correct too, within a tenth of the width; t is not."""
    x = np.random.default_rng(8).lognormal(0, 1, 400)
    found = paired_interval(x, np.zeros(400), confidence=0.9)
    bca = stats.bootstrap(
        (x,), np.mean, confidence_level=0.9, n_resamples=4999, method="BCa", rng=np.random.default_rng(1)
    )
    low, high = bca.confidence_interval
    assert found.ci_high == pytest.approx(high, abs=0.1 * (high - low))
    assert found.ci_high - x.mean() > 1.1 * (x.mean() - low)


LONG_TAILS = {
    "lognormal": lambda g, n: g.lognormal(0, 1, n) - math.exp(0.5),
    "t3": lambda g, n: g.standard_t(3, n),
    "outliers": lambda g, n: g.normal(0, 1, n) * np.where(g.random(n) < 0.01, 30, 1),
}


@pytest.mark.parametrize("tail", LONG_TAILS)
def test_a_long_tail_at_the_limit_is_rarely_called_below_it(tail: str) -> None:
    g, n, draws = np.random.default_rng(21), 200, 200
    passes = np.mean(
        [paired_loss(5 + LONG_TAILS[tail](g, n), np.full(n, 4.0)).p_below(1.0) < 0.05 for _ in range(draws)]
    )
    assert passes <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / draws), f"{passes:.3f} with {tail}"
