"""Of a batch with prompts, logits are computed for what is learned alone: the loss and its gradients are the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, TrainingArguments

from junkdna_harness.compress import PruneSpec
from junkdna_harness.recover import RecoverSpec
from junkdna_harness.recover import training as of_training
from junkdna_harness.recover.learned import can_skip, learned_only
from junkdna_harness.recover.run import recover
from junkdna_harness.recover.schedule import IGNORED


@pytest.fixture
def model() -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2
    )  # fmt: skip
    return LlamaForCausalLM(config).double()


def batch(prompts: list[int], lengths: list[int]) -> dict[str, Tensor]:
    """Rows of `lengths` tokens that begin with a prompt, padded on the right."""
    torch.manual_seed(1)
    ids = torch.randint(1, 50, (len(lengths), max(lengths)))
    labels, mask = ids.clone(), torch.ones_like(ids)
    for row, (prompt, length) in enumerate(zip(prompts, lengths, strict=True)):
        labels[row, :prompt] = labels[row, length:] = IGNORED
        mask[row, length:] = 0
    return {"input_ids": ids, "labels": labels, "attention_mask": mask}


@pytest.mark.parametrize("prompts", [[3, 5, 6], [0, 2, 7], [1, 1, 1]])
def test_loss_and_gradients_are_those_of_all_logits(model: Any, prompts: list[int]) -> None:
    inputs = batch(prompts, [5, 7, 9])
    found = []
    for given in (inputs, learned_only(inputs)):
        model.zero_grad()
        out = model(**given, num_items_in_batch=torch.tensor(7))
        out.loss.backward()
        gradients = torch.cat([p.grad.flatten() for p in model.parameters()])
        found.append((out.loss.detach(), gradients.clone(), out.logits.numel() // 50))
    (loss, gradient, all_of_them), (same_loss, same_gradient, asked) = found
    # Behind a label there is a token, so a row's first token is asked of nothing.
    learned = int((inputs["labels"][:, 1:] != IGNORED).sum())
    assert (all_of_them, asked) == (27, learned + 1)
    torch.testing.assert_close(same_loss, loss, rtol=1e-6, atol=0)  # transformers sums losses in float32
    torch.testing.assert_close(same_gradient, gradient, rtol=1e-6, atol=1e-9)


def test_a_text_that_is_learned_whole_goes_on_as_it_is() -> None:
    inputs = batch([0, 0], [6, 6])
    assert learned_only(inputs) == inputs


def test_another_loss_needs_all_logits(model: Any, tmp_path: Path) -> None:
    plain = TrainingArguments(str(tmp_path), use_cpu=True)
    smoothed = TrainingArguments(str(tmp_path), use_cpu=True, label_smoothing_factor=0.1)
    assert can_skip(model, plain) and not can_skip(model, smoothed)
    assert not can_skip(torch.nn.Linear(2, 2), plain)
    model.loss_type = "ForMaskedLM"
    assert not can_skip(model, plain)


@pytest.mark.parametrize("adapter", [None, "lora"])
def test_a_training_ends_where_one_with_all_logits_does(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adapter: str | None
) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(f'{{"prompt": "{n} and {n} make", "answer": " {2 * n}"}}\n' for n in range(12)))
    spec = RecoverSpec(data=str(data), steps=3, batch_size=4, lr=0.01, adapter=adapter)
    asked: list[bool] = []

    def counted(inputs: Any) -> Any:
        asked.append("logits_to_keep" in (given := learned_only(inputs)))
        return given

    monkeypatch.setattr(of_training, "learned_only", counted)
    few = recover(str(checkpoint), tmp_path / "few", spec, PruneSpec(sparsity=0.5))
    assert asked == [True] * 3
    monkeypatch.setattr(of_training, "can_skip", lambda *_: False)
    whole = recover(str(checkpoint), tmp_path / "whole", spec, PruneSpec(sparsity=0.5))
    assert len(asked) == 3
    losses = [[row["loss"] for row in done.training.log if "loss" in row] for done in (few, whole)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
