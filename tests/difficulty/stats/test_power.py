"""The power that is promised before a run, against sums over all outcomes, closed forms, and draws of the promised size."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from difficulty.stats.paired_loss import PairedLoss, paired_loss
from difficulty.stats.power import Claim, detectable, items_for, most_discordance, power
from difficulty.stats.tango import binary_tail, binary_tails, score_statistic


def summed_up(n: int, b: int, c: int, limit: float, upper: bool) -> float:
    """The tail as it is defined: every outcome of the trinomial whose statistic is as extreme."""
    z, p_gained = (float(x) for x in score_statistic(n, b, c, limit))
    lost, gained = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
    outcomes = np.stack([lost, gained, n - lost - gained], axis=-1)[lost + gained <= n]
    every, _ = score_statistic(n, outcomes[:, 0], outcomes[:, 1], limit)
    extreme = every >= z - 1e-9 if upper else every <= z + 1e-9
    p = [p_gained + limit, p_gained, max(0.0, 1 - 2 * p_gained - limit)]
    return float(stats.multinomial.pmf(outcomes[extreme], n, p).sum())


@pytest.mark.parametrize("upper", [True, False])
@pytest.mark.parametrize("limit", [-0.1, 0.02, 0.3])
def test_tails_are_sums_over_every_outcome(limit: float, upper: bool) -> None:
    b, c = np.array([0, 3, 9, 1, 20]), np.array([0, 2, 0, 8, 15])
    found = binary_tails(60, b, c, limit, upper)
    expected = [summed_up(60, *pair, limit, upper) for pair in zip(b.tolist(), c.tolist(), strict=True)]
    assert found == pytest.approx(expected, rel=1e-8, abs=1e-13)
    sizes = np.array([60, 70, 200, 33, 60])  # each outcome may have its own n
    alone = [
        binary_tail(*one, limit, upper) for one in zip(sizes.tolist(), b.tolist(), c.tolist(), strict=True)
    ]
    assert binary_tails(sizes, b, c, limit, upper) == pytest.approx(alone, rel=1e-9)


@pytest.mark.parametrize("claim", ["pass", "fail"])
@pytest.mark.parametrize(("lost", "gained"), [(0.0, 0.0), (0.04, 0.01), (0.12, 0.02)])
def test_power_is_the_probability_of_the_outcomes_that_decide(
    lost: float, gained: float, claim: Claim
) -> None:
    n, limit, most = 120, 0.05, 40
    b, c = (x.ravel() for x in np.meshgrid(np.arange(most), np.arange(most)))
    decided = binary_tails(n, b, c, limit, claim == "fail") < 0.05
    p = stats.multinomial.pmf(np.stack([b, c, n - b - c], axis=1), n, [lost, gained, 1 - lost - gained])
    assert power(n, lost, gained, limit, 0.05, claim) == pytest.approx(float(p[decided].sum()), abs=1e-6)
    assert power(4 * n + 3, lost, gained, limit, 0.05, claim, design_effect=4) == power(
        n, lost, gained, limit, 0.05, claim
    )


@pytest.mark.parametrize(
    ("n", "claim", "limit", "alpha"), [(395, "pass", 0.02, 0.05), (395, "fail", 0.1, 0.05 / 70)]
)
def test_the_steps_of_small_counts_are_not_smoothed_over(
    n: int, claim: Claim, limit: float, alpha: float
) -> None:
    """21 values of c matter here: an edge between two of them that is off by one would be worth two points of power."""
    lost, gained = (0.01, 0.01) if claim == "pass" else (0.01 + 1.6 * limit, 0.01)
    b, c = (x.ravel() for x in np.meshgrid(np.arange(130), np.arange(24)))
    decided = binary_tails(n, b, c, limit, claim == "fail") < alpha
    p = stats.multinomial.pmf(np.stack([b, c, n - b - c], axis=1), n, [lost, gained, 1 - lost - gained])
    assert power(n, lost, gained, limit, alpha, claim) == pytest.approx(float(p[decided].sum()), abs=1e-4)


@pytest.mark.parametrize("claim", ["pass", "fail"])
def test_edges_between_the_counts_that_are_looked_at_are_near_enough(claim: Claim) -> None:
    n, limit, alpha = 1500, 0.02, 0.05 / 35
    lost, gained = (0.025, 0.025) if claim == "pass" else (0.07, 0.025)
    b, c = np.meshgrid(np.arange(180), np.arange(8, 80), indexing="ij")
    p = stats.multinomial.pmf(np.stack([b, c, n - b - c], axis=-1), n, [lost, gained, 1 - lost - gained])
    likely = p > 1e-9
    decided = binary_tails(n, b[likely], c[likely], limit, claim == "fail") < alpha
    assert power(n, lost, gained, limit, alpha, claim) == pytest.approx(
        float(p[likely][decided].sum()), abs=3e-3
    )


@pytest.mark.parametrize(
    ("lost", "gained", "limit", "claim"),
    [
        (0.0, 0.0, 0.02, "pass"),
        (0.005, 0.005, 0.02, "pass"),
        (0.015, 0.005, 0.05, "pass"),
        (0.06, 0.01, 0.02, "fail"),
    ],
)
@pytest.mark.parametrize("wanted", [0.8, 0.95])
def test_the_power_holds_from_the_advised_number_on(
    lost: float, gained: float, limit: float, claim: Claim, wanted: float
) -> None:
    n = items_for(wanted, lost, gained, limit, 0.05, claim)
    assert n is not None
    assert power(n - 1, lost, gained, limit, 0.05, claim) < wanted
    after = [power(k, lost, gained, limit, 0.05, claim) for k in range(n, n + round(2 / limit), 5)]
    assert min(after) >= wanted - 2e-3


def test_equal_answers_need_the_rule_of_three_and_clusters_as_many_clusters() -> None:
    assert items_for(0.8, 0.0, 0.0, 0.02) == items_for(0.95, 0.0, 0.0, 0.02) == 149
    assert math.ceil(math.log(0.05) / math.log(0.98)) == 149
    assert items_for(0.8, 0.0, 0.0, 0.02, design_effect=4) == 4 * 149


def test_what_no_number_of_items_decides_has_none() -> None:
    assert items_for(0.8, 0.02, 0.0, 0.02) is None
    assert items_for(0.8, 0.03, 0.0, 0.02, claim="pass") is None
    assert items_for(0.8, 0.01, 0.0, 0.02, claim="fail") is None
    assert items_for(0.8, 0.0199, 0.0, 0.02) is None  # more than a million
    with pytest.raises(ValueError, match="probabilities"):
        items_for(0.8, 0.9, 0.2, 0.02)
    with pytest.raises(ValueError, match="alpha"):
        power(100, 0.0, 0.0, 0.02, 0.0)


def test_what_the_given_items_can_see() -> None:
    drop = detectable(1000, 0.02, 0.02)
    assert power(1000, drop + 0.01, 0.01, 0.02, 0.05, "fail") == pytest.approx(0.8, abs=2e-3)
    assert drop > 0.02 and detectable(4000, 0.02, 0.02) < drop < detectable(250, 0.02, 0.02)
    flips = most_discordance(1000, 0.02)
    assert flips is not None
    assert power(1000, flips / 2, flips / 2, 0.02) == pytest.approx(0.8, abs=2e-3)
    assert most_discordance(148, 0.02) is None
    assert detectable(3, 0.0, 0.5, 1e-9) == math.inf


def drawn(g: np.random.Generator, n: int, kind: str) -> PairedLoss:
    """n items: pairs in clusters of four of which half fare alike; or scores in [0, 1] of which 5 % change."""
    if kind == "clusters":
        u = np.where(g.random((n // 4, 1)) < 0.5, g.random((n // 4, 1)), g.random((n // 4, 4))).ravel()
        return paired_loss(
            (u < 0.97).astype(float), (u > 0.06).astype(float), np.repeat(np.arange(n // 4), 4)
        )
    u, size = g.random(n), g.uniform(0.1, 0.9, n)
    return paired_loss(np.where(u > 0.975, 1 - size, 1.0), np.where(u < 0.025, 1 - size, 1.0))


@pytest.mark.parametrize(("kind", "limit"), [("clusters", 0.05), ("scores", 0.02)])
def test_what_was_seen_drawn_again_decides_as_often_as_promised(kind: str, limit: float) -> None:
    truth = drawn(np.random.default_rng(0), 40_000, kind)
    n, draws, g = truth.items_needed(limit), 120, np.random.default_rng(1)
    assert n is not None
    n -= n % 4
    decided = [drawn(g, n, kind).p_below(limit) < 0.05 for _ in range(draws)]
    assert abs(float(np.mean(decided)) - 0.8) <= 2.5 * math.sqrt(0.8 * 0.2 / draws)
    assert truth.items_to_decide(limit) == 40_001  # never fewer than one more than were seen


def test_unbounded_losses_need_the_items_of_the_noncentral_t() -> None:
    g = np.random.default_rng(2)
    noise = np.sort(np.r_[z := g.normal(0, 0.5, 5000), -z])  # no skewness
    seen = paired_loss(np.full(10_000, 2.0), 2.0 + noise, lower_is_better=True, bounded=False)
    n = seen.items_needed(0.05)
    assert n is not None and n > 200
    distance = 0.05 * math.sqrt(n) / noise.std(ddof=1)
    expected = stats.nct.sf(stats.t.isf(0.05, n - 1), n - 1, distance)
    assert expected == pytest.approx(0.8, abs=1e-3)
    assert seen.items_needed(2.0) == 200
