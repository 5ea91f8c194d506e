"""Activations of 8 bits, simulated: the inputs of the targeted layers are rounded before they are multiplied with the weights.

* int8, symmetric: scale = max |x| / 127, x to the nearest of -127 to 127 steps of it (ties to even).
* fp8, E4M3: scale = max |x| / 448, x / scale as torch casts it to `float8_e4m3fn`.

Dynamic scales are of each token by itself, so that an answer depends neither on the batch nor on a cache. Static ones are of each layer (of each
stack of experts), the largest |x| that the calibration text gave; what exceeds it is cut off. All in fp32, the result in the input's dtype.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from junkdna_harness.compress.targets import Target

INT8_MOST = 127
FP8_MOST = 448  # the largest number of E4M3


def round_int8(values: Tensor, most: Tensor) -> Tensor:
    """`values` on the grid of int8 whose largest number is `most` (broadcast), in fp32."""
    scale = _scale(most, INT8_MOST)
    return torch.round(values.float() / scale).clamp_(-INT8_MOST, INT8_MOST).mul_(scale)


def round_fp8(values: Tensor, most: Tensor) -> Tensor:
    """`values` on the grid of scaled E4M3 numbers whose largest is `most` (broadcast), in fp32."""
    scale = _scale(most, FP8_MOST)
    cast = (values.float() / scale).clamp_(-FP8_MOST, FP8_MOST).to(torch.float8_e4m3fn)
    return cast.float().mul_(scale)


ROUNDINGS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {"int8": round_int8, "fp8": round_fp8}


def largest_of_token(values: Tensor) -> Tensor:
    """max |x| of each token, fp32, shape (..., 1)."""
    return values.abs().amax(dim=-1, keepdim=True).float()


def _scale(most: Tensor, steps: int) -> Tensor:
    # By a tensor: CUDA multiplies by the inverse of a plain number, one bit off.
    scale = most.float() / torch.full_like(most, steps, dtype=torch.float32)
    return torch.where(scale >= torch.finfo(torch.float32).tiny, scale, torch.ones_like(scale))


@dataclass
class Inputs:
    """What goes into one layer, or one stack of experts, that holds `weights` of the targeted weights.

    `most` is the largest |x| that belongs to a static scale, None where each token has a scale of its own. `calls`: how often something came by.
    """

    name: str
    weights: int
    most: float | None = None
    calls: int = 0


@dataclass
class Activations:
    """The inputs of a model's targeted layers, by the id of the parameter that holds their weights; what `see` makes of them is what the layers get."""

    inputs: dict[int, Inputs] = field(default_factory=dict)
    modules: list[tuple[nn.Module, int]] = field(
        default_factory=list
    )  # linear layers, and whose input theirs is
    stacks: list[nn.Module] = field(default_factory=list)  # modules that hold experts in stacks

    @property
    def weights(self) -> int:
        """How many weights the layers have."""
        return sum(one.weights for one in self.inputs.values())

    def unseen(self) -> list[Inputs]:
        """Those at which nothing came by."""
        return [one for one in self.inputs.values() if not one.calls]

    @contextmanager
    def seen_by(self, see: Callable[[Inputs, Tensor], Tensor]) -> Iterator[None]:
        """Every input goes through `see` for as long as the context is open."""

        def look(key: int, values: Any) -> Any:
            if not isinstance(values, Tensor) or not values.is_floating_point():
                return values  # token numbers, of an embedding
            self.inputs[key].calls += 1
            return see(self.inputs[key], values)

        with ExitStack() as open_:
            for module, key in self.modules:
                hook = module.register_forward_pre_hook(_before(look, key), with_kwargs=True)
                open_.callback(hook.remove)
            for module in self.stacks:
                for handle in _within(module, look, self.inputs):
                    open_.callback(handle.remove)
            yield


def find_inputs(model: nn.Module, targets: Sequence[Target]) -> Activations:
    """Where the targets get their inputs, in `model`, of which several modules may share a target's weight."""
    found = Activations()
    stacks: dict[int, nn.Module] = {}
    for target in targets:
        key = id(target.parameter)
        name = target.name if target.expert is None else target.module_name
        found.inputs.setdefault(key, Inputs(name, 0)).weights += target.numel
        if target.expert is not None:
            stacks[id(target.module)] = target.module
    found.stacks = list(stacks.values())
    for module in model.modules():
        weight = module._parameters.get("weight")
        if weight is not None and weight.ndim == 2 and id(weight) in found.inputs:
            found.modules.append((module, id(weight)))
    return found


def rounding(how: str) -> Callable[[Inputs, Tensor], Tensor]:
    """Rounds what comes by, with the static scale of its layer where that has one."""
    rounded = ROUNDINGS[how]

    def see(inputs: Inputs, values: Tensor) -> Tensor:
        if inputs.most is None:
            most = largest_of_token(values)
        else:
            most = torch.tensor(inputs.most, device=values.device)
        return rounded(values, most).to(values.dtype)

    return see


def measuring(inputs: Inputs, values: Tensor) -> Tensor:
    """Notes the largest |x| of what comes by, and lets it through."""
    if values.numel():
        inputs.most = max(inputs.most or 0.0, float(values.abs().max()))
    return values


def _before(look: Callable[[int, Any], Any], key: int) -> Callable[..., Any]:
    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args:
            return (look(key, args[0]), *args[1:]), kwargs
        return args, {
            name: look(key, value) if name in ("input", "x") else value for name, value in kwargs.items()
        }

    return hook


_EXPERTS = "_experts_implementation_internal"


def _within(module: nn.Module, look: Callable[[int, Any], Any], known: Mapping[int, Inputs]) -> list[Any]:
    """Hooks that open a `_Products` while the module computes, its experts one at a time: products of many gather copies of the weights."""
    open_: list[ExitStack] = []

    def begin(*_: Any) -> None:
        stack = ExitStack()
        config: Any = getattr(module, "config", None)
        if hasattr(config, _EXPERTS):
            stack.callback(setattr, config, _EXPERTS, getattr(config, _EXPERTS))
            setattr(config, _EXPERTS, "eager")
        held = module._parameters.values()
        stack.enter_context(
            _Products(look, {_storage(p): id(p) for p in held if p is not None and id(p) in known})
        )
        open_.append(stack)

    def end(*_: Any) -> None:
        open_.pop().close()

    return [module.register_forward_pre_hook(begin), module.register_forward_hook(end, always_call=True)]


class _Products(TorchFunctionMode):
    """Hands on, as inputs, what is multiplied with a stack of experts or a slice of it."""

    _FUNCTIONS = (
        nn.functional.linear, torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__, torch.mm, torch.Tensor.mm, torch.bmm, torch.Tensor.bmm,
    )  # fmt: skip

    def __init__(self, look: Callable[[int, Any], Any], keys: Mapping[int, int]) -> None:
        super().__init__()
        self._look, self._keys = look, keys  # storage of a weight -> its input's key

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if len(args) >= 2 and func in self._FUNCTIONS and isinstance(args[1], Tensor):
            key = self._keys.get(_storage(args[1]))
            if key is not None:
                with torch._C.DisableTorchFunction():
                    args = (self._look(key, args[0]), *args[1:])
        return func(*args, **(kwargs or {}))


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
