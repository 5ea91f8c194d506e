"""What may be judged together: which runs are recovered ones, which tasks have an accuracy, which prompts are the same."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from difficulty.errors import UsageError
from difficulty.judge.controls import control_method
from difficulty.judge.fit import FitResult, fit
from difficulty.judge.panel import build_panel
from difficulty.judge.series import conditions
from difficulty.runs.identity import Method
from difficulty.runs.read import Runs
from difficulty.runs.table import validate
from tests.difficulty.judge.simulated import recovered, table


def judged(rows: pd.DataFrame, **options: object) -> FitResult:
    return fit(rows, n_resamples=200, **options)


def trained(way: str, control: str | None, gaps: tuple[float, ...] = (0.2, 0.6, 1.2)) -> pd.DataFrame:
    """Runs of a model pruned and recovered by `way` (after "magnitude"), and of the dense one trained by `control`."""
    rows = recovered(table(0.4, items=100, step=0.5), gaps)
    names = {"magnitude+sparse_transfer": f"magnitude+{way}", "dense+dense_transfer": f"dense+{control}"}
    renamed = rows["method"].replace(names)
    if control is None:
        renamed = renamed.where(rows["method"] != "dense+dense_transfer")
    return rows.assign(method=renamed, run=np.where(renamed == rows["method"], rows["run"], renamed)).dropna(
        subset=["method"]
    )


WAYS = [
    "sparse_transfer_lora",
    "sparse_to_dense_dora",
    "sparse_transfer@0.25",
    "sparse_transfer_lora@0.25",
    "sparse_transfer+sparse_to_dense",
]


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_recovery_is_judged_by_p5_and_never_as_a_pruning_method(way: str) -> None:
    control = "+".join(map(str, control_method(Method.parse(f"magnitude+{way}")).recoveries))
    result = judged(trained(way, control))
    claim = result.headline()["P5"]
    assert (claim.verdict, claim.method) == ("supported", f"magnitude+{way}")
    assert "without the adapter" not in claim.reason
    assert {c.method for c in result.claims if c.claim in ("P1", "P2", "P3")} == {"magnitude"}


def test_an_adapter_is_compared_with_the_plain_dense_training_where_there_is_no_other_and_it_is_said() -> (
    None
):
    claim = judged(trained("sparse_transfer_lora", "dense_transfer")).headline()["P5"]
    assert claim.verdict == "supported"
    assert (
        "trained without the adapter (dense+dense_transfer), as there is no run of dense+dense_transfer_lora"
        in claim.reason
    )


@pytest.mark.parametrize(
    ("way", "control", "named"),
    [
        ("sparse_transfer@0.25", "dense_transfer", "dense+dense_transfer@0.25"),
        ("sparse_transfer_lora", None, "dense+dense_transfer_lora"),
        ("sparse_transfer+sparse_transfer", "dense_transfer", "dense+dense_transfer+dense_transfer"),
    ],
)
def test_a_dense_model_that_was_trained_less_is_no_control(way: str, control: str | None, named: str) -> None:
    claim = judged(trained(way, control)).headline()["P5"]
    assert claim.verdict == "not tested"
    assert f"(method {named}, level 0)" in claim.reason


@pytest.mark.parametrize("way", ["dense_freezing", "dense_freezing_kept", "dense_freezing_kept_lora"])
def test_frozen_weights_are_a_control_and_no_pruning_method(way: str) -> None:
    result = judged(trained(way, "dense_transfer"))
    claim = result.headline()["P5"]
    assert claim.verdict == "not tested"
    assert "nothing was pruned" in claim.reason
    assert not any("freezing" in c.method for c in result.claims)


def test_levels_of_a_pattern_that_were_recovered_are_one_way_with_what_they_were_before() -> None:
    rows = trained("sparse_transfer", "dense_transfer")
    for plain, pattern in (
        ("magnitude", "magnitude 2:4"),
        ("magnitude+sparse_transfer", "magnitude 2:4+sparse_transfer"),
    ):
        at = (rows["method"] == plain) & (rows["level"] == 0.6)
        rows.loc[at, ["method", "run"]] = [pattern, pattern]
    rows.loc[rows["method"].str.contains("2:4"), "level"] = 0.5
    result = judged(rows)
    single = next(c for c in result.claims if c.claim == "P5" and c.family == "a")
    assert single.method == "magnitude N:4+sparse_transfer"
    assert "gap_before" in single.details["levels"][0]


def test_recovered_runs_of_two_widths_are_two_ways() -> None:
    rows = trained("sparse_transfer", "dense_transfer")
    sparse = rows[rows["method"] == "magnitude+sparse_transfer"]
    narrow = sparse.assign(bits=4.0, run="narrow")
    panel = build_panel(validate(pd.concat([rows, narrow])))
    names = {c.method for c in conditions(panel.runs, {}) if c.kind == "recovered"}
    assert {"magnitude+sparse_transfer", "magnitude+sparse_transfer 4 bits"} <= names


def test_a_family_may_be_called_pooled() -> None:
    rows = table(0.4, items=60)
    same = judged(rows)
    called = judged(rows.assign(family=rows["family"].replace("b", "pooled")))
    assert called.headline()["P2"].estimate == same.headline()["P2"].estimate
    p = {c.scope.family: c.p_holm for c in same.claims if c.claim == "P1"}
    assert {c.scope.family: c.p_holm for c in called.claims if c.claim == "P1"}["pooled"] == p["b"]


def with_task(rows: pd.DataFrame, **columns: object) -> pd.DataFrame:
    """`rows` and one more task, a copy of family a's first tier with other columns."""
    extra = rows[(rows["task"] == "a_t1") & (rows["metric"] == "acc")].assign(
        task="more", family="more", **columns
    )
    return pd.concat([rows, extra], ignore_index=True)


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"metric": "word_perplexity"}, "none of which is known as an accuracy"),
        ({"value": 17.0}, r"acc of task 'more' has values outside \[0, 1\]"),
        ({"higher_is_better": False}, "lower acc of task 'more' is better"),
    ],
)
def test_a_task_without_an_accuracy_is_left_out_by_name(columns: dict[str, object], reason: str) -> None:
    rows = table(0.4, items=40)
    result, alone = judged(with_task(rows, **columns)), judged(rows)
    assert result.claims == alone.claims
    found = [warning for warning in result.warnings if warning.startswith("left out: ")]
    assert len(found) == 1
    assert pd.Series(found).str.contains(reason).all()
    only = with_task(rows, **columns)
    with pytest.raises(UsageError, match=reason):
        judged(only[only["task"] == "more"])


