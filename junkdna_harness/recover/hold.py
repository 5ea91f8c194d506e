"""Holding weights still while everything else is trained: exact after every step, optimizer state included.

A held weight is put back by integer arithmetic on its bits: times 0 any bits are +0, those of NaN, infinity and −1 too,
and times 1 they stay what they are. A product of floats would leave NaN and −0; `masked_fill_` takes five times as long.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from difficulty.errors import UsageError

WRAPPERS = ("_fsdp_wrapped_module", "_orig_mod")
INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes per element
LOOK = 65_536  # weights at a time, to find a held one


@dataclass(frozen=True)
class Held:
    """Where `free` (bool, the parameter's shape) is False, weights are held at `values` (same shape; None = zero)."""

    free: Tensor
    values: Tensor | None = None


@dataclass(frozen=True)
class Live:
    """A parameter in training: `free` and `values` as it is sharded, `values` zero where free; `first`: a held weight."""

    parameter: nn.Parameter
    free: Tensor
    values: Tensor | None
    first: tuple[int, ...]


class HoldWeights(TrainerCallback):  # type: ignore[misc]
    """Puts held weights back, and zeroes their gradient and optimizer state, around every step of the optimizer.

    The gradient is zeroed before it is clipped (`mask_gradients`), so that held weights decide nothing; the values
    are put back after the step, because weight decay moves a weight without a gradient.
    """

    def __init__(self, held: Mapping[str, Held]) -> None:
        self.held = {name: _zero_where_free(one) for name, one in held.items()}
        self._live: list[Live] = []
        self._is_clear = False  # the optimizer remembers nothing of held weights

    def attach(self, model: nn.Module) -> None:
        """Find the held parameters in `model`, wrapped or sharded as it is now, and put them at their values.

        Raises:
            UsageError: a parameter is missing or has another shape.
        """
        found = {plain_name(name): parameter for name, parameter in model.named_parameters()}
        self._live, self._is_clear = [], False
        for name, held in self.held.items():
            parameter = found.get(name)
            if parameter is None:
                raise UsageError(
                    f"the trained model has no parameter {name!r}, which the mask holds. Check the mask."
                )
            if parameter.shape != held.free.shape:
                raise UsageError(
                    f"{name!r} is stored as {tuple(parameter.shape)} and its mask as {tuple(held.free.shape)}. Use the "
                    "mask of this model; under FSDP set fsdp_version=2, which keeps parameters in their shape."
                )
            live = _live(parameter, held)
            if live is not None:
                self._live.append(live)
        self.restore()

    @torch.no_grad()
    def restore(self) -> None:
        """Put every held weight at its value."""
        for live in self._live:
            data = local_part(live.parameter.data)
            zero_unless(live.free, data)
            if live.values is not None:
                _bits(data).bitwise_or_(_bits(live.values))

    @torch.no_grad()
    def mask_gradients(self) -> None:
        """Zero the gradients of held weights."""
        for live in self._live:
            if live.parameter.grad is not None:
                zero_unless(live.free, local_part(live.parameter.grad))

    @torch.no_grad()
    def clear_state(self, optimizer: Any) -> None:
        """Zero what the optimizer remembers of held weights.

        What is no plain tensor of floats holds the codes of an 8-bit optimizer, whose zero is another number; gradients
        of zero keep them where they began.
        """
        state = getattr(optimizer, "state", {})
        for live in self._live:
            for value in state.get(live.parameter, {}).values():
                if isinstance(value, Tensor) and value.shape == live.parameter.shape:
                    local = local_part(value)
                    if type(local) is Tensor and local.is_floating_point():
                        zero_unless(live.free, local)
        self._is_clear = True

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, optimizer: Any = None, **kwargs: Any
    ) -> None:
        """Attach to the model as it is prepared for training; a state that was loaded is cleared too."""
        self.attach(model)
        self.clear_state(optimizer)

    def on_optimizer_step(
        self, args: Any, state: Any, control: Any, optimizer: Any = None, **kwargs: Any
    ) -> None:
        """Right after the step: values back, state cleared."""
        self.restore()
        if not self._stays_clear(optimizer):
            self.clear_state(optimizer)

    def _stays_clear(self, optimizer: Any) -> bool:
        """True where the step cannot have left anything in the state of held weights.

        AdamW's moments are sums of a weight's own gradients (decay does not enter), so zero stays zero as long as the
        gradients were zero. Between masking and step they are scaled only, all alike: times NaN where their norm is no
        number. So one held weight of each parameter tells.
        """
        if not self._is_clear or type(getattr(optimizer, "optimizer", optimizer)) is not torch.optim.AdamW:
            return False
        probes: dict[torch.device, list[Tensor]] = {}
        for live in self._live:
            if live.parameter.grad is None:
                return False
            probe = local_part(live.parameter.grad)[live.first]
            probes.setdefault(probe.device, []).append(probe.float())
        return all(bool((torch.stack(there) == 0).all()) for there in probes.values())


def zero_unless(free: Tensor, tensor: Tensor) -> None:
    """+0 in place where `free` is False; the other elements keep every bit."""
    _bits(tensor).mul_(free)


def plain_name(name: str) -> str:
    """`name` without the parts that DDP, FSDP and torch.compile put in."""
    parts = [part for part in name.removeprefix("module.").split(".") if part not in WRAPPERS]
    return ".".join(parts)


def local_part(tensor: Tensor) -> Tensor:
    """This process's shard of a sharded tensor; any other tensor itself."""
    to_local = getattr(tensor, "to_local", None)
    return to_local() if callable(to_local) else tensor


def _bits(tensor: Tensor) -> Tensor:
    """The same memory as integers of the same width."""
    return tensor.view(INTEGERS[tensor.element_size()])


def _zero_where_free(held: Held) -> Held:
    """Its values, ready to be put among the bits of the free weights."""
    if held.values is None:
        return held
    values = held.values.clone()
    zero_unless(~held.free, values)
    return Held(held.free, values)


def _live(parameter: nn.Parameter, held: Held) -> Live | None:
    """What is held of this process's part of `parameter`; None where nothing is."""
    free = _like(held.free, parameter)
    first = _first_held(free)
    if first is None:
        return None
    values = None if held.values is None else _like(held.values, parameter).to(parameter.dtype)
    return Live(parameter, free, values, first)


def _first_held(free: Tensor) -> tuple[int, ...] | None:
    """The index of a held weight, most often after a look at the first few; None where there is none."""
    flat = free.reshape(-1)
    for start in range(0, len(flat), LOOK):
        held = ~flat[start : start + LOOK]
        if bool(held.any()):
            at = torch.unravel_index(held.to(torch.uint8).argmax() + start, free.shape)
            return tuple(int(i) for i in at)
    return None


def _like(tensor: Tensor, parameter: nn.Parameter) -> Tensor:
    """`tensor` on the parameter's device, cut into shards as the parameter is."""
    data: Any = parameter.data
    if hasattr(data, "device_mesh"):
        from torch.distributed.tensor import distribute_tensor

        sharded = distribute_tensor(
            tensor.to(data.device_mesh.device_type), data.device_mesh, data.placements
        )
        return sharded.to_local()
    return tensor.to(parameter.device)
