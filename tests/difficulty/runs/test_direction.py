"""What a metric's name says of its direction and scale, and when runs asked the same."""

from __future__ import annotations

import pandas as pd
import pytest

from difficulty.errors import UsageError
from difficulty.runs.direction import declared, direction, same_metric, scale
from difficulty.runs.same import different_prompts, different_versions


@pytest.mark.parametrize(
    "metric",
    ["acc", "acc_norm,none", "exact_match,get-answer", "exact_match,flexible-extract", "letter_acc", "F1", "rougeL_max",
     "pass@1", "bleu_acc", "mc2", "prompt_level_strict_acc,none", "acc,perplexity", "recall@10"],
)  # fmt: skip
def test_higher_is_better_by_a_whole_word(metric: str) -> None:
    assert direction(metric) is True


@pytest.mark.parametrize(
    "metric",
    ["word_perplexity,none", "bits_per_byte", "brier_score", "wer", "wer,match", "nll", "edit_distance"],
)
def test_lower_is_better_by_a_whole_word(metric: str) -> None:
    assert direction(metric) is False


@pytest.mark.parametrize(
    "metric",
    [
        "depth",
        "answer",
        "filter",
        "winter",
        "likelihood_diff",
        "exact_match_error",
        "loss_acc",
        "bypass",
        "",
        ",wer",
    ],
)
def test_other_names_say_nothing(metric: str) -> None:
    assert direction(metric) is None


def test_a_column_says_true_false_or_nothing() -> None:
    assert declared([True, None, float("nan"), pd.NA, 1.0]) == {True}
    assert declared([False, True]) == {False, True}
    assert declared([]) == set()
    with pytest.raises(UsageError, match="higher_is_better='no' is neither true nor false"):
        declared(["no"])


def test_the_scale_follows_the_name_only_where_there_are_weights() -> None:
    assert scale("word_perplexity,none", True) == "perplexity"
    assert scale("bits_per_byte", True) == "bits"
    assert scale("acc", True) == scale("word_perplexity", False) == "mean"


def test_a_metric_is_named_with_its_filter_or_without() -> None:
    assert same_metric("acc,none", "acc")
    assert same_metric("acc,none", "acc,none")
    assert not same_metric("acc,none", "acc_norm")
    assert not same_metric("acc,none", "none")


def test_prompts_are_compared_item_by_item() -> None:
    first = pd.DataFrame({"task": "t", "item_id": ["a", "b", "c"], "prompt_hash": ["11112222", "3", ""]})
    assert different_prompts(first) is None
    assert different_prompts(first.drop(columns="prompt_hash")) is None
    assert different_prompts(first, first.drop(columns="prompt_hash")) is None
    other = first.assign(prompt_hash=["11112222", "4", "5"])
    found = different_prompts(first, other)
    assert found is not None
    assert found.startswith("1 items were asked with different prompts in different runs: t:b.")
    assert different_prompts(pd.concat([first, other])) == found


def test_hashes_cut_to_other_lengths_are_compared_by_what_both_have() -> None:
    long = pd.DataFrame({"task": "t", "item_id": ["a"], "prompt_hash": ["0123456789abcdef"]})
    assert different_prompts(long, long.assign(prompt_hash="01234567")) is None
    assert different_prompts(long, long.assign(prompt_hash="01234568")) is not None


def test_versions_are_compared_task_by_task() -> None:
    assert different_versions({"x": {"t": 1}, "y": {"t": 1, "u": 2}, "z": {"t": None}}) is None
    found = different_versions({"x": {"t": 1}, "y": {"t": 2}})
    assert found is not None
    assert "task 't' has version 1 in 'x' and version 2 in 'y'" in found
