"""Latent positions by their links, and p-values beyond what resamples can count."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
import scipy.stats

from difficulty.stats.bootstrap import interval, p_value
from difficulty.stats.scales import latent_from_accuracy

SHARES = np.array([0.001, 0.1, 0.37, 0.5, 0.9, 0.999])
ENDLESS = np.array(1e12)


@pytest.mark.parametrize("chance", [0.0, 0.25])
def test_links_are_the_quantiles_of_their_latent_distribution(chance: float) -> None:
    """Accuracy is P(latent > 0) of a variable of SD 1.702 whose place moves: normal, or Gumbel of the maximum or minimum."""
    accuracy = chance + (1 - chance) * SHARES
    spread = 1.702 * np.sqrt(6) / np.pi
    wanted = {
        "probit": 1.702 * scipy.stats.norm.ppf(SHARES),
        # P(place + spread G > 0): G of the maximum has P(G > g) = 1 - exp(-exp(-g)), of the minimum exp(-exp(g))
        "cloglog": -spread * scipy.stats.gumbel_r.isf(SHARES),
        "loglog": -spread * scipy.stats.gumbel_l.isf(SHARES),
    }
    for link, place in wanted.items():
        found = latent_from_accuracy(accuracy, np.array(chance), ENDLESS, link)
        assert found == pytest.approx(place, rel=1e-6), link


def test_the_gumbel_scales_have_the_spread_of_the_probit() -> None:
    spread = 1.702 * np.sqrt(6) / np.pi
    assert scipy.stats.gumbel_r.std(scale=spread) == pytest.approx(1.702)
    a, b = latent_from_accuracy(
        np.array([1 - 1 / np.e, 1 - np.exp(-np.e)]), np.array(0.0), ENDLESS, "cloglog"
    )
    assert b - a == pytest.approx(spread, rel=1e-6)


def test_the_two_skewed_links_mirror_each_other() -> None:
    n, none = np.array(40.0), np.array(0.0)
    up = latent_from_accuracy(SHARES, none, n, "cloglog")
    assert latent_from_accuracy(1 - SHARES, none, n, "loglog") == pytest.approx(-up)


@pytest.mark.parametrize("link", ["probit", "cloglog", "loglog"])
def test_no_or_all_right_answers_are_finite_and_in_order(link: str) -> None:
    n = np.array(20.0)
    counts = np.arange(21) / 20
    found = latent_from_accuracy(counts, np.array(0.0), n, link)
    assert np.isfinite(found).all() and (np.diff(found) > 0).all()
    moved = (20 * counts + 0.5) / 21
    assert found == pytest.approx(latent_from_accuracy(moved, np.array(0.0), ENDLESS, link), rel=1e-6)
    below = latent_from_accuracy(np.array([0.1, 0.25]), np.array(0.25), n, link)
    assert below[0] == below[1]


def test_an_unknown_link_is_said() -> None:
    with pytest.raises(ValueError, match="'logit' is none of"):
        latent_from_accuracy(SHARES, np.array(0.0), ENDLESS, "logit")


def normal_draws(mean: float, n: int = 400, seed: int = 0) -> np.ndarray:
    g = np.random.default_rng(seed)
    return np.concatenate([[mean], mean + g.normal(size=n)])


@pytest.mark.parametrize("z", [5.0, 8.0, 12.0])
def test_beyond_the_resamples_p_is_that_of_t(z: float) -> None:
    n_clusters = 50
    draws = normal_draws(z)
    t = z / draws[1:].std() * np.sqrt((n_clusters - 1) / n_clusters)
    wanted = 2 * scipy.stats.t.sf(t, n_clusters - 1)
    assert p_value(draws, n_clusters) == pytest.approx(wanted, rel=1e-9)
    assert p_value(-draws, n_clusters) == pytest.approx(wanted, rel=1e-9)
    assert wanted < 1 / 400


def test_p_falls_without_an_end_and_never_says_less_than_the_resamples_do() -> None:
    p = [p_value(normal_draws(z), 60) for z in (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 9.0)]
    assert p == sorted(p, reverse=True)
    assert p[-1] < 1e-8
    # none of 400 lies beyond: whatever the spread, p is at most that of half a resample beyond
    wide = np.concatenate([[0.1], np.abs(normal_draws(0.0)[1:]) + 0.01])
    counted = 2 * scipy.stats.t.cdf(scipy.stats.norm.ppf(0.5 / 401) * np.sqrt(59 / 60), 59)
    assert p_value(wide, 60) == pytest.approx(counted)


def test_p_of_a_statistic_that_never_changes_is_that_of_the_number_of_resamples() -> None:
    still = np.full(401, 0.3)
    assert 0 < p_value(still, 60) < 0.01
    assert p_value(np.zeros(401), 60) == 1.0


def test_the_interval_leaves_out_the_null_where_p_is_small() -> None:
    for z in (1.5, 1.9, 2.1, 2.5, 4.0):
        draws = normal_draws(z, 4000)
        low, _ = interval(draws, 30)
        assert (float(low) > 0) == (p_value(draws, 30) < 0.05)
