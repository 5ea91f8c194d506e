"""P5 by budget: each number of steps beside its own dense model, the curve over them, and what it says of the slope."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

from difficulty.judge.budget_rows import budgets_csv, change_sentence, sentences
from difficulty.judge.budgets import BudgetCurve, over_budgets
from difficulty.judge.fit import FitResult, fit
from difficulty.judge.fit_output import models_to_json, to_json
from difficulty.judge.judgement import judge_panel
from difficulty.judge.over_models import ModelsResult, fit_models
from difficulty.judge.verdicts import Rules
from difficulty.runs.read import Runs
from difficulty.simulate.draw import replicate_slopes, simulate, tidy
from difficulty.simulate.world import Arm, World
from tests.difficulty.judge.worlds import FEW, rows_of

WAY, DENSE = "magnitude+sparse_transfer", "dense+dense_transfer"
PRUNED = Arm("magnitude", (0.5, 0.7), (0.8, 1.2), share=0.5)


def world(
    gaps: dict[int, float], names: tuple[str, ...] = ("",), replicates: int = 1, sd: float = 0.0, **more: Any
) -> World:
    """Trainings of so many steps, each with its dense model; the gap's slope on the tier is 0.8 times `gaps`."""
    arms = [PRUNED]
    for name in names:
        for steps, gap in gaps.items():
            arms.append(Arm(f"{DENSE}{name}~{steps}steps", (0.0,), (-0.2,), replicates=replicates))
            arms.append(
                Arm(f"{WAY}{name}~{steps}steps", (0.5, 0.7), (0.6, 1.0), share=gap, replicates=replicates, replicate_sd=sd)
            )  # fmt: skip
    return World(tuple(arms), **{"families": 3, "items": 150, **more})


def judged(rows: pd.DataFrame, runs: pd.DataFrame | None = None) -> FitResult:
    return fit(rows, runs, claims=("P5",), n_resamples=FEW)


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return tidy(world({100: 0.9, 400: 0.1}, families=6), 0)


@pytest.fixture(scope="module")
def result(rows: pd.DataFrame) -> FitResult:
    return judged(rows)


def position(rows: pd.DataFrame, scale: str, family: str, tier: int, method: str, level: float) -> float:
    """Where a tier of a run lies on T or A, from its formula."""
    own = rows[(rows["family"] == family) & (rows["tier"] == tier) & (rows["method"] == method)]
    own = own[np.isclose(own["level"], level)]
    if scale == "T":
        return float(stats.trim_mean(own.loc[own["metric"] == "margin", "value"], 0.1))
    right = own.loc[own["metric"] == "acc", "value"]
    return float(1.702 * special.ndtri((right.sum() + 0.5) / (len(right) + 1)))


def plain_slope(rows: pd.DataFrame, scale: str, method: str, control: str) -> float:
    """The slope of the gap on the tier, a line through the tiers of each family and level, and their mean."""
    slopes = []
    for family in rows["family"].unique():
        for level in (0.5, 0.7):
            gaps = [
                position(rows, scale, family, tier, control, 0.0) - position(rows, scale, family, tier, method, level)
                for tier in (1, 2, 3, 4)
            ]  # fmt: skip
            slopes.append(np.polyfit([1, 2, 3, 4], gaps, 1)[0])
    return float(np.mean(slopes))


def test_the_slope_at_each_budget_is_that_of_a_line_through_the_gaps(
    rows: pd.DataFrame, result: FitResult
) -> None:
    (curve,) = result.budgets
    assert [b.steps for b in curve.budgets] == [0, 100, 400]
    assert (curve.method, curve.levels) == (WAY, (0.5, 0.7))
    claims = {c.method: c for c in rows_of(result, "P5") if c.scope.pooled}
    for scale in ("T", "A"):
        plain = {
            0: plain_slope(rows, scale, "magnitude", "dense"),
            **{s: plain_slope(rows, scale, f"{WAY}~{s}steps", f"{DENSE}~{s}steps") for s in (100, 400)},
        }
        for budget in curve.budgets:
            assert budget.slope[scale].these.estimate == pytest.approx(plain[budget.steps], abs=1e-9)
        for change in curve.changes:
            wanted = plain[change.end] - plain[change.start]
            assert change.effects[scale].these.estimate == pytest.approx(wanted, abs=1e-9)
    assert [(c.start, c.end) for c in curve.changes] == [(0, 400), (100, 400)]
    for budget in curve.budgets[1:]:
        scales = claims[budget.method].details["scales"]
        assert {name: effect.as_dict() for name, effect in budget.slope.items()} == scales


