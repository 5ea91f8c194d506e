"""Evidence of drift against plain references, and how often it is false where nothing drifts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats

from difficulty.stats.drift import BETS, LARGE_SAMPLE, STRETCH, drift_evidence


def reference(outcomes: np.ndarray, units: list[int], groups: list[int], together: bool = True) -> list:
    """Right-or-wrong items with loops, as the docstring has it, before the start is moved; or the logarithms bet by bet."""
    n = outcomes.shape[1]
    largest = max(units.count(unit) for unit in units)
    found = []
    prices = [0.0] * len(BETS)

    def factor(bet: float, version: np.ndarray, item: int) -> float:
        lost = sum(outcomes[0, i] - version[i] for i in range(n) if units[i] == units[item])
        return 1 + bet * lost / largest

    for before, now in zip(outcomes[:-1], outcomes[1:], strict=True):
        for group in set(groups):
            inside = [i for i in range(n) if groups[i] == group]
            changed = sum(before[i] != now[i] for i in inside)
            right, wrong = ([i for i in inside if before[i] == value] for value in (1, 0))
            if not changed or not right or not wrong:
                continue
            for k, bet in enumerate(BETS):
                means = [np.mean([1 / factor(bet, before, i) for i in part]) for part in (right, wrong)]
                prices[k] += changed * bet / (2 * largest) * max(means[0] - means[1], 0)
        firsts = [units.index(unit) for unit in dict.fromkeys(units)]
        e = [
            math.prod(factor(bet, now, i) for i in firsts) / math.exp(p)
            for bet, p in zip(BETS, prices, strict=True)
        ]
        found.append(math.log(np.mean(e)) if together else np.log(e))
    return found


@pytest.mark.parametrize("seed", range(3))
def test_right_or_wrong_items_have_the_evidence_of_the_plain_loops(seed: int) -> None:
    rng = np.random.default_rng(seed)
    outcomes = (rng.random((5, 24)) < 0.7).astype(float)
    units, groups = rng.integers(0, 15, 24).tolist(), rng.integers(0, 2, 24).tolist()
    found = drift_evidence(outcomes, units, np.array(groups))
    np.testing.assert_allclose(found, reference(outcomes, units, groups), rtol=1e-10)


def test_the_start_is_moved_after_a_stretch_and_the_evidence_so_far_is_kept() -> None:
    rng = np.random.default_rng(9)
    outcomes = (rng.random((STRETCH + 4, 12)) < 0.7).astype(float)
    parts = [
        reference(part, list(range(12)), [0] * 12, together=False)
        for part in (outcomes[: STRETCH + 1], outcomes[STRETCH:])
    ]
    expected = [math.log(np.mean(np.exp(e))) for e in [*parts[0], *(parts[0][-1] + e for e in parts[1])]]
    np.testing.assert_allclose(drift_evidence(outcomes), expected)


def test_one_random_change_is_expected_to_leave_the_evidence_as_it_is() -> None:
    """All ways in which one item can change: half the chance for a right one, half for a wrong one."""
    start = np.array([1, 1, 1, 1, 1, 0, 0, 0], dtype=float)
    now = np.array([0, 0, 1, 1, 1, 1, 0, 0], dtype=float)
    before = math.exp(drift_evidence(np.stack([start, now]))[-1])
    expected = 0.0
    for item in range(len(now)):
        after = now.copy()
        after[item] = 1 - after[item]
        chance = 0.5 / (now == now[item]).sum()
        expected += chance * math.exp(drift_evidence(np.stack([start, now, after]))[-1])
    assert 0.97 * before < expected <= before


def test_items_that_come_back_cost_little_and_those_that_do_not_add_up() -> None:
    start = np.ones(300)
    start[:60] = 0
    away = start.copy()
    away[60:70] = 0
    back_and_forth = drift_evidence(np.stack([start, away, start, away, start]))
    assert -1 < back_and_forth[-1] < 0 < back_and_forth[0]
    creeping = [start]
    for step in range(1, 9):
        creeping.append(np.where(np.arange(300) < 60 + 3 * step, 0.0, start))
    found = drift_evidence(np.stack(creeping))
    assert (np.diff(found) > 0).all()
    assert found[-1] > math.log(1000)
    assert drift_evidence(np.stack([start, start, start])).tolist() == [0, 0]


def test_an_item_that_was_asked_twice_counts_once() -> None:
    rng = np.random.default_rng(3)
    outcomes = (rng.random((4, 40)) < 0.6).astype(float)
    twice = np.repeat(outcomes, 2, axis=1)
    found = drift_evidence(twice, np.repeat(np.arange(40), 2))
    np.testing.assert_allclose(found, drift_evidence(outcomes))
    assert (np.abs(drift_evidence(twice)) > np.abs(found)).any()


def test_a_loss_within_the_tolerance_is_no_drift() -> None:
    steps = [np.where(np.arange(1000) < 10 * t, 0.0, 1.0) for t in range(20)]  # a point per version
    assert drift_evidence(np.stack(steps))[-1] > math.log(1e6)
    assert drift_evidence(np.stack(steps), tolerance=0.005)[-1] > math.log(1e6)
    assert drift_evidence(np.stack(steps), tolerance=0.01).max() < math.log(2)
    assert drift_evidence(np.stack(steps), tolerance=0.1).max() < 0


def test_scores_between_0_and_1_are_compared_with_the_start_and_each_look_costs() -> None:
    rng = np.random.default_rng(4)
    outcomes = rng.random((4, 30))
    for t in (1, 2, 3):
        e = np.mean(
            [
                math.prod(1 + bet * (a - b) for a, b in zip(outcomes[0], outcomes[t], strict=True))
                for bet in BETS
            ]
        )
        assert drift_evidence(outcomes)[t - 1] == pytest.approx(math.log(e / (t * (t + 1))))


def test_scores_without_a_limit_have_the_mixture_over_the_t_statistic() -> None:
    rng = np.random.default_rng(5)
    start = rng.normal(0, 3, 400)
    after = start - 0.2 + rng.normal(0, 1, 400)
    t = stats.ttest_1samp(start - after, 0).statistic
    density = stats.halfnorm(scale=math.sqrt(10)).pdf
    e = integrate.quad(lambda mean: math.exp(t * mean - mean**2 / 2) * density(mean), 0, 40)[0]
    assert drift_evidence(np.stack([start, after]))[0] == pytest.approx(math.log(e / 2), rel=1e-6)
    few = LARGE_SAMPLE - 1
    assert drift_evidence(np.stack([start, after])[:, :few]).tolist() == [-math.log(2)]


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        drift_evidence(np.array([[1.0, np.nan], [1.0, 1.0]]))
    with pytest.raises(ValueError, match="shape"):
        drift_evidence(np.ones(3))


@pytest.mark.parametrize("comes_and_goes", [True, False])
def test_without_drift_at_most_one_history_in_twenty_raises_an_alarm(comes_and_goes: bool) -> None:
    """120 histories of 30 versions of 80 items; benchmarks/gate_trend.py has large ones."""
    rng = np.random.default_rng(6)
    alarms = 0
    for _ in range(120):
        right = rng.random(80) < 0.8
        chance = np.where(rng.random(80) < 0.15, rng.random(80), right)
        versions = [rng.random(80) < chance if comes_and_goes else right]
        for _ in range(30):
            if comes_and_goes:
                versions.append(rng.random(80) < chance)
                continue
            now = versions[-1].copy()
            for _ in range(rng.poisson(2)):
                pool = np.flatnonzero(now == (rng.random() < 0.5))
                if len(pool):
                    item = rng.choice(pool)
                    now[item] = not now[item]
            versions.append(now)
        alarms += int(drift_evidence(np.stack(versions).astype(float)).max() >= math.log(20))
    assert alarms <= 120 * 0.05
