"""All lists of decoder blocks are compressed, and each block's inputs are those that the model itself gives it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from junkdna_harness.compress import InputNorm, PruneSpec, QuantSpec, find_targets, prune, quantize
from junkdna_harness.compress.collect import collect
from junkdna_harness.compress.targets import decoder_blocks, find_lists
from junkdna_harness.compress.walk import walk
from tests.models_factory import make_model, make_tokenizer


class Both(nn.Module):
    """The decoder of a Llama, whose norm is followed by blocks of a second list."""

    def __init__(self, norm: nn.Module, more: nn.ModuleList, rotary: nn.Module) -> None:
        super().__init__()
        self.norm, self.more, self.rotary = norm, more, rotary

    def forward(self, hidden: Tensor) -> Tensor:
        hidden = 0.5 * self.norm(hidden)  # what lies between the lists is no block
        places = torch.arange(hidden.shape[1])[None]
        for block in self.more:
            hidden = block(hidden, position_embeddings=self.rotary(hidden, places), position_ids=places)
        return hidden


def two_lists() -> Any:
    """A Llama with a second list of blocks behind the first."""
    model, _ = make_model("llama")
    other, _ = make_model("llama", seed=1)
    model.model.norm = Both(model.model.norm, other.model.layers, other.model.rotary_emb)
    return model


class Stream(nn.Module):
    """A model's decoder that adds the embeddings to what each block gives, outside the blocks."""

    def __init__(self, blocks: nn.ModuleList, rotary: nn.Module) -> None:
        super().__init__()
        self.blocks, self.rotary = blocks, rotary

    def forward(self, embedded: Tensor) -> Tensor:
        hidden, places = embedded, torch.arange(embedded.shape[1])[None]
        for block in self.blocks:
            hidden = 0.7 * hidden + embedded
            hidden = block(hidden, position_embeddings=self.rotary(hidden, places), position_ids=places)
        return hidden


def beside_the_blocks() -> Any:
    """A Llama of no blocks but those of a `Stream`."""
    model, _ = make_model("llama", num_hidden_layers=3)
    inner = model.model
    inner.norm = Stream(inner.layers, inner.rotary_emb)
    inner.layers = nn.ModuleList()
    model.config.num_hidden_layers = 0
    return model


@pytest.fixture
def text(tmp_path: Path) -> str:
    file = tmp_path / "text.txt"
    file.write_text("\n".join(f"line {i} of the text says {i * i}" for i in range(300)))
    return str(file)


def some_ids(samples: int = 5, length: int = 32) -> Tensor:
    return torch.randint(2, 98, (samples, length), generator=torch.Generator().manual_seed(0))


def norms_within(model: Any, ids: Tensor) -> dict[str, Tensor]:
    """The norm of each target's input features, gathered while the model itself runs."""
    found: dict[str, list[Tensor]] = {}
    handles = [
        target.module.register_forward_pre_hook(
            lambda _, args, name=target.name: found.setdefault(name, []).append(args[0].flatten(0, -2))
        )
        for target in find_targets(model)
    ]
    with torch.no_grad():
        model(ids)
    for handle in handles:
        handle.remove()
    return {name: torch.cat(rows).norm(dim=0) for name, rows in found.items()}


