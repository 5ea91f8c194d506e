"""Tiers on a real model, SmolLM2-135M-Instruct: the same scores as `hf`, and the shipped margins are its margins.

JUNKDNA_SMOLLM2 may name a converted copy; otherwise the extra `smollm2` is needed.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from difficulty.errors import UsageError
from tests.tiers.conftest import BENCHMARKS, ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def smollm2() -> str:
    from junkdna_harness.arguments import resolve_pretrained

    try:
        return resolve_pretrained(os.environ.get("JUNKDNA_SMOLLM2", "smollm2-135m"))
    except UsageError as error:
        pytest.skip(str(error))


@pytest.fixture
def rows(benchmark_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JUNKDNA_DATA", str(benchmark_data))
    return benchmark_data


def accuracies(results: dict[str, Any]) -> dict[str, float]:
    return {task: values["acc,none"] for task, values in results["results"].items() if "acc,none" in values}


def test_arc_tiers_score_at_sparsity_0_as_hf_does_and_half_pruned_differently(smollm2, rows, evaluate):
    from lm_eval.models.huggingface import HFLM

    from junkdna_harness.models.pruned import PrunedLM

    hf = accuracies(
        evaluate(["difficulty_tiers_arc"], BENCHMARKS, HFLM(pretrained=smollm2, device="cpu"), limit=6)
    )
    dense_lm = PrunedLM(pretrained=smollm2, sparsity=0, device="cpu")
    dense = accuracies(evaluate(["difficulty_tiers_arc"], BENCHMARKS, dense_lm, limit=6))
    assert dense == hf and set(dense) >= {"difficulty_tiers_arc_t1", "difficulty_tiers_arc_t2"}
    pruned_lm = PrunedLM(pretrained=smollm2, sparsity=0.5, device="cpu")
    first, second = (
        evaluate(["difficulty_tiers_arc_t1"], BENCHMARKS, lm, limit=2, log_samples=True)["samples"]
        for lm in (dense_lm, pruned_lm)
    )
    (before,), (after,) = first.values(), second.values()
    assert [s["doc_hash"] for s in before] == [s["doc_hash"] for s in after]
    assert before[0]["resps"] != after[0]["resps"]


def test_the_shipped_margins_are_those_of_the_model(smollm2, rows):
    from lm_eval.models.huggingface import HFLM

    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import reference_scores
    finally:
        sys.path.pop(0)
    shipped = json.loads((BENCHMARKS / "scores_smollm2_135m.json").read_text())
    lm = HFLM(pretrained=smollm2, device="cpu")
    checked = 0
    for benchmark in reference_scores.BENCHMARKS:
        for key, margin in reference_scores.margins(lm, benchmark, 3).items():
            assert shipped["scores"][key] == pytest.approx(margin, abs=2e-3), benchmark.name
            checked += 1
    assert checked == 18
