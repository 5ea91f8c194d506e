from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from difficulty.errors import UsageError
from difficulty.judge.fit import FitResult, fit
from difficulty.judge.fit_output import claims_csv, methods_paragraph, to_json
from difficulty.judge.verdicts import Rules
from difficulty.runs.read import Runs
from tests.difficulty.judge.simulated import quantized, recovered, table

FEW = 400


def judged(rows: pd.DataFrame, **options: Any) -> FitResult:
    return fit(rows, n_resamples=FEW, **options)


def verdicts(result: FitResult) -> dict[str, str]:
    return {name: claim.verdict for name, claim in result.headline().items()}


# Levels so near that every tier's mark lies between two that are no further apart than P3 can resolve.
FINE = tuple(np.round(np.arange(0.02, 0.82, 0.02), 2))


@pytest.mark.parametrize(
    ("extra", "p2", "p3"),
    [(0.4, "supported", "supported"), (-0.4, "refuted", "refuted")],
)
def test_only_a_latent_loss_that_grows_with_the_tier_is_support(extra: float, p2: str, p3: str) -> None:
    rows = table(extra, items=300, levels=FINE, step=0.3, easy=2.0, noise=0.0)
    assert verdicts(judged(rows, claims=["P3"]))["P3"] == p3
    claim = judged(table(extra, items=150), claims=["P2"]).headline()["P2"]
    assert claim.verdict == p2
    slope = 2.5 * np.mean(claim.details["levels_used"]["a"]) * extra
    assert claim.estimate == pytest.approx(slope, abs=0.05)


def test_scores_that_fall_at_every_step_support_p1_and_what_was_not_run_is_not_tested() -> None:
    found = verdicts(judged(table(0.4, items=150)))
    assert found["P1"] == "supported"
    assert {found[name] for name in ("P4", "P4 memory", "P5", "P6")} == {"not tested"}


def test_equal_latent_loss_is_not_supported_though_harder_tiers_lose_more_accuracy() -> None:
    claim = judged(table(0.0, items=300), claims=["P2"]).headline()["P2"]
    assert claim.details["sensitivity"]["retention"]["ci_low"] > 0
    assert claim.verdict == "inconclusive"
    assert claim.details["scales"]["T"]["these"]["ci_high"] < 0.1
    assert "an effect of 0.1 is excluded on T (trimmed mean of the margins)" in claim.reason


def test_without_margins_accuracies_go_through_three_links() -> None:
    rows = table(0.6, items=400, margins=False, step=0.4, easy=2.0, levels=(0.2, 0.3, 0.4))
    result = judged(rows)
    assert result.headline()["P2"].verdict == "supported"
    single = next(c for c in result.claims if c.claim == "P2" and c.family == "a")
    assert list(single.details["scales"]) == ["A", "C", "L"]


def test_a_family_at_the_ceiling_without_margins_is_not_tested() -> None:
    result = judged(table(0.4, items=100, margins=False, easy=6.0))
    assert {c.verdict for c in result.claims if c.claim == "P2"} == {"not tested"}
    assert any("at the ceiling" in sentence for sentence in result.excluded)


def test_replicates_are_averaged_and_their_spread_shown() -> None:
    base = table(items=40, methods={"random": 1.0})
    more = table(items=40, methods={"random": 1.0}, seed=0)
    extra = more[more["method"] == "random"].assign(replicate=1, run=more["run"] + " #1")
    extra = extra.assign(value=np.where(extra["metric"] == "acc", 0.0, extra["value"] - 1))
    result = judged(pd.concat([base, extra], ignore_index=True))
    row = result.cells.query("family == 'a' and tier == 1 and level == 0.2").iloc[0]
    alone = judged(base).cells.query("family == 'a' and tier == 1 and level == 0.2").iloc[0]
    assert row["n_replicates"] == 2
    assert row["score"] == pytest.approx(alone["score"] / 2)
    assert row["replicate_sd"] > 0
    claim, one = (r.headline()["P1"] for r in (result, judged(base)))
    assert claim.over == ("items", "2 masks") and one.over == ("items",)
    assert claim.ci_high - claim.ci_low > 2 * (one.ci_high - one.ci_low)
    assert one.about.endswith("for this mask") and "mask" not in claim.about


