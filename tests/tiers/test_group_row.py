"""A group of tiers gets a row for what is a mean, and a chance level where it is known; the rest is said, not guessed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from junkdna_harness.tiers.build import plan_tiers, tier_files, write_tiers
from junkdna_harness.tiers.show import folder_text, plan_text

TASK = """\
task: own
dataset_path: json
dataset_kwargs: {data_files: {test: DATA}}
test_split: test
output_type: OUTPUT
doc_to_text: "{{q}}"
doc_to_target: TARGET
"""
CHOICES = 'doc_to_choice: ["no", "yes", "maybe"]\n'

FUNCTIONS = """
import numpy as np


def label(doc):
    return np.int64(doc["label"])


def both(doc):
    return np.array([doc["label"], 2])


def mass(doc, results):
    chances = np.exp([result[0] for result in results])
    return {"acc": float(chances[0] / chances.sum())}
"""


@pytest.fixture
def own(tmp_path: Path) -> Callable[..., Path]:
    """Write a task named `own`: its output type, its target, and more lines of its file."""

    def write(output: str, target: str, more: str = "") -> Path:
        folder = tmp_path / "tasks"
        folder.mkdir()
        rows = [{"q": f"q{i} " + "x" * (i % 2 * 5), "label": i % 2} for i in range(24)]
        (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (folder / "functions.py").write_text(FUNCTIONS)
        text = (
            TASK.replace("DATA", str(folder / "rows.jsonl"))
            .replace("OUTPUT", output)
            .replace("TARGET", target)
        )
        (folder / "own.yaml").write_text(text + more)
        return folder

    return write


def build(folder: Path) -> Any:
    return plan_tiers("own", "context_length", 2, include_path=str(folder), min_items=5)


def averaged(plan: Any) -> list[str]:
    group = yaml.safe_load(tier_files(plan)[f"{plan.name}.yaml"])
    return [entry["metric"] for entry in group.get("aggregate_metric_list", [])]


@pytest.mark.parametrize(
    ("output", "more", "means", "others"),
    [
        ("multiple_choice", CHOICES + "metric_list: [{metric: acc}, {metric: f1}, {metric: mcc}]\n", ["acc"], ["f1", "mcc"]),
        ("multiple_choice", CHOICES, ["acc", "acc_norm"], []),
        ("multiple_choice", CHOICES + "metric_list: [{metric: f1, aggregation: f1, higher_is_better: true}]\n", [], ["f1"]),
        ("loglikelihood", "metric_list: [{metric: perplexity}, {metric: acc}]\n", ["acc"], ["perplexity"]),
        ("loglikelihood_rolling", "metric_list: [{metric: word_perplexity}, {metric: bits_per_byte}]\n", [],
         ["word_perplexity", "bits_per_byte"]),
        ("generate_until", "metric_list: [{metric: exact_match}, {metric: bleu}]\n", ["exact_match"], ["bleu"]),
    ],
)  # fmt: skip
def test_only_means_are_averaged_and_the_others_are_named(
    own: Callable[..., Path], output: str, more: str, means: list[str], others: list[str]
) -> None:
    plan = build(own(output, "label" if output == "multiple_choice" else '"{{q}}"', more))
    assert averaged(plan) == means
    for metric in others:
        assert f"no row for {', '.join(others)}" in plan_text(plan) and metric in plan.not_averaged
    if not others:
        assert "no row" not in plan_text(plan)


def test_the_row_of_the_group_is_the_value_of_the_whole(
    own: Callable[..., Path], tmp_path: Path, evaluate: Callable[..., dict[str, Any]]
) -> None:
    folder = own(
        "multiple_choice",
        "!function functions.label",
        CHOICES.replace(', "maybe"', "") + "metric_list: [{metric: acc}, {metric: f1}]\n",
    )
    plan = build(folder)
    write_tiers(plan, tmp_path / "out")
    row = evaluate([plan.name], tmp_path / "out")["results"][plan.name]
    whole = evaluate(["own"], folder)["results"]["own"]
    assert row["acc,none"] == pytest.approx(whole["acc,none"], abs=1e-12)
    assert not [name for name in row if name.startswith("f1")]


def test_labels_that_are_numpy_integers_have_a_chance(own: Callable[..., Path]) -> None:
    plan = build(own("multiple_choice", "!function functions.label", CHOICES))
    assert set(plan.chance.values()) == {round(1 / 3, 6)}


def test_two_right_options_double_the_chance(own: Callable[..., Path]) -> None:
    plan = build(own("multiple_choice", "!function functions.both", CHOICES))
    assert set(plan.chance.values()) == {round(2 / 3, 6)}


def test_a_score_by_own_code_has_no_known_chance_and_it_is_said(
    own: Callable[..., Path], tmp_path: Path
) -> None:
    """As mc2 of TruthfulQA: the score is a probability, and the target says nothing of how many options are right."""
    more = CHOICES + "process_results: !function functions.mass\nmetric_list: [{metric: acc}]\n"
    plan = build(own("multiple_choice", "0", more))
    assert set(plan.chance.values()) == {None}
    assert "The chance level is unknown" in plan_text(plan) and "unknown" in plan_text(plan).splitlines()[2]
    write_tiers(plan, tmp_path / "out")
    assert "unknown" in folder_text(tmp_path / "out")
    metadata = yaml.safe_load(tier_files(plan)[f"{plan.name}_t1.yaml"])["metadata"]
    assert metadata["chance"] is None and "code of its own" in metadata["chance_unknown"]


def test_perplexity_has_no_chance(own: Callable[..., Path]) -> None:
    plan = build(own("loglikelihood_rolling", '"{{q}}"', "metric_list: [{metric: word_perplexity}]\n"))
    assert set(plan.chance.values()) == {None}


def test_generated_text_is_never_right_by_chance(own: Callable[..., Path]) -> None:
    plan = build(own("generate_until", '"{{q}}"', "metric_list: [{metric: exact_match}]\n"))
    assert set(plan.chance.values()) == {0.0}
