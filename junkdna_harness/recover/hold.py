"""Holding weights still while everything else is trained: exact after every step, optimizer state included."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from difficulty.errors import UsageError

WRAPPERS = ("_fsdp_wrapped_module", "_orig_mod")


@dataclass(frozen=True)
class Held:
    """`where` (bool, the parameter's shape) is held at `values` (same shape; None = zero)."""

    where: Tensor
    values: Tensor | None = None


class HoldWeights(TrainerCallback):  # type: ignore[misc]
    """Puts held weights back, and zeroes their gradient and optimizer state, around every step of the optimizer.

    The gradient is zeroed before it is clipped (`mask_gradients`), so that held weights decide nothing; the values
    are put back after the step, because weight decay moves a weight without a gradient.
    """

    def __init__(self, held: Mapping[str, Held]) -> None:
        self.held = dict(held)
        self._live: list[tuple[nn.Parameter, Held]] = []

    def attach(self, model: nn.Module) -> None:
        """Find the held parameters in `model`, wrapped or sharded as it is now, and put them at their values.

        Raises:
            UsageError: a parameter is missing or has another shape.
        """
        found = {plain_name(name): parameter for name, parameter in model.named_parameters()}
        self._live = []
        for name, held in self.held.items():
            parameter = found.get(name)
            if parameter is None:
                raise UsageError(
                    f"the trained model has no parameter {name!r}, which the mask holds. Check the mask."
                )
            if parameter.shape != held.where.shape:
                raise UsageError(
                    f"{name!r} is stored as {tuple(parameter.shape)} and its mask as {tuple(held.where.shape)}. Use the "
                    "mask of this model; under FSDP set fsdp_version=2, which keeps parameters in their shape."
                )
            self._live.append((parameter, Held(*(_like(t, parameter) for t in (held.where, held.values)))))  # type: ignore[arg-type]
        self.restore()

    @torch.no_grad()
    def restore(self) -> None:
        """Put every held weight at its value."""
        for parameter, held in self._live:
            data, where = _local(parameter.data), held.where
            if held.values is None:
                data.masked_fill_(where, 0)
            else:
                data.copy_(torch.where(where, held.values.to(data), data))

    @torch.no_grad()
    def mask_gradients(self) -> None:
        """Zero the gradients of held weights."""
        for parameter, held in self._live:
            if parameter.grad is not None:
                _local(parameter.grad).masked_fill_(held.where, 0)

    @torch.no_grad()
    def clear_state(self, optimizer: Any) -> None:
        """Zero what the optimizer remembers of held weights."""
        state = getattr(optimizer, "state", {})
        for parameter, held in self._live:
            for value in state.get(parameter, {}).values():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    _local(value).masked_fill_(held.where, 0)

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Attach to the model as it is prepared for training."""
        self.attach(model)

    def on_optimizer_step(
        self, args: Any, state: Any, control: Any, optimizer: Any = None, **kwargs: Any
    ) -> None:
        """Right after the step: values back, state cleared."""
        self.restore()
        self.clear_state(optimizer)


def plain_name(name: str) -> str:
    """`name` without the parts that DDP, FSDP and torch.compile put in."""
    parts = [part for part in name.removeprefix("module.").split(".") if part not in WRAPPERS]
    return ".".join(parts)


def _local(tensor: Tensor) -> Tensor:
    """This process's shard of a sharded tensor; any other tensor itself."""
    to_local = getattr(tensor, "to_local", None)
    return to_local() if callable(to_local) else tensor


def _like(tensor: Tensor | None, parameter: nn.Parameter) -> Tensor | None:
    """`tensor` on the parameter's device, cut into shards as the parameter is."""
    if tensor is None:
        return None
    data: Any = parameter.data
    if hasattr(data, "device_mesh"):
        from torch.distributed.tensor import distribute_tensor

        sharded = distribute_tensor(
            tensor.to(data.device_mesh.device_type), data.device_mesh, data.placements
        )
        return sharded.to_local()
    return tensor.to(parameter.device)