def test_each_tier_has_its_score_and_how_far_it_is_behind(rows: pd.DataFrame, result: FitResult) -> None:
    acc = rows[rows["metric"] == "acc"].groupby(["method", "level", "tier"])["value"].mean()
    (curve,) = result.budgets
    for budget in curve.budgets:
        method = f"{WAY}~{budget.steps}steps" if budget.steps else "magnitude"
        control = f"{DENSE}~{budget.steps}steps" if budget.steps else "dense"
        for tier in budget.tiers:
            score = np.mean([acc[method, level, tier.tier] for level in (0.5, 0.7)])
            assert (tier.score, tier.control) == pytest.approx((score, acc[control, 0.0, tier.tier]))
            assert tier.points.these.estimate == pytest.approx(tier.control - tier.score)


def test_a_slope_that_falls_with_more_steps_is_said_to_fall(result: FitResult) -> None:
    first, second = result.budgets[0].changes
    assert (first.direction, second.direction) == ("falls", "falls")
    said = change_sentence(second, result.rules)
    assert (
        said.startswith("from 100 steps to 400 steps the slope falls: -0.")
        and "in families like these (6)" in said
    )
    assert change_sentence(first, result.rules).startswith(
        "from before training to 400 steps the slope falls"
    )


def test_a_slope_that_rises_and_one_of_which_nothing_is_known() -> None:
    rises = judged(tidy(world({100: 0.1, 400: 0.9}, families=6), 0)).budgets[0].changes[1]
    assert rises.direction == "rises"
    assert rises.about == "families like these (6), for this training"
    open_ = judged(tidy(world({100: 0.4, 400: 0.3}, items=30), 0))
    change = open_.budgets[0].changes[1]
    assert change.direction == "cannot be told"
    assert "it cannot be told whether the slope falls or rises" in change_sentence(change, open_.rules)


def test_a_slope_that_hardly_moves_is_said_to_stay() -> None:
    rows = tidy(world({100: 0.4, 400: 0.4}), 0)
    same = rows[~rows["method"].str.contains("~400")]
    copied = same[same["method"].str.contains("~100")]
    for name in ("method", "run"):
        copied = copied.assign(**{name: copied[name].str.replace("~100", "~400")})
    rows = pd.concat([same, copied], ignore_index=True)
    change = judged(rows).budgets[0].changes[1]
    assert change.direction == "stays" and change.main is not None and abs(change.main.estimate) < 1e-12


def test_budgets_and_adapters_are_corrected_together_and_the_most_steps_are_the_headline() -> None:
    result = judged(tidy(world({100: 0.5, 400: 0.5, 200: 0.5}, ("", "_lora"), items=60), 0))
    pooled = [c for c in rows_of(result, "P5") if c.scope.pooled]
    assert [c.method for c in pooled][:2] == [f"{WAY}~400steps", f"{WAY}_lora~400steps"]
    assert len(pooled) == 6 and result.headline()["P5"].method == f"{WAY}~400steps"
    p = np.sort(np.array([c.p for c in pooled], dtype=float))
    assert np.sort(np.array([c.p_holm for c in pooled], dtype=float)) == pytest.approx(
        np.minimum(1, np.maximum.accumulate((6 - np.arange(6)) * p))
    )
    changes = [change for curve in result.budgets for change in curve.changes]
    assert len(changes) == 4
    each = np.sort(np.array([max(e.p for e in c.effects.values()) for c in changes]))
    assert np.sort(np.array([c.p_holm for c in changes])) == pytest.approx(
        np.minimum(1, np.maximum.accumulate((4 - np.arange(4)) * each))
    )


