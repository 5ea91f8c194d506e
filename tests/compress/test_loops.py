"""Models that run a block several times: refused where inputs are followed through the blocks, compressed where they are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from difficulty.errors import UsageError
from junkdna_harness.compress import PruneSpec, QuantSpec, find_targets, prune, quantize
from tests.models_factory import make_model, make_tokenizer


def looped() -> Any:
    """A Llama whose blocks run twice, one list after the other (as looped transformers do)."""
    model, _ = make_model("llama")
    inner = model.model
    forward = inner.forward

    def twice(*args: Any, **kwargs: Any) -> Any:
        once = forward(*args, **kwargs)
        rest = {name: value for name, value in kwargs.items() if name not in ("input_ids", "inputs_embeds")}
        return forward(inputs_embeds=once.last_hidden_state, **rest)

    inner.forward = twice
    return model


def one_block_twice() -> Any:
    """A Llama whose two layers are one and the same module."""
    model, _ = make_model("llama")
    model.model.layers = nn.ModuleList([model.model.layers[0]] * 2)
    return model


@pytest.fixture
def text(tmp_path: Path) -> str:
    file = tmp_path / "text.txt"
    file.write_text("\n".join(f"line {i} of the text says {i * i}" for i in range(200)))
    return str(file)


@pytest.mark.parametrize("make", [looped, one_block_twice])
@pytest.mark.parametrize("method", ["wanda", "sparsegpt", "gptq"])
def test_calibrated_methods_refuse_blocks_that_run_twice(
    make: Callable[[], Any], method: str, text: str
) -> None:
    model = make()
    before = {name: p.clone() for name, p in model.named_parameters()}
    given: Any = {"method": method, "calibration": text, "nsamples": 2, "seqlen": 16}
    with pytest.raises(UsageError, match="runs a block 2 times for one input"):
        if method == "gptq":
            quantize(model, QuantSpec(bits=4, **given), make_tokenizer())
        else:
            prune(model, PruneSpec(sparsity=0.5, **given), make_tokenizer())
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    model(torch.arange(8)[None])  # its hooks are gone, and it still runs


@pytest.mark.parametrize("make", [looped, one_block_twice])
def test_methods_without_calibration_take_them(make: Callable[[], Any]) -> None:
    model = make()
    prune(model, PruneSpec(sparsity=0.5))
    assert all(int((t.weight == 0).sum()) == t.numel // 2 for t in find_targets(model))


def test_embeddings_heads_and_towers_are_no_missed_weights() -> None:
    model, _ = make_model("llama")
    model.model.vision_tower = nn.Linear(500, 500)
    model.model.embed_more = nn.Embedding(500, 500)
    assert not prune(model, PruneSpec(sparsity=0.5)).warnings
