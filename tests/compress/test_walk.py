"""The walk sees what the model itself computes, in every architecture."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch

from junkdna_harness.compress import Hessian, InputNorm, find_blocks, find_targets
from junkdna_harness.compress.collect import collect
from junkdna_harness.compress.flow import PROBED
from junkdna_harness.compress.walk import walk
from tests.models_factory import ARCHITECTURES, make_model


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two samples a batch, and a last one alone, so that batching is put to the test."""
    monkeypatch.setattr("junkdna_harness.compress.walk.TOKENS_AT_ONCE", 64)


def some_ids(samples: int = 5, length: int = 32) -> torch.Tensor:
    return torch.randint(2, 98, (samples, length), generator=torch.Generator().manual_seed(0))


def block_outputs(model: Any, number: int, run: Any) -> torch.Tensor:
    """What block `number` returns while `run()` is at work."""
    found: list[torch.Tensor] = []
    block = find_blocks(model)[1][number]
    handle = block.register_forward_hook(
        lambda _, args, out: found.append(out if torch.is_tensor(out) else out[0])
    )
    run()
    handle.remove()
    return torch.cat(found)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_blocks_are_called_as_the_model_calls_them(arch: str) -> None:
    model, _ = make_model(arch)
    ids = some_ids()
    with torch.no_grad():
        expected = block_outputs(model, 1, lambda: model(ids))
    for step in walk(model, ids):
        if step.index == 1:
            torch.testing.assert_close(block_outputs(model, 1, step.run), expected, atol=1e-5, rtol=1e-4)


def test_later_blocks_see_what_was_done_to_earlier_ones() -> None:
    model, _ = make_model("llama")
    ids = some_ids()
    for step in walk(model, ids):
        if step.index == 0:
            step.block.mlp.down_proj.weight.zero_()
        else:
            seen = block_outputs(model, 1, step.run)
    with torch.no_grad():
        torch.testing.assert_close(seen, block_outputs(model, 1, lambda: model(ids)), atol=1e-5, rtol=1e-4)


def test_every_token_passes_a_block_twice_and_no_more() -> None:
    """Once to be looked at and once through what was changed, beside a few that show how the blocks are called."""
    model, _ = make_model("llama")
    ids, seen = some_ids(), []
    handle = model.model.layers[0].mlp.register_forward_hook(
        lambda _, args, out: seen.append(args[0].shape[:2].numel())
    )
    for step in walk(model, ids):
        step.run()
        if step.index == 1:
            break
    handle.remove()
    assert sum(one for one in seen if one > PROBED) == 2 * ids.numel()


def test_statistics_are_given_up_with_their_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not when garbage is collected, which torch's tensors do not hasten: Hessians are large."""
    model, _ = make_model("llama")
    held: list[weakref.ref[Hessian]] = []
    before = Hessian.__init__
    monkeypatch.setattr(
        Hessian, "__init__", lambda self, *given: (held.append(weakref.ref(self)), before(self, *given))[1]
    )
    gc.collect()
    gc.disable()
    try:
        for step in walk(model, some_ids()):
            collect(step, [t for t in find_targets(model) if t.block == step.index], Hessian)
            assert held and [one() for one in held] == [None] * len(held)
    finally:
        gc.enable()


def test_the_model_is_left_as_it_was() -> None:
    model, _ = make_model("mixtral")
    model.train()
    implementation = model.config._experts_implementation
    forwards = [block.__dict__.get("forward") for block in model.model.layers]
    for _ in walk(model, some_ids()):
        pass
    assert model.training and model.config._experts_implementation == implementation
    assert [block.__dict__.get("forward") for block in model.model.layers] == forwards


@pytest.mark.parametrize("arch", [a for a in ARCHITECTURES if a not in ("mixtral", "gpt_oss")])
def test_statistics_are_those_of_the_layers_inputs(arch: str) -> None:
    model, _ = make_model(arch)
    ids = some_ids()
    inputs: dict[str, list[torch.Tensor]] = {}
    targets = [t for t in find_targets(model) if t.block == 1]
    handles = [
        t.module.register_forward_pre_hook(
            lambda _, args, name=t.name: inputs.setdefault(name, []).append(
                args[0].reshape(-1, args[0].shape[-1])
            )
        )
        for t in targets
    ]
    with torch.no_grad():
        model(ids)
    for handle in handles:
        handle.remove()
    for step in walk(model, ids):
        norms = collect(step, [t for t in targets if t.block == step.index], InputNorm)
        hessians = collect(step, [t for t in targets if t.block == step.index], Hessian)
    seen = 0
    for (norm, members), (hessian, _) in zip(norms, hessians, strict=True):
        assert isinstance(norm, InputNorm) and isinstance(hessian, Hessian)
        for target in members:
            rows = torch.cat(inputs[target.name])
            torch.testing.assert_close(norm.norm, rows.norm(dim=0), atol=1e-3, rtol=1e-3)
            torch.testing.assert_close(hessian.matrix(), 2 * rows.T @ rows / len(rows), atol=1e-3, rtol=1e-3)
            assert norm.tokens == ids.numel()
            seen += 1
    assert seen == len(targets)


def test_layers_with_one_input_share_one_statistic() -> None:
    model, _ = make_model("llama")
    steps = walk(model, some_ids())
    step = next(steps)
    groups = collect(step, [t for t in find_targets(model) if t.block == 0], InputNorm)
    names = [[t.name.split(".")[-1] for t in members] for _, members in groups]
    assert names == [["q_proj", "k_proj", "v_proj"], ["o_proj"], ["gate_proj", "up_proj"], ["down_proj"]]


@pytest.mark.parametrize("arch", ["mixtral", "gpt_oss"])
def test_each_expert_sees_only_the_tokens_routed_to_it(arch: str) -> None:
    model, _ = make_model(arch)
    ids = some_ids()
    routed: list[tuple[torch.Tensor, torch.Tensor]] = []
    experts = find_blocks(model)[1][0].mlp.experts
    handle = experts.register_forward_pre_hook(lambda _, args: routed.append((args[0], args[1])))
    with torch.no_grad():
        model(ids)
    handle.remove()
    hidden = torch.cat([h.reshape(-1, h.shape[-1]) for h, _ in routed])
    index = torch.cat([i.reshape(-1, i.shape[-1]) for _, i in routed])
    steps = walk(model, ids)  # kept: the walk puts the model back when it is dropped
    step = next(steps)
    groups = collect(step, [t for t in find_targets(model, ["gate_up_proj"]) if t.block == 0], InputNorm)
    total = 0
    for norm, (target,) in groups:
        rows = hidden[(index == target.expert).any(-1)]
        if norm is None:
            assert len(rows) == 0
            continue
        assert isinstance(norm, InputNorm) and norm.tokens == len(rows)
        torch.testing.assert_close(norm.norm, rows.norm(dim=0), atol=1e-3, rtol=1e-3)
        total += norm.tokens
    assert total == index.numel()
