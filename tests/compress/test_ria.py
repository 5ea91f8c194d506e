"""`ria`, against the formula of the paper written out here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from junkdna_harness.compress import InputNorm, PruneSpec, find_targets, get_sparsifier, prune
from junkdna_harness.compress.calibration import load_calibration
from tests.models_factory import make_model, make_tokenizer


def test_scores_are_the_two_shares_times_the_root_of_the_norm() -> None:
    torch.manual_seed(0)
    weight, inputs = torch.randn(5, 7), torch.randn(11, 7)
    norm = InputNorm(7, torch.device("cpu"))
    norm.update(inputs)
    scores = get_sparsifier("ria").function(weight, norm)
    for i in range(5):
        for j in range(7):
            size = abs(float(weight[i, j]))
            row = sum(abs(float(weight[i, k])) for k in range(7))
            column = sum(abs(float(weight[k, j])) for k in range(5))
            expected = (size / row + size / column) * float((inputs[:, j] ** 2).sum()) ** 0.25
            assert abs(float(scores[i, j]) - expected) < 1e-5


def test_a_row_and_a_column_of_zeros_have_scores_of_zero() -> None:
    weight = torch.ones(3, 4)
    weight[1], weight[:, 2] = 0, 0
    norm = InputNorm(4, torch.device("cpu"))
    norm.update(torch.ones(2, 4))
    scores = get_sparsifier("ria").function(weight, norm)
    assert bool(torch.isfinite(scores).all())
    assert torch.equal(scores == 0, weight == 0)


def test_the_lowest_of_a_layer_go(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("one two three four five six seven eight nine ten. " * 60)
    dense, _ = make_model("llama", num_hidden_layers=1)
    norms: dict[str, torch.Tensor] = {}

    def listen(name: str) -> Any:
        def hook(_: object, args: tuple[torch.Tensor, ...]) -> None:
            norms[name] = norms.get(name, torch.zeros(())) + args[0].float().square().sum(dim=(0, 1))

        return hook

    targets = find_targets(dense)
    handles = [t.module.register_forward_pre_hook(listen(t.name)) for t in targets]
    ids = load_calibration(str(text), make_tokenizer(), dense, nsamples=8, seqlen=32, seed=0).ids
    with torch.no_grad():
        dense(input_ids=ids)
    for handle in handles:
        handle.remove()
    model, _ = make_model("llama", num_hidden_layers=1)
    spec = PruneSpec(method="ria", sparsity=0.4, calibration=str(text), nsamples=8, seqlen=32)
    report = prune(model, spec, make_tokenizer())
    assert (report.method, report.scope, report.level) == ("ria", "layer", 0.4)
    attention = {"q_proj", "k_proj", "v_proj"}  # their inputs are those of the dense model
    checked = 0
    for old, new in zip(targets, find_targets(model), strict=True):
        if old.name.rpartition(".")[2] not in attention:
            continue
        size = old.weight.abs()
        score = (size / size.sum(1, keepdim=True) + size / size.sum(0, keepdim=True)) * norms[
            old.name
        ].sqrt().sqrt()
        gone, kept = score[new.weight == 0], score[new.weight != 0]
        assert len(gone) == round(0.4 * size.numel())
        assert float(gone.max()) <= float(kept.min()) * (1 + 1e-5)
        checked += 1
    assert checked == 3
