"""The honesty benchmark with fewer draws: what the verdicts do in worlds with a known truth."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from difficulty.judge.verdicts import POOLED

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def honesty() -> ModuleType:
    path = Path(__file__).resolve().parents[3] / "benchmarks" / "honesty.py"
    spec = importlib.util.spec_from_file_location("honesty", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["honesty"] = module
    spec.loader.exec_module(module)
    return module


def pooled(honesty: ModuleType, world: object, seed: int) -> dict[str, str]:
    claims = honesty.judge(honesty.panel_of(world, seed), seed)[1]
    return {c.claim: c.verdict for c in claims if c.family == POOLED}


@pytest.mark.parametrize("margins", [True, False])
def test_equal_latent_losses_are_hardly_ever_called_support(honesty: ModuleType, margins: bool) -> None:
    world = honesty.World(margins=margins, easiness=2.6)
    found = [pooled(honesty, world, seed) for seed in range(30)]
    naive = [honesty.naive(honesty.panel_of(world, seed)) > 1.96 for seed in range(30)]
    assert np.mean(naive) > 0.9  # the pattern is there on accuracy
    # with a rate of 5 %, more than 4 of 30 happen in under 2 % of all tests
    assert sum(v["P2"] == "supported" for v in found) <= 4
    assert sum(v["P3"] == "supported" for v in found) <= 4
    assert all(v["P1"] == "supported" for v in found)


def test_nothing_lost_is_hardly_ever_called_support(honesty: ModuleType) -> None:
    found = [pooled(honesty, honesty.World(loss=0.0), seed) for seed in range(30)]
    for claim in ("P1", "P2", "P3"):
        assert sum(v[claim] == "supported" for v in found) <= 4


def test_extra_loss_is_found_and_reversed_loss_refuted(honesty: ModuleType) -> None:
    extra = [pooled(honesty, honesty.World(extra=0.2, logistic=True), seed)["P2"] for seed in range(10)]
    reverse = [pooled(honesty, honesty.World(extra=-0.3), seed)["P2"] for seed in range(10)]
    assert extra == ["supported"] * 10
    assert reverse == ["refuted"] * 10


def test_tiers_cut_from_the_judged_run_are_not_judged(honesty: ModuleType) -> None:
    world = honesty.World(own_tiers="self", step=0.0, easiness=1.7)
    assert [pooled(honesty, world, seed)["P2"] for seed in range(5)] == ["inconclusive"] * 5


def test_intervals_of_clustered_items_cover_and_naive_ones_do_not(honesty: ModuleType) -> None:
    found = honesty.coverage(40, 600)
    assert found.naive < 0.85
    # 0.95 +- 0.02, and two standard errors of 600 draws
    assert abs(found.clustered - 0.95) <= 0.038
    assert abs(found.bootstrap - 0.95) <= 0.038
