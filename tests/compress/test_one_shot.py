"""Statistics kept from the dense model go through `prune` itself: its checks, notes, warnings and bits are there too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from difficulty.errors import UsageError
from junkdna_harness.compress import Hessian, PruneSpec, find_targets, sparsifier
from junkdna_harness.sweep.one_shot import OneShot
from tests.models_factory import make_model, make_tokenizer


@pytest.fixture
def text(tmp_path: Path) -> str:
    file = tmp_path / "text.txt"
    file.write_text("\n\n".join(f"Some words, number {i}, and again some words." for i in range(60)))
    return str(file)


def spec(text: str, **values: Any) -> PruneSpec:
    return PruneSpec(**{"method": "wanda", "calibration": text, "nsamples": 4, "seqlen": 32, **values})


@pytest.mark.parametrize("quantizer", ["rtn", "gptq"])
def test_bits_are_applied_and_counted(quantizer: Any, text: str) -> None:
    model, _ = make_model("llama")
    report = OneShot(model, make_tokenizer()).prune(
        spec(text, pattern="2:4", bits=4, group_size=16, quantizer=quantizer)
    )
    assert (report.bits, report.quantizer, report.group_size, report.level) == (4, quantizer, 16, 0.5)
    assert report.effective_bits < 4.5
    for target in find_targets(model):
        assert max(len(row.unique()) for row in target.weight.reshape(-1, 16)) <= 16
        assert bool(((target.weight.reshape(-1, 4) == 0).sum(-1) >= 2).all())


def test_gptq_sees_the_inputs_of_the_dense_model_at_every_level(text: str) -> None:
    """The Hessian is gathered before anything is pruned, not after the first pruning."""
    once, _ = make_model("llama")
    shot = OneShot(once, make_tokenizer())
    dense = {t.name: t.weight.clone() for t in find_targets(once)}
    first = shot.prune(spec(text, sparsity=0.5, bits=4, quantizer="gptq"))
    for target in find_targets(once):
        target.weight.copy_(dense[target.name])
    shot.prune(spec(text, sparsity=0.7, bits=4, quantizer="gptq"))
    for target in find_targets(once):
        target.weight.copy_(dense[target.name])
    again = shot.prune(spec(text, sparsity=0.5, bits=4, quantizer="gptq"))
    assert first.weights_sha256 == again.weights_sha256


def test_weights_that_are_not_finite_are_refused_by_name(text: str) -> None:
    @sparsifier("test_one_shot_explodes", needs=Hessian, updates=True)
    def explodes(weight: torch.Tensor, hessian: Hessian, selection: Any) -> torch.Tensor:
        return weight / 0

    model, _ = make_model("llama")
    with pytest.raises(UsageError, match=r"gave NaN or infinite weights in model\.layers\.0"):
        OneShot(model, make_tokenizer()).prune(spec(text, method="test_one_shot_explodes"))


def test_raised_damping_is_noted(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    factor = Hessian.factor

    def hard(self: Hessian) -> torch.Tensor:
        found = factor(self)
        self.damping = 0.1
        return found

    monkeypatch.setattr(Hessian, "factor", hard)
    model, _ = make_model("llama")
    report = OneShot(model, make_tokenizer()).prune(spec(text, method="sparsegpt"))
    assert set(report.damping.values()) == {0.1} and len(report.damping) == len(find_targets(model))
    assert any("more damping than 0.01" in warning for warning in report.warnings)


def test_experts_without_tokens_are_named(text: str) -> None:
    model, _ = make_model("mixtral")
    with torch.no_grad():
        for block in model.model.layers:
            block.mlp.gate.weight.zero_()
    report = OneShot(model, make_tokenizer()).prune(spec(text))
    assert any("experts saw no calibration token" in warning for warning in report.warnings)
    assert report.calibration is not None and report.calibration["one_shot"] is True


def test_weights_that_cannot_be_ranked_are_refused(text: str) -> None:
    model, _ = make_model("llama")
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[0, 0] = torch.nan
    with pytest.raises(UsageError, match=r"layers\.1\.mlp\.up_proj has NaN weights"):
        OneShot(model, make_tokenizer()).prune(spec(text))
