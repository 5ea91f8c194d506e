"""LoRA and DoRA under a mask: the merged model is the trained model, and its zeros are still zero."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from junkdna_harness.compress import PruneSpec, prune
from junkdna_harness.recover.adapters import _lora_layers, add_adapter, merge_adapter
from junkdna_harness.recover.masks import kept_masks
from tests.recover.conftest import small_model


def gpt2() -> Any:
    """Its layers are Conv1D, which stores weights transposed."""
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=2, n_positions=32))


def trained_a_little(adapted: Any) -> Any:
    """Three steps of Adam on random tokens, so that the adapters are no longer zero."""
    torch.manual_seed(1)
    optimizer = torch.optim.Adam([p for p in adapted.parameters() if p.requires_grad], lr=0.05)
    for _ in range(3):
        ids = torch.randint(2, 50, (4, 10))
        adapted(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return adapted.eval()


@pytest.mark.parametrize("kind", ["lora", "dora"])
@pytest.mark.parametrize("make", [small_model, gpt2])
@pytest.mark.parametrize("masked", [True, False])
def test_merging_keeps_the_outputs_and_the_mask(kind: str, make: Any, masked: bool) -> None:
    model = make()
    prune(model, PruneSpec(sparsity=0.5))
    masks = kept_masks(model)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    adapted = trained_a_little(add_adapter(model, kind, 4, None, masks if masked else {}, seed=0))
    ids = torch.randint(2, 50, (2, 12))
    with torch.no_grad():
        expected = adapted(input_ids=ids).logits
        merged = merge_adapter(adapted).eval()
        torch.testing.assert_close(merged(input_ids=ids).logits, expected, rtol=1e-4, atol=1e-4)
    after = dict(merged.named_parameters())
    assert set(after) == set(before)
    for name, mask in masks.items():
        assert bool((after[name][~mask] == 0).all()) == masked
        assert (after[name][mask] != before[name][mask]).any()


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_without_a_mask_our_forward_is_pefts(kind: str) -> None:
    adapted = trained_a_little(add_adapter(small_model(), kind, 4, None, {}, seed=0))
    ids = torch.randint(2, 50, (2, 12))
    with torch.no_grad():
        ours = adapted(input_ids=ids).logits
        for _, layer in _lora_layers(adapted):
            del layer.forward
        torch.testing.assert_close(ours, adapted(input_ids=ids).logits, rtol=1e-4, atol=1e-4)


def test_a_row_that_was_pruned_away_whole_gives_no_nan_under_dora() -> None:
    model = small_model()
    model.model.layers[0].mlp.up_proj.weight.data[3] = 0
    adapted = trained_a_little(add_adapter(model, "dora", 4, None, kept_masks(model), seed=0))
    assert torch.isfinite(adapted(input_ids=torch.tensor([[5, 6, 7]])).logits).all()
