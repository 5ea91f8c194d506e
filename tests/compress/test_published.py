"""The plan of published numbers: every row can be asked for, and perplexity is what the authors' code computes."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from junkdna_harness.compress import PruneSpec, QuantSpec
from tests.models_factory import make_model, make_tokenizer

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def published() -> Any:
    spec = importlib.util.spec_from_file_location("published", BENCHMARKS / "published.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_row_is_a_spec_with_a_number_and_a_source() -> None:
    plan = yaml.safe_load((BENCHMARKS / "published.yaml").read_text())
    assert {"opt-125m", "opt-1.3b", "llama-2-7b", "llama-7b-70"} <= plan.keys()
    for entry in plan.values():
        assert entry["model"] and entry["source"] and entry["seqlen"] > 0
        names = [row["name"] for row in entry["rows"]]
        assert len(set(names)) == len(names)
        for row in entry["rows"]:
            (QuantSpec if row.get("quantize") else PruneSpec).from_strings(row["arguments"])
            assert row["published"] > 1 and 0 < row["tolerance"] <= 0.1


def test_perplexity_is_the_mean_over_whole_windows(published: Any) -> None:
    model, _ = make_model("llama")
    tokenizer = make_tokenizer()
    text = "a bird in the hand is worth two in the bush, they say. " * 4
    ids = tokenizer(text, return_tensors="pt").input_ids
    losses = []
    for start in range(0, ids.shape[1] - 15, 16):
        window = ids[:, start : start + 16]
        with torch.no_grad():
            losses.append(float(model(window, labels=window).loss))
    assert len(losses) == ids.shape[1] // 16 > 3
    expected = math.exp(sum(losses) / len(losses))
    assert published.perplexity(model, tokenizer, text, 16) == pytest.approx(expected, rel=1e-5)
