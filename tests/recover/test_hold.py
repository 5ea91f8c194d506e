"""Held weights stay where they are, to the bit, whatever the optimizer does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import TrainerCallback

from difficulty.errors import UsageError
from junkdna_harness.compress import PruneSpec, prune
from junkdna_harness.recover import RecoverSpec
from junkdna_harness.recover.hold import INTEGERS, Held, HoldWeights, _first_held, plain_name, zero_unless
from junkdna_harness.recover.masks import kept_masks, sparsity
from junkdna_harness.recover.run import recover
from tests.recover.conftest import small_model


class Watch(TrainerCallback):  # type: ignore[misc]
    """After every step: the largest held weight, its largest optimizer state, and whether anything else moved."""

    def __init__(self, masks: dict[str, torch.Tensor]) -> None:
        self.masks, self.worst, self.state, self.steps, self.moved = masks, 0.0, 0.0, 0, 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self.before = {n: p.detach().clone() for n, p in model.named_parameters()}

    def on_step_end(
        self, args: Any, state: Any, control: Any, model: Any = None, optimizer: Any = None, **kwargs: Any
    ) -> None:
        self.steps += 1
        for name, parameter in model.named_parameters():
            if name in self.masks:
                held = ~self.masks[name]
                self.worst = max(self.worst, parameter.detach()[held].abs().max().item())
                for value in optimizer.state[parameter].values():
                    if value.shape == parameter.shape:
                        self.state = max(self.state, value[held].abs().max().item())
                self.moved = max(self.moved, (parameter.detach() - self.before[name]).abs().max().item())


@pytest.mark.parametrize(
    "trainer", [{}, {"weight_decay": 0.1, "gradient_accumulation_steps": 2}, {"optim": "sgd"}]
)
def test_no_masked_weight_ever_leaves_zero_and_no_optimizer_state_grows_there(
    checkpoint: Path, lines: Path, tmp_path: Path, trainer: dict[str, Any]
) -> None:
    model = small_model()
    prune(model, PruneSpec(sparsity=0.5))
    masks = kept_masks(model)
    assert sparsity(masks) == 0.5
    watch = Watch(masks)
    spec = RecoverSpec(data=str(lines), steps=6, batch_size=4, lr=0.01, trainer=trainer)
    done = recover(str(checkpoint), tmp_path / "out", spec, PruneSpec(sparsity=0.5), callbacks=[watch])
    assert (watch.steps, watch.worst, watch.state) == (6, 0.0, 0.0)
    assert watch.moved > 1e-3
    assert done.manifest["sparsity_targeted"] == 0.5


def test_weight_decay_does_not_move_a_frozen_weight() -> None:
    layer = nn.Linear(8, 8, bias=False)
    before = layer.weight.detach().clone()
    where = torch.rand(8, 8) < 0.5
    hold = HoldWeights({"weight": Held(~where, before)})
    hold.attach(layer)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, weight_decay=0.5)
    for _ in range(3):
        layer(torch.randn(4, 8)).square().sum().backward()
        hold.mask_gradients()
        optimizer.step()
        hold.on_optimizer_step(None, None, None, optimizer=optimizer)
    assert torch.equal(layer.weight[where], before[where])
    assert not torch.isclose(layer.weight[~where], before[~where]).any()


def test_held_weights_do_not_count_when_gradients_are_clipped() -> None:
    layer = nn.Linear(4, 1, bias=False)
    hold = HoldWeights({"weight": Held(torch.tensor([[False, False, False, True]]))})
    hold.attach(layer)
    layer(torch.tensor([1e6, 1e6, 1e6, 1.0])).sum().backward()
    hold.mask_gradients()
    assert nn.utils.clip_grad_norm_(layer.parameters(), 1.0).item() == pytest.approx(1.0)


def test_a_mask_of_another_model_is_refused_by_name() -> None:
    hold = HoldWeights({"weight": Held(torch.ones(3, 3, dtype=torch.bool))})
    with pytest.raises(UsageError, match=r"'weight' is stored as \(4, 4\) and its mask as \(3, 3\)"):
        hold.attach(nn.Linear(4, 4))
    with pytest.raises(UsageError, match="no parameter 'other'"):
        HoldWeights({"other": Held(torch.ones(4, 4, dtype=torch.bool))}).attach(nn.Linear(4, 4))


def test_names_lose_the_prefixes_of_wrappers() -> None:
    assert plain_name("module._orig_mod.model.layers.0.q.weight") == "model.layers.0.q.weight"
    assert plain_name("model._fsdp_wrapped_module.layers.0.w") == "model.layers.0.w"


BAD = (float("nan"), float("inf"), -float("inf"), -0.0, -1.0, 1e-42)
OPTIMIZERS: dict[str, Any] = {
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.5),
    "adamw fused": lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.5, fused=True),
    "adamw foreach amsgrad": lambda p: torch.optim.AdamW(p, lr=0.1, foreach=True, amsgrad=True),
    "adamw that divides 0 by 0": lambda p: torch.optim.AdamW(p, lr=0.1, eps=0.0),
    "adamw whose decay turns signs": lambda p: torch.optim.AdamW(p, lr=0.9, weight_decay=3.0),
    "adam": lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.5),
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.5),
    "adafactor": lambda p: torch.optim.Adafactor(p, lr=0.1, weight_decay=0.5),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1, initial_accumulator_value=0.1),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.1, centered=True, momentum=0.9, weight_decay=0.5),
}


def bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().view(INTEGERS[tensor.element_size()])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("turned", [False, True])
def test_held_places_become_positive_zero_whatever_stood_there_and_others_keep_every_bit(
    dtype: torch.dtype, turned: bool
) -> None:
    torch.manual_seed(0)
    tensor = torch.tensor((*BAD, 2.5), dtype=dtype).repeat(20, 6)
    free = torch.rand(tensor.shape) < 0.5
    before = bits(tensor).clone()
    if turned:
        zero_unless(free.T, tensor.T)
    else:
        zero_unless(free, tensor)
    assert torch.equal(bits(tensor)[free], before[free])
    assert not bits(tensor)[~free].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_no_gradient_and_no_optimizer_moves_a_held_weight_or_its_state(
    name: str, kept: bool, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(12, 10, bias=False).to(dtype)
    weight, free = layer.weight, torch.rand(10, 12) < 0.5
    values = weight.detach().clone()
    values.view(-1)[:6] = torch.tensor(BAD, dtype=dtype)
    expected = bits(values if kept else torch.zeros_like(values))
    hold = HoldWeights({"weight": Held(free, values if kept else None)})
    hold.attach(layer)
    optimizer = OPTIMIZERS[name]([weight])
    first_free = tuple(free.nonzero()[0].tolist())
    for step in range(7):
        weight.grad = torch.randn(10, 12, dtype=dtype)
        weight.grad[~free] = torch.tensor(BAD, dtype=dtype)[torch.randint(6, (int((~free).sum()),))]
        if step in (3, 6):
            weight.grad[first_free] = float("nan") if step == 3 else float("inf")
        hold.mask_gradients()
        assert not bits(weight.grad)[~free].any()
        nn.utils.clip_grad_norm_([weight], 1.0)
        if step != 1:  # a scaler of gradients skips steps
            optimizer.step()
        hold.on_optimizer_step(None, None, None, optimizer=optimizer)
        assert torch.equal(bits(weight)[~free], expected[~free])
        for state in optimizer.state[weight].values():
            if isinstance(state, torch.Tensor) and state.shape == weight.shape:
                assert not bits(state)[~free].any()
        if step == 3:  # what a NaN did to the free weights is not the matter here
            with torch.no_grad():
                weight[free] = 0.5
            optimizer.state.clear()


def test_the_free_weights_are_those_of_the_plain_way_to_the_bit() -> None:
    """Reference: the mask multiplied into gradient, weight and moments at every step, as the paper writes it."""
    torch.manual_seed(0)
    start, free = torch.randn(9, 14), torch.rand(9, 14) < 0.4
    ours, plain = (nn.Linear(14, 9, bias=False) for _ in range(2))
    for layer in (ours, plain):
        layer.weight.data.copy_(start * free)
    hold = HoldWeights({"weight": Held(free)})
    hold.attach(ours)
    optimizers = [torch.optim.AdamW(layer.parameters(), lr=0.1, weight_decay=0.1) for layer in (ours, plain)]
    for _ in range(5):
        x = torch.randn(4, 14)
        for layer, optimizer in zip((ours, plain), optimizers, strict=True):
            layer.zero_grad()
            layer(x).square().sum().backward()
            if layer is ours:
                hold.mask_gradients()
            else:
                layer.weight.grad *= free
            nn.utils.clip_grad_norm_(layer.parameters(), 1.0)
            optimizer.step()
        hold.on_optimizer_step(None, None, None, optimizer=optimizers[0])
        with torch.no_grad():
            plain.weight *= free
            for moment in ("exp_avg", "exp_avg_sq"):
                optimizers[1].state[plain.weight][moment] *= free
    assert torch.equal(ours.weight, plain.weight)
    for moment in ("exp_avg", "exp_avg_sq"):
        assert torch.equal(
            optimizers[0].state[ours.weight][moment], optimizers[1].state[plain.weight][moment]
        )


def test_the_state_is_cleared_when_it_was_loaded_and_when_a_gradient_was_no_zero_and_not_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer = nn.Linear(6, 6, bias=False)
    weight, free = layer.weight, torch.eye(6) == 0
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1)
    layer(torch.ones(1, 6)).sum().backward()
    optimizer.step()  # as a checkpoint of another mask would be
    hold = HoldWeights({"weight": Held(free)})
    hold.on_train_begin(None, None, None, model=layer, optimizer=optimizer)
    assert not optimizer.state[weight]["exp_avg"][~free].any()
    assert optimizer.state[weight]["exp_avg"][free].all()
    cleared: list[int] = []
    clear = hold.clear_state
    monkeypatch.setattr(hold, "clear_state", lambda optimizer: (cleared.append(step), clear(optimizer)))
    for step in range(5):
        hold.mask_gradients()
        if step == 2:  # what clipping does where the norm is no number
            weight.grad *= float("nan")
        optimizer.step()
        hold.on_optimizer_step(None, None, None, optimizer=optimizer)
        assert not bits(optimizer.state[weight]["exp_avg_sq"])[~free].any()
        weight.grad = torch.randn(6, 6)
    assert cleared == [2]


def test_codes_of_an_eight_bit_optimizer_are_left_to_it() -> None:
    layer = nn.Linear(4, 4, bias=False)
    hold = HoldWeights({"weight": Held(torch.zeros(4, 4, dtype=torch.bool))})
    hold.attach(layer)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    codes = torch.full((4, 4), 127, dtype=torch.uint8)  # of zero, in a map from -1 to 1
    optimizer.state[layer.weight] = {"codes": codes, "moment": torch.ones(4, 4)}
    hold.clear_state(optimizer)
    assert (codes == 127).all()
    assert not optimizer.state[layer.weight]["moment"].any()


def test_a_parameter_is_known_to_be_held_wherever_its_held_weight_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("junkdna_harness.recover.hold.LOOK", 4)
    layer = nn.Linear(5, 5, bias=False)
    for at in range(25):
        free = torch.ones(25, dtype=torch.bool)
        free[at] = False
        layer.weight.data.fill_(1.0)
        HoldWeights({"weight": Held(free.view(5, 5))}).attach(layer)
        assert torch.equal(layer.weight.detach().view(-1), free.float())
        assert _first_held(free.view(5, 5)) == (at // 5, at % 5)
    assert _first_held(torch.ones(5, 5, dtype=torch.bool)) is None
    assert _first_held(torch.ones(0, 5, dtype=torch.bool)) is None
