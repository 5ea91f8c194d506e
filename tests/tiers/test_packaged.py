"""`junkdna tiers build` on tasks that ship with lm-eval, one of each output type, found by name among all of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from junkdna_harness.tiers.build import plan_tiers, write_tiers
from tests.tiers.conftest import make_lm

pytestmark = pytest.mark.slow  # each search by name reads the 14,000 task files of lm-eval


def rows(path: Path, n: int = 150) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:n]]


def as_sciq(data: Path) -> list[dict[str, Any]]:
    """ARC rows in the columns of SciQ."""
    out = []
    for row in rows(data / "arc_easy" / "test.jsonl"):
        texts = dict(zip(row["choices"]["label"], row["choices"]["text"], strict=True))
        right = texts.pop(row["answerKey"])
        if len(texts) == 3:
            wrong = {f"distractor{i}": text for i, text in enumerate(texts.values(), start=1)}
            out.append({"question": row["question"], "support": "", "correct_answer": right, **wrong})
    return out


def as_asdiv(data: Path) -> list[dict[str, Any]]:
    """SVAMP rows in the columns of ASDiv."""
    return [
        {"body": row["Body"], "question": row["Question"], "answer": f"{row['Answer']:.0f} (apples)"}
        for row in rows(data / "svamp" / "test.jsonl")
    ]


def as_gsm8k_platinum(data: Path) -> list[dict[str, Any]]:
    return rows(data / "gsm8k" / "test.jsonl")


@pytest.mark.parametrize(
    ("task", "by", "served", "output_type"),
    [
        ("sciq", "answer_length", as_sciq, "multiple_choice"),
        ("asdiv", "context_length", as_asdiv, "loglikelihood"),
        ("gsm8k_platinum", "steps:answer", as_gsm8k_platinum, "generate_until"),
    ],
)
def test_tiers_of_a_packaged_task(
    task, by, served, output_type, benchmark_data, monkeypatch, tmp_path, evaluate
):
    data = datasets.Dataset.from_list(served(benchmark_data))
    splits = datasets.DatasetDict(dict.fromkeys(("train", "validation", "test"), data))
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **kwargs: splits)
    plan = plan_tiers(task, by, 2)
    write_tiers(plan, tmp_path / "out")
    assert plan.source.config["output_type"] == output_type
    tiers_lm, whole_lm = make_lm(), make_lm()
    evaluate([plan.name], tmp_path / "out", tiers_lm)

    import lm_eval

    whole = lm_eval.simple_evaluate(model=whole_lm, tasks=[task], bootstrap_iters=0)
    assert whole is not None
    assert sorted(map(str, tiers_lm.seen)) == sorted(map(str, whole_lm.seen))
    assert sum(tier.n_items for tier in plan.assignment.tiers) == len(data)
