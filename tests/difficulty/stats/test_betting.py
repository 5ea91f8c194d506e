"""Evidence that may be looked at at any time: closed forms, the product written out, all sequences enumerated, and simulations."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import integrate, stats

from difficulty.stats.betting import STAKES, WEIGHTS, Bets, Evidence, confidence_sequence, evidence
from difficulty.stats.paired_loss import paired_loss
from difficulty.stats.sequential import (
    asymptotic_confidence_sequence,
    asymptotic_evidence,
    asymptotic_path,
    evidence_of,
    sequential_evidence,
)


def written_out(
    sums: list[float], sizes: list[float], limit: float, largest: float, lowest: float
) -> tuple[float, float]:
    """The two e-values as the formula has them: a product per stake, and their weighted mean."""
    below = above = 0.0
    for stake, weight in zip(STAKES.tolist(), WEIGHTS.tolist(), strict=True):
        down = up = 1.0
        for s, m in zip(sums, sizes, strict=True):
            down *= 1 + stake * (limit * m - s) / (largest * (1 - limit))
            up *= 1 + stake * (s - limit * m) / (largest * (limit - lowest))
        below += weight * down
        above += weight * up
    return below, above


def test_evidence_is_the_product_written_out() -> None:
    g = np.random.default_rng(0)
    sizes = g.integers(1, 5, 60).astype(float)
    sums = np.round(g.uniform(-1, 1, 60) * sizes * 0.3, 3)
    found = evidence(sums, sizes, 0.05, 4.0)
    below, above = written_out(sums.tolist(), sizes.tolist(), 0.05, 4.0, -1.0)
    assert math.exp(found.below) == pytest.approx(below, rel=1e-10)
    assert math.exp(found.above) == pytest.approx(above, rel=1e-10)
    flips = evidence(np.abs(sums), sizes, 0.05, 4.0, 0.0)
    assert math.exp(flips.above) == pytest.approx(
        written_out(np.abs(sums).tolist(), sizes.tolist(), 0.05, 4.0, 0.0)[1], rel=1e-10
    )


def test_without_a_change_179_items_refute_a_loss_of_two_points() -> None:
    assert sum(WEIGHTS) == pytest.approx(1)
    least = next(n for n in range(1, 300) if evidence([0] * n, [1] * n, 0.02).p_below < 0.05)
    assert least == 179  # the closed form: sum of weights x (1 + stake x 0.02 / 0.98)^n > 20
    closed = [float(WEIGHTS @ (1 + STAKES * 0.02 / 0.98) ** n) for n in (178, 179)]
    assert closed[0] < 20 < closed[1]
    assert math.log(0.05) / math.log(0.98) < 149  # the fewest that any test of a fixed number of items needs


def test_one_loss_costs_what_its_factor_says_and_no_item_says_nothing() -> None:
    with_one = evidence([0] * 199 + [1], [1] * 200, 0.02).below
    closed = float(WEIGHTS @ ((1 + STAKES * 0.02 / 0.98) ** 199 * (1 - STAKES)))
    assert with_one == pytest.approx(math.log(closed))
    assert evidence([], [], 0.02) == Evidence(0.0, 0.0)
    assert Evidence(-1.0, -2.0).p_below == Evidence(-1.0, -2.0).p_exceeds == 1.0


def test_counts_batches_and_paths_say_the_same() -> None:
    g = np.random.default_rng(1)
    losses = g.choice([-1.0, 0.0, 1.0], p=[0.03, 0.9, 0.07], size=300)
    bets, ones = Bets(0.02), np.ones(300)
    below, above = bets.path(losses, ones)
    n = np.arange(1, 301)
    b, c = np.cumsum(losses > 0), np.cumsum(losses < 0)
    assert np.allclose(bets.of_counts(n, b, c), (below, above))
    parts = bets.log_wealth(losses[:120], ones[:120]) + bets.log_wealth(losses[120:], ones[120:])
    assert bets.evidence(parts).above == pytest.approx(above[-1])
    assert evidence(losses, ones, 0.02).below == pytest.approx(below[-1])
    assert Evidence(1.0, 0.0).or_earlier(Evidence(0.5, 2.0)) == Evidence(1.0, 2.0)


@pytest.mark.parametrize("limit", [0.02, 0.3])
@pytest.mark.parametrize("p_gained", [0.0, 0.2])
def test_no_side_gains_in_expectation_where_the_loss_lies_on_the_limit(limit: float, p_gained: float) -> None:
    """Every sequence of six units of sizes 1 and 2 is enumerated; E[e] = 1 on the limit, less beyond it."""
    unit = {1: (-1, 0, 1), 2: (-2, -1, 0, 1, 2)}
    one = np.array([p_gained, 1 - limit - 2 * p_gained, p_gained + limit])
    for away in (0.0, 0.01):
        shifted = one + np.array([0.0, -away, away])
        chances = {1: shifted, 2: np.convolve(shifted, shifted)}
        sizes = (1, 2, 1, 1, 2, 1)
        below = above = 0.0
        for drawn in itertools.product(*(range(len(unit[m])) for m in sizes)):
            p = math.prod(float(chances[m][k]) for m, k in zip(sizes, drawn, strict=True))
            sums = [unit[m][k] for m, k in zip(sizes, drawn, strict=True)]
            found = evidence(sums, sizes, limit, 2.0)
            below += p * math.exp(found.below)
            above += p * math.exp(found.above)
        if away == 0:
            assert below == pytest.approx(1) and above == pytest.approx(1)
        else:
            assert below < 1 - 1e-4 and above > 1 + 1e-4


@pytest.mark.parametrize(("limit", "gained"), [(0.02, 0.0), (0.02, 0.025), (0.05, 0.01)])
def test_a_look_after_every_item_is_wrong_no_more_often_than_promised(limit: float, gained: float) -> None:
    draws, n = 600, 1000
    g = np.random.default_rng(2)
    u = g.random((draws, n))
    lost, got = np.cumsum(u < gained + limit, axis=1), np.cumsum(u > 1 - gained, axis=1)
    below, above = Bets(limit).of_counts(np.arange(1, n + 1), lost, got)
    most = 0.05 + 2 * math.sqrt(0.05 * 0.95 / draws)
    assert (below.max(axis=1) >= math.log(20)).mean() <= most
    assert (above.max(axis=1) >= math.log(20)).mean() <= most


def clustered(g: np.random.Generator, n: int, loss: float, gained: float) -> tuple[np.ndarray, np.ndarray]:
    """Sums and sizes of n clusters of one to five items; in half of them all items fare alike."""
    sizes = g.integers(1, 6, n)
    alike = g.random(n) < 0.5
    u = np.where(alike[:, None], g.random((n, 1)), g.random((n, 5)))
    moved = (u < gained + loss).astype(float) - (u > 1 - gained)
    return (moved * (np.arange(5) < sizes[:, None])).sum(axis=1), sizes.astype(float)


def test_the_confidence_sequence_covers_with_clusters_of_unequal_size() -> None:
    g, draws, loss = np.random.default_rng(3), 150, 0.03
    missed = np.zeros(2)
    for _ in range(draws):
        sums, sizes = clustered(g, 400, loss, 0.02)
        below, above = Bets(loss, 5.0).path(sums, sizes)
        stop = int(np.argmax(np.maximum(below, above))) + 1  # the look that is worst for the truth
        low, high = confidence_sequence(sums[:stop], sizes[:stop], 0.05, 5.0)
        missed += [low > loss, high < loss]
    assert (missed / draws <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / draws)).all()


def test_the_confidence_sequence_is_where_the_evidence_reaches_one_over_alpha() -> None:
    sums, sizes = clustered(np.random.default_rng(4), 500, 0.05, 0.02)
    low, high = confidence_sequence(sums, sizes, 0.05, 5.0)
    assert low < sums.sum() / sizes.sum() < high
    assert evidence(sums, sizes, low, 5.0).above == pytest.approx(math.log(20), abs=1e-6)
    assert evidence(sums, sizes, high, 5.0).below == pytest.approx(math.log(20), abs=1e-6)
    grid = [evidence(sums, sizes, limit, 5.0) for limit in np.linspace(-0.99, 0.99, 199)]
    assert (np.diff([one.below for one in grid]) > 0).all()  # monotone, so that bisection finds the edge
    assert (np.diff([one.above for one in grid]) < 0).all()
    assert confidence_sequence([], []) == (-1.0, 1.0)


def test_limits_that_no_mean_can_pass() -> None:
    assert evidence([1.0, 1.0], [1, 1], 1.0).below == 0
    assert evidence([1.0, 0.0], [1, 1], 1.0).below == math.inf
    assert evidence([0.0, 0.0], [1, 1], 0.0, lowest=0.0).above == 0  # no flip, none allowed
    assert evidence([0.0, 1.0], [1, 1], 0.0, lowest=0.0).above == math.inf
    assert evidence([0.0, 1.0], [1, 1], 2.0).p_below == 0


@pytest.mark.parametrize(
    ("sums", "sizes", "largest", "message"),
    [
        ([1.0], [1.0, 1.0], 1.0, "one size"),
        ([0.0], [0.0], 1.0, "above 0"),
        ([0.0], [3.0], 2.0, "larger than the largest"),
        ([1.5], [1.0], 1.0, "lost more than 1"),
        ([math.nan], [1.0], 1.0, "finite"),
        ([0.0], [1.0], 0.0, "largest cluster above 0"),
    ],
)
def test_units_that_cannot_be_are_refused(
    sums: list[float], sizes: list[float], largest: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        evidence(sums, sizes, 0.02, largest)


def test_paired_values_come_in_the_order_of_their_clusters_and_rounding_is_no_change() -> None:
    g = np.random.default_rng(5)
    before = g.integers(0, 2, 40).astype(float)
    after = np.where(g.random(40) < 0.2, 1 - before, before)
    clusters = [f"c{i // 4}" for i in range(40)]
    found = sequential_evidence(before, after + 1e-7 * (after == before), 0.05, clusters, largest=6.0)
    sums = (before - after).reshape(10, 4).sum(axis=1)
    assert found == evidence(sums, np.full(10, 4.0), 0.05, 6.0)
    assert sequential_evidence(before, after, 0.05) == evidence(before - after, np.ones(40), 0.05)
    with pytest.raises(ValueError, match="largest cluster"):
        sequential_evidence(before, after, 0.05, clusters)


def test_asymptotic_evidence_is_the_mixture_over_half_normal_drifts() -> None:
    g = np.random.default_rng(6)
    sums, sizes = 3 * g.lognormal(0, 1, 400) - 4, g.uniform(0.5, 1.5, 400)
    found = asymptotic_evidence(sums, sizes, 0.02, n_best=500)
    ratio = sums.sum() / sizes.sum()
    rest = sums - ratio * sizes
    t = (sums - 0.02 * sizes).sum() / math.sqrt(400 * (rest**2).sum() / 399)
    c = float(stats.skew(rest)) / (3 * math.sqrt(400))  # Hall's transformation takes the skewness out
    z = (math.sqrt(400) * t, math.sqrt(400) * (((1 + c * t) ** 3 - 1) / (3 * c) + c / 2))
    rho = math.sqrt((-2 * math.log(0.1) + math.log(-2 * math.log(0.1) + 1)) / 500)
    for sign, log_e in ((1, found.above), (-1, found.below)):
        mixed = [
            integrate.quad(
                lambda d, at=sign * at: 2 * stats.norm.pdf(d, 0, rho) * math.exp(d * at - d * d * 400 / 2),
                0,
                12 * rho,
                epsabs=1e-12,
            )[0]
            for at in z
        ]
        assert log_e == pytest.approx(math.log(min(mixed)), abs=1e-6)  # the smaller one counts
    assert not found.exact
    low, high = asymptotic_confidence_sequence(sums, sizes, 0.05, 500)
    assert asymptotic_evidence(sums, sizes, low, 500).above == pytest.approx(math.log(20), abs=1e-6)
    assert asymptotic_evidence(sums, sizes, high, 500).below == pytest.approx(math.log(20), abs=1e-6)


def test_unbounded_losses_say_nothing_before_200_units_and_are_rarely_wrong_after() -> None:
    g, draws = np.random.default_rng(7), 300
    wrong = 0
    for _ in range(draws):
        below, above = asymptotic_path(1 + g.normal(0, 3, 2000), np.ones(2000), 1.0)
        assert not below[:199].any() and not above[:199].any()
        wrong += below.max() >= math.log(20)
    assert wrong / draws <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / draws)
    assert asymptotic_confidence_sequence(np.zeros(199), np.ones(199)) == (-math.inf, math.inf)
    assert asymptotic_evidence(np.zeros(250), np.ones(250), 0.1) == Evidence(math.inf, -math.inf, False)
    on_it = asymptotic_evidence(np.zeros(250), np.ones(250), 0.0)
    assert on_it.below == on_it.above < 0


def test_a_perplexity_is_judged_by_the_log_of_its_ratio() -> None:
    g = np.random.default_rng(8)
    nats, weights = g.normal(2.0, 0.3, 300), g.integers(20, 200, 300).astype(float)
    worse = nats + g.normal(0.01, 0.05, 300)
    loss = paired_loss(nats, worse, None, True, weights, "perplexity")
    found = sequential_evidence(nats, worse, 0.4, None, True, weights, "perplexity")
    assert found == evidence_of(loss, 0.4)
    assert found == asymptotic_evidence(loss.sums, loss.sizes, math.log1p(0.4 / loss.before))
    assert evidence_of(loss, 0.4, baseline=8.0) == asymptotic_evidence(
        loss.sums, loss.sizes, math.log1p(0.4 / 8.0)
    )
    assert found.below > 0 > found.above