def test_the_headline_is_about_the_highest_rate_then_no_adapter_then_all_data() -> None:
    found = []
    for name in ("~lr0.001", "~lr0.0001", "_lora~lr0.001", "@0.5~lr0.001"):
        found.append(Arm(f"{DENSE}{name}", (0.0,), (-0.2,)))
        found.append(Arm(f"{WAY}{name}", (0.5, 0.7), (0.6, 1.0)))
    result = judged(tidy(World((PRUNED, *found), families=3, items=40), 0))
    pooled = [c.method.removeprefix(WAY) for c in rows_of(result, "P5") if c.scope.pooled]
    assert pooled == ["~lr0.001", "@0.5~lr0.001", "_lora~lr0.001", "~lr0.0001"]
    assert result.budgets == ()  # of no training is the number of steps known


def test_a_dense_model_of_other_steps_is_no_control() -> None:
    rows = tidy(world({100: 0.5, 400: 0.5}, items=40), 0)
    found = judged(rows[rows["method"] != f"{DENSE}~400steps"])
    assert found.headline()["P5"].method == f"{WAY}~100steps"
    (without,) = [c for c in rows_of(found, "P5") if c.method == f"{WAY}~400steps"]
    assert without.verdict == "not tested" and f"(method {DENSE}~400steps, level 0)" in without.reason
    assert [b.steps for b in found.budgets[0].budgets] == [0, 100]


def test_local_reconstruction_is_judged_beside_the_dense_model_itself() -> None:
    arm = Arm("magnitude+local_reconstruction~50steps", (0.5, 0.7), (0.6, 1.0), share=0.6)
    rows = tidy(World((PRUNED, arm), families=3, items=150), 0)
    claim = judged(rows).headline()["P5"]
    assert claim.verdict == "supported"
    assert "compared with the dense model itself, untrained" in claim.reason
    assert claim.reason.endswith("Not recovered by this much training: 50 steps for each block.")
    these = claim.details["scales"]["T"]["these"]["estimate"]
    assert these == pytest.approx(plain_slope(rows, "T", arm.method, "dense"))


