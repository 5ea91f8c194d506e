"""A verdict must hold on every scale: tables with a known truth on which one scale alone would give a wrong one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from difficulty.judge.fit import fit
from difficulty.judge.verdicts import Claim

N = 1000
TIER = np.repeat([1, 2, 3, 4], N // 4)
LEVELS = np.array([0, 0.3, 0.4, 0.5, 0.6, 0.7])


def table(
    latent: np.ndarray, levels: np.ndarray = LEVELS, tier: np.ndarray = TIER, margins: bool = True
) -> pd.DataFrame:
    """`latent` (n_items, n_levels), the dense run first; an answer is right where it is above 0."""
    parts = []
    for k, level in enumerate(levels):
        frame = pd.DataFrame(
            {
                "model": "m", "method": "magnitude" if k else "dense", "level": level, "tier": tier,
                "item_id": [f"i{i}" for i in range(len(tier))], "family": "f",
            }
        )  # fmt: skip
        parts.append(frame.assign(metric="acc", value=(latent[:, k] > 0).astype(float)))
        if margins:
            parts.append(frame.assign(metric="margin", value=latent[:, k]))
    return pd.concat(parts, ignore_index=True)


def judged(rows: pd.DataFrame, claim: str) -> Claim:
    return fit(rows, claims=(claim,), n_resamples=400).headline()[claim]


def draws(seed: int, extra: float = 0.0) -> np.ndarray:
    """Equal loss, or `extra` of the mean loss more a tier."""
    g = np.random.default_rng(seed)
    loss = 2.1 * LEVELS**1.5 * (1 + extra * (TIER[:, None] - 2.5))
    return (3 - 0.8 * TIER + g.normal(size=N))[:, None] - loss + 0.4 * g.normal(size=(N, len(LEVELS)))


SEEDS = (0, 1, 2)


@pytest.mark.parametrize("seed", SEEDS)
def test_equal_loss_is_not_supported_however_the_logits_are_stretched(seed: int) -> None:
    equal = draws(seed)
    slopes = np.array([0.7, 0.9, 1.1, 1.3])[TIER - 1][:, None]
    assert judged(table(equal), "P2").verdict != "supported"
    sharper = judged(table(equal * (1 + 0.3 * LEVELS / 0.7)), "P2")
    assert sharper.verdict == "inconclusive"
    assert sharper.details["scales"]["T"]["these"]["ci_low"] > 0
    assert judged(table(equal * slopes), "P2").verdict != "supported"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_true_effect_with_flatter_logits_is_not_refuted(seed: int) -> None:
    assert judged(table(draws(seed, 0.2) * (1 - 0.3 * LEVELS / 0.7)), "P2").verdict != "refuted"


def test_a_large_effect_is_supported_of_this_family_alone() -> None:
    claim = judged(table(draws(0, 0.5)), "P2")
    assert claim.verdict == "supported"
    assert claim.about == "this family"
    assert "Nothing is known of other families" in claim.reason


@pytest.mark.parametrize("seed", SEEDS)
def test_a_few_outliers_do_not_make_a_verdict(seed: int) -> None:
    spoiled = draws(seed)
    spoiled[np.flatnonzero(TIER == 4)[:5], 1:] -= 200
    claim = judged(table(spoiled), "P2")
    assert claim.verdict != "supported"
    assert claim.details["sensitivity"]["mean"]["estimate"] > 0.5  # on the mean they would


@pytest.mark.parametrize("seed", SEEDS)
def test_accuracies_of_a_skewed_latent_do_not_support_by_the_link_that_is_chosen(seed: int) -> None:
    g = np.random.default_rng(seed)

    def skewed(shape: tuple[int, ...]) -> np.ndarray:
        return -(g.gumbel(size=shape) - 0.577) / 1.2826

    latent = (2.2 - 0.6 * TIER + skewed((N,)))[:, None] - 3.5 * LEVELS**1.5 + 0.4 * skewed((N, len(LEVELS)))
    claim = judged(table(latent, margins=False), "P2")
    assert list(claim.details["scales"]) == ["A", "C", "L"]
    assert claim.verdict != "supported"


@pytest.mark.parametrize("at", [0, 3])
def test_tiers_cut_from_any_judged_run_are_not_judged(at: int) -> None:
    g = np.random.default_rng(0)
    noisy = (2.0 + g.normal(size=N))[:, None] - 3.5 * LEVELS**1.5 + g.normal(size=(N, len(LEVELS)))
    cut = 1 + np.argsort(np.argsort(-noisy[:, at])) // (N // 4)
    claim = judged(table(noisy, tier=cut), "P2")
    assert claim.verdict == "inconclusive" and claim.estimate is None
    assert "regression to the mean" in claim.reason


def test_margins_cut_off_at_a_number_say_nothing_of_their_tier() -> None:
    rows = table(np.minimum(draws(0), 2.0))
    result = fit(rows, claims=("P2",), n_resamples=400)
    assert any("margins are cut off at a number" in sentence for sentence in result.excluded)


def test_without_flips_a_handful_of_items_shows_no_smallness() -> None:
    claim = judged(table(np.ones((16, 3)), LEVELS[:3], np.repeat([1, 2], 8), margins=False), "P1")
    assert claim.verdict == "inconclusive"
    many = judged(table(np.ones((400, 3)), LEVELS[:3], np.repeat([1, 2], 200), margins=False), "P1")
    assert many.verdict == "refuted"


def early(levels: np.ndarray) -> np.ndarray:
    """Critical levels .25, .20, .15, .10 by tier, losses that rise steeply there."""
    g = np.random.default_rng(0)
    critical = np.array([0.25, 0.2, 0.15, 0.1])[TIER - 1][:, None]
    steep = -np.log(1 - 0.5 / 18)
    return (9 - 0.5 * TIER + g.normal(size=N))[:, None] - 18 * (1 - np.exp(-steep * (levels / critical) ** 6))


def test_a_grid_that_cannot_resolve_the_critical_levels_decides_nothing_and_says_what_to_add() -> None:
    claim = judged(table(early(np.array([0, 0.5, 0.6, 0.7])), np.array([0, 0.5, 0.6, 0.7])), "P3")
    assert claim.verdict == "inconclusive"
    assert claim.details["levels_to_add"] == [0.25]
    assert "--refine P3" in claim.reason


def test_a_family_never_changes_its_scale_without_a_word() -> None:
    rows = table(draws(0))
    gone = (rows["metric"] == "margin") & (rows["level"] == 0.5) & (rows["item_id"] == "i7")
    with pytest.raises(
        ValueError, match=r"lacks the margin of 1 of 1000 items of family 'f'.*i7.*--no-margins"
    ):
        judged(rows[~gone], "P2")
    assert fit(rows[~gone], claims=("P2",), n_resamples=400, allow_missing=True).n_items == N - 1
    accuracies = fit(rows[~gone], claims=("P2",), n_resamples=400, margins=False)
    assert set(accuracies.cells["scale"]) == {"A"}
