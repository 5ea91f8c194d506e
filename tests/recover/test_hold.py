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
from junkdna_harness.recover.hold import Held, HoldWeights, plain_name
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
    hold = HoldWeights({"weight": Held(where, before)})
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
    hold = HoldWeights({"weight": Held(torch.tensor([[True, True, True, False]]))})
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