def named(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows without steps in the names, and the table of their runs."""
    for name in ("method", "run"):
        rows = rows.assign(**{name: rows[name].str.replace("~100steps", "")})
    runs = rows[["run", "model", "method", "level", "bits", "replicate"]].drop_duplicates("run")
    return rows, runs.reset_index(drop=True)


def with_manifests(runs: pd.DataFrame, **of_dense: Any) -> pd.DataFrame:
    facts = {
        "steps": 100,
        "lr": 0.001,
        "batch_size": 8,
        "seed": 0,
        "data": "graded",
        "data_sha256": "a",
        "adapter": None,
    }

    def manifest(method: str) -> str:
        own = {**facts, **(of_dense if method == DENSE else {})}
        return json.dumps({"recovery": own} if "transfer" in method else {})

    return runs.assign(manifest=runs["method"].map(manifest))


def test_steps_are_known_from_manifests_where_no_name_holds_them() -> None:
    rows, runs = named(tidy(world({100: 0.9}), 0))
    plain, told = judged(rows, runs), judged(rows, with_manifests(runs))
    assert plain.headline()["P5"].estimate == told.headline()["P5"].estimate
    assert "training:" not in plain.headline()["P5"].reason and plain.budgets == ()
    claim = told.headline()["P5"]
    assert claim.reason.endswith("Not recovered by this much training: 100 steps.")
    assert (claim.details["steps"], claim.details["trained"]) == (100, "100 steps")
    assert [b.steps for b in told.budgets[0].budgets] == [0, 100]


@pytest.mark.parametrize(
    ("of_dense", "said"),
    [
        ({"steps": 400}, r"steps \(100 and 400\)"),
        ({"batch_size": 32}, r"batch_size \(8 and 32\)"),
        ({"lr": 2e-5}, r"lr \(0.001 and 2e-05\)"),
        ({"data_sha256": "b"}, "data_sha256"),
    ],
)
def test_a_dense_model_that_was_trained_otherwise_is_no_control(of_dense: dict[str, Any], said: str) -> None:
    rows, runs = named(tidy(world({100: 0.5}, items=40), 0))
    claim = judged(rows, with_manifests(runs, **of_dense)).headline()["P5"]
    assert claim.verdict == "not tested"
    assert (
        pd.Series([claim.reason])
        .str.contains(f"to compare with: the dense model was trained otherwise: .*{said}")
        .all()
    )


def test_another_share_of_the_data_by_another_seed_is_no_difference() -> None:
    rows, runs = named(tidy(world({100: 0.5}, items=40), 0))
    claim = judged(rows, with_manifests(runs, data_sha256="b", seed=1)).headline()["P5"]
    assert claim.verdict != "not tested"


def test_json_and_csv_hold_the_curves(result: FitResult) -> None:
    (curve,) = json.loads(to_json(result))["budgets"]
    assert [b["steps"] for b in curve["budgets"]] == [0, 100, 400]
    assert set(curve["budgets"][1]["slope"]) == {"T", "S", "A"}
    assert [t["tier"] for t in curve["budgets"][0]["tiers"]] == [1, 2, 3, 4]
    assert [c["says"] for c in curve["changes"]] == ["falls", "falls"]
    read = pd.read_csv(io.StringIO(budgets_csv({"m": result.budgets})))
    assert read["what"].value_counts().to_dict() == {"gap": 12, "points": 12, "slope": 9, "change": 6}
    slope = read[(read["what"] == "slope") & (read["steps"] == 400) & (read["scale"] == "T")]["estimate"]
    assert slope.item() == pytest.approx(result.headline()["P5"].estimate)


def test_the_tiers_of_a_change_are_above_chance_at_both_budgets() -> None:
    """The hardest tier is lost at 100 steps and there at 400: it comes in at 400 alone, and may not move the slope."""
    rows = tidy(world({100: 0.5, 400: 0.5}, chance=0.25, easiness=3.0, items=300), 0)
    g = np.random.default_rng(0)
    lost = ((rows["method"] == f"{WAY}~100steps") & (rows["tier"] == 4)).to_numpy()
    guessed = np.where(rows["metric"] == "acc", g.random(len(rows)) < 0.25, g.normal(-3, 1, len(rows)))
    rows["value"] = np.where(lost, guessed, rows["value"])
    found = judged(rows)
    (curve,) = found.budgets
    hard = {b.steps: b.tiers[3].at_chance for b in curve.budgets}
    assert (hard[100], hard[400]) == (3, 0)
    three = judged(rows[rows["tier"] < 4]).budgets[0].changes[1].effects["T"].these
    assert curve.changes[1].effects["T"].these.estimate == pytest.approx(three.estimate)


def at_levels(levels: dict[int, tuple[float, ...]]) -> World:
    """One way of recovery whose budgets were evaluated at levels of their own."""
    arms = [Arm("magnitude", (0.5, 0.6, 0.7), (0.8, 1.0, 1.2), share=0.5)]
    for steps, own in levels.items():
        arms.append(Arm(f"{DENSE}~{steps}steps", (0.0,), (-0.2,)))
        arms.append(Arm(f"{WAY}~{steps}steps", own, tuple(0.6 + 0.1 * k for k in range(len(own)))))
    return World(tuple(arms), families=3, items=100)


@pytest.mark.parametrize(
    ("levels", "shared", "said"),
    [
        ({100: (0.5, 0.7), 400: (0.5, 0.7)}, (0.5, 0.7), []),
        (
            {100: (0.5, 0.6), 400: (0.5, 0.7)},
            (0.5,),
            [
                f"{WAY}: only levels that all budgets have are in its curve, 0.5 (100 steps: 0.5, 0.6; 400 steps: 0.5, 0.7)."
            ],
        ),
        (
            {100: (0.5,), 400: (0.7,)},
            (),
            [
                f"{WAY}: its budgets were evaluated at levels that none of the others has (100 steps: 0.5; 400 steps: 0.7), so they are not "
                "one curve."
            ],
        ),
    ],
)
def test_a_level_that_not_all_budgets_have_is_left_out_with_a_word(
    levels: dict[int, tuple[float, ...]], shared: tuple[float, ...], said: list[str]
) -> None:
    found = judged(tidy(at_levels(levels), 0))
    (curve,) = found.budgets
    assert curve.levels == shared and bool(curve.budgets) == bool(shared)
    assert [one for one in sentences(curve, found.rules) if "levels" in one] == said
    assert json.loads(to_json(found))["budgets"][0]["note"] == "".join(one.partition(": ")[2] for one in said)


def test_budgets_at_other_levels_are_not_put_together_over_trainings() -> None:
    curve = judged(tidy(world({100: 0.5, 400: 0.4}), 0)).budgets[0]
    elsewhere = replace(curve, levels=(0.6,))
    (over,) = over_budgets({"m": [curve], "m:1": [curve], "m:2": [elsewhere]}, ", ".join, Rules())
    assert over.levels == curve.levels and over.changes[0].about == "m, m:1"
    assert over.note == "left out, as they are not at the levels of the others, 0.5, 0.7: m:2 (at 0.6)."
    (none,) = over_budgets({"m": [curve], "m:2": [elsewhere]}, ", ".join, Rules())
    assert none == BudgetCurve(curve.method, (), note=none.note) and "m:2 (at 0.6)" in none.note


# Three trainings of one model, each with its own recovered runs.


def of_models(
    gaps: list[dict[int, float]], names: tuple[str, ...] = ("m", "m:1", "m:2"), **more: Any
) -> ModelsResult:
    tables = [
        tidy(replace(world(own, **{"items": 60, **more}), model=name), k)
        for k, (own, name) in enumerate(zip(gaps, names, strict=True))
    ]
    rows = pd.concat(tables, ignore_index=True)
    facts = rows[["run", "model", "method", "level", "bits", "replicate"]].drop_duplicates("run")
    return fit_models(Runs(rows, facts.reset_index(drop=True)), claims=("P5",), n_resamples=FEW)


@pytest.fixture(scope="module")
def three() -> ModelsResult:
    return of_models([{100: 0.9 + 0.01 * k, 400: 0.1 - 0.01 * k} for k in range(3)])


def test_each_budget_is_judged_over_trainings(three: ModelsResult) -> None:
    assert [(c.method, c.scope.headline) for c in three.over] == [
        (f"{WAY}~400steps", True),
        (f"{WAY}~100steps", False),
    ]
    assert three.headline()["P5"] is three.over[0]
    for claim in three.over:
        own = [three.own(model, claim) for model in three.results]
        assert [c.method for c in own if c is not None] == [claim.method] * 3
        assert claim.estimate == pytest.approx(
            np.mean([c.estimate for c in own if c is not None and c.estimate])
        )
        assert claim.about == "trainings like these (3)" and claim.over == ("items", "3 trainings")
    assert three.over[1].verdict == "supported"
    assert three.over[1].reason.endswith("Not recovered by this much training: 100 steps.")
    p = sorted(float(c.p or 0) for c in three.over)
    assert sorted(float(c.p_holm or 0) for c in three.over) == pytest.approx([2 * p[0], max(2 * p[0], p[1])])


def test_the_curve_over_trainings_is_their_mean(three: ModelsResult) -> None:
    (curve,) = three.budgets

    def own(pick: Any) -> float:
        return float(np.mean([pick(result.budgets[0]) for result in three.results.values()]))

    assert [b.steps for b in curve.budgets] == [0, 100, 400]
    for k, budget in enumerate(curve.budgets):
        mean = own(lambda c, k=k: c.budgets[k].slope["T"].deciding.estimate)
        assert budget.slope["T"].deciding.estimate == pytest.approx(mean)
        assert budget.slope["T"].deciding.over == ("items", "3 trainings")
        hardest = own(lambda c, k=k: c.budgets[k].tiers[3].gap.deciding.estimate)
        assert budget.tiers[3].gap.deciding.estimate == pytest.approx(hardest)
    change = curve.changes[1]
    assert change.effects["S"].deciding.estimate == pytest.approx(
        own(lambda c: c.changes[1].effects["S"].deciding.estimate)
    )
    assert (change.direction, change.about) == ("falls", "trainings like these (3)")
    document = json.loads(models_to_json(three))
    assert document["budgets"][0]["changes"][1]["says"] == "falls"
    assert len(document["models"][0]["budgets"]) == 1


def test_a_way_that_one_training_lacks_is_judged_on_the_others_and_never_mixed() -> None:
    found = of_models([{100: 0.6, 400: 0.6}, {100: 0.6}, {100: 0.6, 400: 0.6}])
    assert [(c.method, len(c.details["models"])) for c in found.over] == [
        (f"{WAY}~100steps", 3),
        (f"{WAY}~400steps", 2),
    ]
    assert "Not judged: m:1" in found.over[1].reason
    assert all(set(c.details["models"]) <= {"m", "m:2"} for c in found.over[1:])


def test_what_a_recovery_drew_for_itself_is_in_the_spread_of_trainings_once(three: ModelsResult) -> None:
    """Two seeds of each recovery are known on one degree of freedom: their own interval is wide, that over trainings need not be."""
    found = of_models([{100: 0.9}] * 3, replicates=2, sd=0.05)
    claim = found.headline()["P5"]
    widths = [own.ci_high - own.ci_low for own in (r.headline()["P5"] for r in found.results.values())]  # type: ignore[operator]
    assert claim.ci_high is not None and claim.ci_low is not None
    effects = [r.headline()["P5"].details["scales"]["T"] for r in found.results.values()]
    shared = np.mean([e["shared_error"] ** 2 for e in effects])
    between = np.var([e["like"]["estimate"] for e in effects], ddof=1) / 3
    t = (shared * stats.t.ppf(0.975, claim.n_clusters - 1) + between * stats.t.ppf(0.975, 2)) / (
        shared + between
    )
    assert claim.ci_high - claim.ci_low == pytest.approx(2 * t * np.sqrt(shared + between), rel=1e-6)
    assert claim.ci_high - claim.ci_low < max(widths)


# Honesty: little is claimed where nothing is, and intervals hold what is true.


def drawn(the_world: World, seed: int) -> tuple[list[str], BudgetCurve]:
    found, claims = judge_panel(simulate(the_world, seed), Rules(), {}, ("P5",), 200, seed, tables=False)
    return [c.verdict for c in claims if c.scope.pooled], found.budgets[0]


def test_without_a_gap_that_grows_with_the_tier_hardly_any_budget_is_called_supported() -> None:
    flat = world({50: 0.0, 100: 0.0, 400: 0.0}, items=50, families=4)
    found = [drawn(flat, seed) for seed in range(30)]
    assert (
        sum("supported" in verdicts for verdicts, _ in found) <= 4
    )  # at 5 %: above 4 of 30 in 0.3 % of all tests
    assert sum(curve.changes[1].direction in ("falls", "rises") for _, curve in found) <= 4


@pytest.mark.parametrize(("families", "replicates"), [(4, 1), (1, 3)])
def test_the_change_of_the_slope_is_covered(families: int, replicates: int) -> None:
    the_world = world({100: 0.5, 400: 0.1}, replicates=replicates, sd=0.1, items=50, families=families)
    truth, held = 0.8 * (0.1 - 0.5), 0
    for seed in range(30):
        change = drawn(the_world, seed)[1].changes[1].effects["T"].deciding
        drift = 0.0
        if replicates == 1:  # the one training that was drawn is taken as it is
            at = [k for k, arm in enumerate(the_world.arms) if arm.method.startswith(WAY)]
            drift = float(
                replicate_slopes(the_world, seed, at[1])[0] - replicate_slopes(the_world, seed, at[0])[0]
            )
        held += change.ci_low <= truth + drift <= change.ci_high
    assert held >= 25  # at 95 %: below 25 of 30 in 0.3 % of all tests
