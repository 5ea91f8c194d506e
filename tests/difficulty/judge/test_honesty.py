"""The honesty benchmark with fewer draws: what the verdicts do in worlds with a known truth."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from difficulty.errors import UsageError
from difficulty.simulate.world import Arm, Cut, World

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"
DRAWS = 20
# with a rate of 5 %, more than 3 of 20 happen in under 2 % of all tests
MOST = 3


@pytest.fixture(scope="module")
def honesty() -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module("honesty")
    finally:
        sys.path.remove(str(BENCHMARKS))


def verdicts(honesty: ModuleType, world: World, claim: str, draws: int = DRAWS) -> list[str]:
    return [honesty.judge(world, (claim,), seed)[claim]["verdict"] for seed in range(draws)]


def named(honesty: ModuleType, name: str) -> World:
    """The world of that name in the benchmark, with or without margins."""
    found = [case.world for case in honesty.chosen(None) if case.name == name]
    assert len(found) == 1, name
    return found[0]


WITHOUT_EFFECT = (
    ("equal loss", "P2"),
    ("equal loss, accuracies only", "P2"),
    ("nothing is lost", "P1"),
    ("nothing is lost", "P2"),
    ("logits x1.3 with the level, equal loss", "P2"),
    ("discriminations .7 to 1.3 by tier, equal loss", "P2"),
    ("5 items of 1,000 at -200, equal loss", "P2"),
    ("nine, slopes N(0, .25)", "P2"),
    ("3 masks, mean 0", "P2"),
    ("a rise of 0.03 at one step, 2 families of 100 items per tier", "P1"),
    ("equal, fine grid, logits x1.3", "P3"),
    ("the same tiers' law, equal losses", "P4"),
    ("the same law of loss, 0.3 more per tier", "P6"),
)


@pytest.mark.parametrize(("name", "claim"), WITHOUT_EFFECT)
def test_what_is_not_there_is_hardly_ever_called_supported(
    honesty: ModuleType, name: str, claim: str
) -> None:
    found = verdicts(honesty, named(honesty, name), claim)
    assert found.count("supported") <= MOST, (name, found)


WITH_EFFECT = (
    ("0.4 more loss per tier", "P2", "supported"),
    ("0.3 less loss per tier", "P2", "refuted"),
    ("only magnitude has 0.3 per tier", "P6", "supported"),
    ("pruning 0.4 per tier, quantization 0", "P4", "supported"),
)


@pytest.mark.parametrize(("name", "claim", "verdict"), WITH_EFFECT)
def test_what_is_there_is_found(honesty: ModuleType, name: str, claim: str, verdict: str) -> None:
    assert verdicts(honesty, named(honesty, name), claim, 10) == [verdict] * 10


def test_a_true_effect_under_flatter_logits_is_not_refuted(honesty: ModuleType) -> None:
    world = named(honesty, "logits x0.7 with the level, 0.3 more per tier")
    assert verdicts(honesty, world, "P2", 10).count("refuted") == 0


@pytest.mark.parametrize("cut", [Cut(), Cut(2)])
def test_tiers_cut_from_a_judged_run_are_not_judged(honesty: ModuleType, cut: Cut) -> None:
    world = World(step=0.0, easiness=1.5, noise=1.2, cut=cut)
    assert verdicts(honesty, world, "P2", 5) == ["inconclusive"] * 5


def test_a_coarse_grid_gives_no_verdict_on_critical_levels(honesty: ModuleType) -> None:
    for name in (
        "fall of .05 per tier, all passed at the first level",
        "fall of .05 per tier, all within one wide step",
    ):
        assert verdicts(honesty, named(honesty, name), "P3", 5) == ["inconclusive"] * 5


def test_few_items_do_not_show_that_little_is_lost(honesty: ModuleType) -> None:
    assert verdicts(honesty, named(honesty, "0.1 is lost, 8 items"), "P1").count("refuted") <= MOST


def test_one_mask_is_said_to_be_one(honesty: ModuleType) -> None:
    world = World(arms=(Arm("random", replicate_sd=0.1, share=0.3),))
    says = honesty.judge(world, ("P2",), 0)["P2"]["says"]
    assert "for this mask" in says
    many = World(arms=(Arm("random", replicate_sd=0.1, share=0.3, replicates=3),))
    assert "this mask" not in honesty.judge(many, ("P2",), 0)["P2"]["says"]


def test_intervals_of_clustered_items_cover_and_naive_ones_do_not(honesty: ModuleType) -> None:
    from honesty_means import coverage

    found = coverage(40, 600)
    assert found.naive < 0.85
    # 0.95 +- 0.02, and two standard errors of 600 draws
    assert abs(found.clustered - 0.95) <= 0.038
    assert abs(found.bootstrap - 0.95) <= 0.038


def arguments(folder: Path, **changes: object) -> argparse.Namespace:
    found = argparse.Namespace(runs=2, worlds="t3 noise", jobs=1, folder=folder, output=None)
    for name, value in changes.items():
        setattr(found, name, value)
    return found


def test_a_run_that_was_cut_short_goes_on_where_it_was(honesty: ModuleType, tmp_path: Path) -> None:
    honesty.report(arguments(tmp_path))
    files = sorted(tmp_path.glob("*.jsonl"))
    first = {file.name: file.read_text(encoding="utf-8").splitlines() for file in files}
    assert len(files) == 2 and all(len(lines) == 2 for lines in first.values())
    for file in files:  # the second draw was cut short
        one, two = first[file.name]
        file.write_text(f"{one}\n{two[:20]}", encoding="utf-8")
    text, _ = honesty.report(arguments(tmp_path, runs=3))
    for file in files:
        lines = file.read_text(encoding="utf-8").splitlines()
        assert lines[0] == first[file.name][0]
        assert {json.loads(line)["seed"] for line in (lines[0], *lines[2:])} == {0, 1, 2}
        assert json.loads(lines[2]) == json.loads(first[file.name][1])
    assert "| t3 noise of SD 1.2, equal loss | P2 |" in text


def test_words_that_no_world_holds_are_refused(honesty: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no section or name of a world holds it"):
        honesty.report(arguments(tmp_path, worlds="nonsense"))


def test_marks_allow_for_the_noise_of_the_simulation_alone(honesty: ModuleType) -> None:
    def mark(kind: str, supported: float = 0.0, refuted: float = 0.0, covered: float = 0.95) -> str:
        shares = {"supported": supported, "refuted": refuted, "inconclusive": 1 - supported - refuted}
        return honesty._mark(honesty.Want("P2", kind), shares, {"T": covered}, 200)

    assert mark("no effect", supported=0.08) == "ok" and mark("no effect", supported=0.085) == "NOT MET"
    assert mark("effect", refuted=0.08) == "ok" and mark("effect", refuted=0.085) == "NOT MET"
    assert mark("coverage", covered=0.90) == "ok" and mark("coverage", covered=0.89) == "NOT MET"
    assert mark("coverage", covered=1.0) == "NOT MET" and mark("inconclusive") == "ok"
    assert mark("inconclusive", supported=0.1) == "NOT MET" and mark("shown", supported=1.0) == ""


def test_every_world_has_one_name(honesty: ModuleType) -> None:
    keys = [(case.section, case.name) for case in honesty.chosen(None)]
    assert len(keys) == len(set(keys))
    assert np.unique([name for _, name in keys]).size == len(keys)