def test_a_tier_at_chance_takes_no_part_and_is_listed() -> None:
    rows = table(0.4, items=120, chance=0.25, step=0.4)
    g = np.random.default_rng(5)
    worst = (rows["tier"] == 3) & (rows["metric"] == "acc")
    rows.loc[worst, "value"] = (g.random(int(worst.sum())) < 0.25).astype(float)
    result = judged(rows)
    assert len(result.excluded) == 2
    assert "a tier 3 takes no part" in result.excluded[0]
    assert not result.cells.query("tier == 3")["takes_part"].any()
    assert result.headline()["P2"].n_items == 2 * 2 * 120


def test_tiers_cut_from_the_judged_run_are_flagged_and_not_judged() -> None:
    rows = table(0.0, items=90, step=0.0)
    dense = rows[(rows["method"] == "dense") & (rows["metric"] == "margin")]
    rank = dense.groupby("family")["value"].rank(ascending=False)
    tiers = dict(zip(dense["item_id"], 1 + ((rank - 1) // 90).astype(int), strict=True))
    rows["tier"] = rows["item_id"].map(tiers)
    rows["task"] = rows["family"] + "_t" + rows["tier"].astype(str)
    result = judged(rows)
    assert result.headline()["P2"].verdict == "inconclusive"
    assert "regression to the mean" in result.headline()["P2"].reason
    assert any("cut from the scores of 'm dense'" in w for w in result.warnings)


def test_a_rise_refutes_monotony() -> None:
    rows = table(0.0, items=200, levels=(0.2, 0.8, 0.6))
    swapped = rows["level"].map({0.0: 0.0, 0.2: 0.2, 0.6: 0.8, 0.8: 0.6})
    rows = rows.assign(level=swapped, run="m " + rows["method"] + swapped.astype(str))
    claim = judged(rows).headline()["P1"]
    assert claim.verdict == "refuted"
    assert "rises from level 0.6 to 0.8" in claim.reason


def test_no_loss_refutes_decline_and_leaves_the_order_open() -> None:
    result = judged(table(items=200, methods={"magnitude": 0.0}))
    assert verdicts(result)["P1"] == "refuted"
    assert verdicts(result)["P2"] != "supported"


def test_magnitude_is_the_headline_and_other_methods_have_their_own_pooled_rows() -> None:
    result = judged(table(0.4, items=60, methods={"random": 1.3, "magnitude": 1.0}))
    assert result.primary == "magnitude"
    pooled = {c.family for c in result.claims if c.family.startswith("pooled")}
    assert pooled == {"pooled", "pooled/random", "pooled/magnitude vs random"}
    assert result.headline()["P6"].details["missing"] == ["largest"]


def test_quantization_that_orders_less_supports_p4_at_equal_loss_and_at_equal_memory() -> None:
    rows = table(0.5, items=150, levels=(0.2, 0.4, 0.6))
    flat = quantized(rows, {8: (0.5, 0.5, 0.5), 10: (0.3, 0.3, 0.3)})
    same = quantized(rows, {8: (0.7, 1.25, 2.0), 10: (0.55, 1.06, 1.6)})
    assert verdicts(judged(flat))["P4"] == "supported"
    assert verdicts(judged(same))["P4"] != "supported"
    claim = judged(flat).headline()["P4"]
    assert claim.method == "magnitude vs rtn"
    assert claim.details["at"]["b"]["effective_bits"] == [10.0, 8.0]
    memory = judged(flat).headline()["P4 memory"]
    assert (memory.verdict, memory.details["at"]["a"]["effective_bits"]) == ("supported", [10.0, 8.0])


def test_effective_bits_come_from_the_runs_table() -> None:
    rows = quantized(table(0.5, items=60), {8: (0.5, 0.5, 0.5)})
    runs = pd.DataFrame({"run": rows["run"].unique()})
    runs["effective_bits"] = [8.25 if "rtn" in r else 12.0 for r in runs["run"]]
    result = judged(rows, runs=runs)
    assert result.cells.query("kind == 'quantized'")["effective_bits"].unique() == [8.25]
    assert not any("nominal bits" in w for w in result.warnings)
    assert any("nominal bits" in w for w in judged(rows).warnings)


@pytest.mark.parametrize(("gaps", "verdict"), [((0.2, 0.6, 1.2), "supported"), ((0.9, 0.5, 0.1), "refuted")])
def test_recovery_that_leaves_hard_tiers_behind_supports_p5(gaps: tuple[float, ...], verdict: str) -> None:
    result = judged(recovered(table(0.4, items=150, step=0.5), gaps))
    claim = result.headline()["P5"]
    assert (claim.verdict, claim.method) == (verdict, "magnitude+sparse_transfer")
    single = next(c for c in result.claims if c.claim == "P5" and c.family == "a")
    first = single.details["levels"][0]
    assert first["gap_after"] == pytest.approx(gaps[0], abs=0.15)
    assert first["recovered"] == pytest.approx(1 - first["gap_after"] / first["gap_before"])


def test_recovery_without_an_equally_trained_dense_model_is_not_tested() -> None:
    rows = recovered(table(items=40), (0.5, 0.5, 0.5))
    claim = judged(rows[rows["method"] != "dense+dense_transfer"]).headline()["P5"]
    assert claim.verdict == "not tested"
    assert "no dense model trained as long" in claim.reason


def test_option_loglikelihoods_give_the_divergence() -> None:
    rows = table(items=10)
    margin = rows["metric"] == "margin"
    rows["option_loglik"] = [
        [-1.0, -1.0 - v] if m else None for v, m in zip(rows["value"], margin, strict=True)
    ]
    cells = judged(rows, claims=["P1"]).cells
    assert cells.query("method == 'dense'")["kl"].max() == 0
    assert (cells.query("level == 0.8")["kl"] > cells.query("level == 0.2")["kl"].to_numpy()).all()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    rows = table(0.4)
    first = to_json(judged(rows))
    assert first == to_json(judged(rows.sample(frac=1, random_state=1)))
    assert first != to_json(judged(rows, seed=1))


def test_json_has_the_documented_shape_and_no_nan() -> None:
    document = json.loads(to_json(judged(table(0.4))))
    assert document["schema"] == 2
    assert document["hypothesis"]["verdict"] == "not tested"
    keys = {
        "claim",
        "family",
        "method",
        "verdict",
        "estimate",
        "unit",
        "ci_low",
        "ci_high",
        "p",
        "p_holm",
        "n_items",
        "n_clusters",
        "rule",
    }
    assert all(keys <= set(claim) for claim in document["claims"])
    assert sum(c["family"] == "pooled" for c in document["claims"]) == 7
    assert len(document["cells"]) == 2 * 3 * 5


def test_the_methods_paragraph_holds_the_numbers() -> None:
    result = judged(table(0.4, items=60))
    text = methods_paragraph(result)
    claim = result.headline()["P2"]
    for part in (
        "360 items",
        "2 task families",
        "6 difficulty tiers",
        "4 levels of magnitude",
        f"{claim.estimate:.3f}",
        "400",
    ):
        assert part in text
    assert claims_csv(result).count("\n") == 1 + len(result.claims)


def test_a_family_cut_along_two_axes_is_two_families() -> None:
    rows = table(0.4, items=40)
    other = rows.assign(axis="y", task=rows["task"] + "_y", item_id=rows["item_id"] + "y")
    result = judged(pd.concat([rows, other], ignore_index=True))
    assert set(result.cells["family"]) == {"a/x", "a/y", "b/x", "b/y"}


def test_clusters_that_cross_tiers_are_resampled_together() -> None:
    rows = table(0.0, items=40)
    rows["cluster_id"] = rows["family"] + rows["item_id"].str.split("_").str[1]
    result = judged(rows)
    assert result.n_clusters == 80
    assert result.headline()["P2"].n_clusters == 80


def test_missing_items_are_named_and_allowed_on_request() -> None:
    rows = table(items=40)
    gone = (rows["run"] == "m magnitude 0.4") & (rows["item_id"] == "a1_7")
    with pytest.raises(UsageError, match=r"run 'm magnitude 0.4' lacks 1 of 240 items: a_t1:a1_7"):
        judged(rows[~gone])
    result = judged(rows[~gone], allow_missing=True)
    assert result.n_items == 239
    assert any("1 of 240 items are not in every run" in w for w in result.warnings)


def test_foreign_items_are_named() -> None:
    rows = table(items=40)
    gone = (rows["method"] == "dense") & (rows["item_id"] == "b2_3")
    with pytest.raises(UsageError, match=r"1 items are not in the dense run but in others.*b_t2:b2_3"):
        judged(rows[~gone])


def _one_level(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["level"].isin([0.0, 0.4])]


def _other_metric(rows: pd.DataFrame) -> pd.DataFrame:
    change = (rows["metric"] == "acc") & (rows["level"] == 0.4)
    return rows.assign(metric=rows["metric"].mask(change, "exact_match"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r[r["method"] != "dense"], "there is no dense run"),
        (_one_level, "a single level beside dense"),
        (lambda r: r[r["tier"] == 1], "every family has one tier"),
        (_other_metric, "different metrics for task 'a_t1'"),
        (lambda r: r[r["method"] == "dense"], "only the dense run"),
        (lambda r: r.assign(value=r["value"].mask(r.index == 5)), "value=nan"),
        (lambda r: r.assign(value=r["value"] * 50), r"outside \[0, 1\]"),
        (
            lambda r: r.assign(metric=r["metric"].replace("acc", "perplexity")),
            "none of which is known as an accuracy",
        ),
        (lambda r: r.assign(prompt_hash=r["run"]), "different prompts"),
        (lambda r: r.assign(model=r["method"]), "the table holds 2 models"),
        (lambda r: r.assign(cluster_id=r["run"] + r["item_id"]), "another tier, family or cluster"),
    ],
)
def test_bad_input_is_one_sentence(change: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        judged(change(table(items=20)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"baseline": "m magnitude"}, "--baseline 'm magnitude' is not among the runs"),
        ({"model": "n"}, "there is no model 'n'"),
        ({"metric": "accc"}, "has no metric 'accc'. Did you mean 'acc'"),
        ({"families": ["c"]}, "there is no family 'c'"),
        ({"claims": ["P9"]}, "there is no claim 'P9'"),
        ({"n_resamples": 10}, "too few"),
    ],
)
def test_bad_options_are_one_sentence(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        fit(table(items=20), **{"n_resamples": FEW, **options})


def test_rules_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match="alpha=0 is not between 0 and 1"):
        Rules(alpha=0)


def test_one_tier_and_one_level_can_be_judged_when_asked_for() -> None:
    rows = table(0.4, items=300)
    assert verdicts(judged(rows[rows["tier"] == 3], claims=["P1"])) == {"P1": "supported"}
    assert verdicts(judged(_one_level(rows), claims=["p2"])) == {"P2": "supported"}


def test_a_baseline_of_another_name_is_the_dense_run_of_all() -> None:
    rows = table(0.4, items=60)
    rows = rows.assign(model=np.where(rows["method"] == "dense", "m", "pruned/" + rows["run"]))
    result = judged(rows, baseline="m dense")
    assert result.dense == "m dense"
    assert verdicts(result)["P1"] == "supported"


def test_a_run_that_says_nothing_of_its_method_is_left_out_with_a_note() -> None:
    rows = table(0.4, items=30)
    other = rows[rows["method"] == "dense"].assign(model="out_wanda", run="out_wanda dense")
    result = judged(pd.concat([rows, other], ignore_index=True), baseline="m dense")
    assert any("out_wanda dense say nothing of method" in warning for warning in result.warnings)


def test_read_runs_pass_on_their_warnings() -> None:
    rows = table(items=30)
    runs = Runs(rows, pd.DataFrame({"run": rows["run"].unique()}), {}, ("careful",))
    assert "careful" in judged(runs).warnings