def test_a_task_that_a_run_has_no_samples_of_is_left_out_by_name() -> None:
    rows = table(0.4, items=40)
    more = with_task(rows)
    result = judged(more[~((more["task"] == "more") & (more["level"] == 0.4))])
    assert result.claims == judged(rows).claims
    assert (
        "left out: m magnitude 0.4 has no samples of task 'more'. Evaluate it in every run."
        in result.warnings
    )


def test_a_metric_where_lower_is_better_is_no_accuracy() -> None:
    rows = table(0.4, items=40)
    rows["metric"] = rows["metric"].replace("acc", "brier_score")
    with pytest.raises(UsageError, match="lower brier_score of task 'a_t1' is better"):
        judged(rows, metric="brier_score")
    rows["metric"] = rows["metric"].replace("brier_score", "depth")
    assert any(
        "depth is taken for an accuracy" in warning for warning in judged(rows, metric="depth").warnings
    )


def test_other_prompts_are_a_note_where_they_are_allowed() -> None:
    rows = table(0.4, items=40)
    other = rows.assign(prompt_hash=np.where(rows["level"] > 0, "a", "b"))
    result = judged(other, allow_different_prompts=True)
    assert result.claims == judged(rows).claims
    assert any("240 items were asked with different prompts" in warning for warning in result.warnings)


def test_other_task_versions_are_refused_unless_allowed() -> None:
    rows = table(0.4, items=40)
    names = list(rows["run"].unique())
    runs = pd.DataFrame(
        {"run": names, "task_versions": [f'{{"a_t1": {1 if n == names[0] else 2}}}' for n in names]}
    )
    with pytest.raises(UsageError, match="task 'a_t1' has version 1 in 'm dense' and version 2 in"):
        judged(Runs(rows, runs))
    assert any(
        "task 'a_t1' has version 1" in w
        for w in judged(Runs(rows, runs), allow_different_prompts=True).warnings
    )