@pytest.mark.parametrize("make", [two_lists, beside_the_blocks])
def test_the_walk_sees_what_the_model_gives_each_block(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("junkdna_harness.compress.walk.TOKENS_AT_ONCE", 64)
    model, ids = make(), some_ids()
    targets, before = find_targets(model), norms_within(model, ids)
    seen = {}
    for step in walk(model, ids):
        for norm, members in collect(step, [t for t in targets if t.block == step.index], InputNorm):
            assert isinstance(norm, InputNorm) and norm.tokens == ids.numel()
            seen.update({target.name: norm.norm for target in members})
    assert seen.keys() == before.keys()
    for name, norm in seen.items():
        torch.testing.assert_close(norm, before[name], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("make", [two_lists, beside_the_blocks])
def test_later_blocks_see_what_was_done_to_earlier_ones(make: Any) -> None:
    model, ids = make(), some_ids()
    last = len(decoder_blocks(model)) - 1
    targets = find_targets(model)
    for step in walk(model, ids):
        if step.index < last:
            step.block.mlp.down_proj.weight.zero_()
        else:
            groups = collect(step, [t for t in targets if t.block == last], InputNorm)
    after = norms_within(model, ids)
    for norm, members in groups:
        assert isinstance(norm, InputNorm)
        for target in members:
            torch.testing.assert_close(norm.norm, after[target.name], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("method", ["magnitude", "wanda", "sparsegpt", "gptq"])
def test_a_second_list_of_blocks_is_compressed(method: str, text: str) -> None:
    model = two_lists()
    assert [name for name, _ in find_lists(model)] == ["model.layers", "model.norm.more"]
    look = {"calibration": text, "nsamples": 4, "seqlen": 32}
    if method == "gptq":
        before = [t.weight.clone() for t in find_targets(model)]
        report = quantize(model, QuantSpec(method="gptq", bits=4, **look), make_tokenizer())
        assert not any(torch.equal(t.weight, old) for t, old in zip(find_targets(model), before, strict=True))
    else:
        given: Any = {} if method == "magnitude" else look
        report = prune(model, PruneSpec(method=method, sparsity=0.5, **given), make_tokenizer())
        assert all(int((t.weight == 0).sum()) == t.numel // 2 for t in find_targets(model))
    assert report.weights_targeted == sum(t.numel for t in find_targets(model)) and not report.warnings
    assert {target.block for target in find_targets(model)} == {0, 1, 2, 3}


def test_blocks_that_do_not_run_are_named_and_do_not_slow_the_others(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "junkdna_harness.compress.walk._Whole.run", lambda *_: pytest.fail("the whole model ran")
    )
    model, _ = make_model("llama")
    model.model.mtp = nn.Module()
    model.model.mtp.layers = make_model("llama", seed=1)[0].model.layers[:1]  # for training alone
    look: Any = {"calibration": text, "nsamples": 4, "seqlen": 32}
    report = prune(model, PruneSpec(method="wanda", sparsity=0.5, **look), make_tokenizer())
    assert list(report.warnings) == [
        "7 layers saw no calibration token and were ranked by magnitude, e.g. model.mtp.layers.0.self_attn.q_proj"
    ]
    assert all(int((t.weight == 0).sum()) == t.numel // 2 for t in find_targets(model))


def test_lists_of_other_things_are_no_blocks() -> None:
    model, _ = make_model("llama")
    model.model.projections = nn.ModuleList([nn.Linear(32, 32) for _ in range(3)])
    model.model.vision_tower = nn.ModuleList(make_model("llama", seed=1)[0].model.layers)
    assert [name for name, _ in find_lists(model)] == ["model.layers"]


def test_layers_that_blocks_share_are_calibrated_on_all_of_their_inputs() -> None:
    model, _ = make_model("llama")
    first, second = model.model.layers
    second.mlp.up_proj.weight = first.mlp.up_proj.weight  # tied, in modules of their own
    ids = some_ids()
    rows: list[Tensor] = []
    handles = [
        block.mlp.up_proj.register_forward_pre_hook(lambda _, args: rows.append(args[0].flatten(0, 1)))
        for block in (first, second)
    ]
    with torch.no_grad():
        model(ids)
    for handle in handles:
        handle.remove()
    targets = find_targets(model)
    assert len(targets) == 13 and next(t for t in targets if t.twins).name == "model.layers.0.mlp.up_proj"
    step = next(iter(walk(model, ids)))
    found = {
        t.name: norm
        for norm, members in collect(step, [t for t in targets if t.block == 0], InputNorm)
        for t in members
    }
    norm = found["model.layers.0.mlp.up_proj"]
    assert isinstance(norm, InputNorm) and norm.tokens == 2 * ids.numel()
    torch.testing.assert_close(norm.norm, torch.cat(rows).norm(dim=0), atol=1e-3, rtol=1e-3)
