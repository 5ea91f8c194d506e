"""Which matrices choose experts, seen in a forward pass: the oracle for the rule in `compress/mixtures.py`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_PRODUCTS = (
    nn.functional.linear,
    torch.matmul,
    torch.Tensor.matmul,
    torch.Tensor.__matmul__,
    torch.addmm,
    torch.mm,
)
_CHOICES = (
    torch.topk,
    torch.Tensor.topk,
    torch.argmax,
    torch.Tensor.argmax,
    torch.sort,
    torch.Tensor.sort,
    torch.max,
    torch.Tensor.max,
)


class Choosing(TorchFunctionMode):
    """Follows what each matrix gives until something is chosen by it among as many as there are experts.

    A tensor remembers the last matrix that it came through: later products, and sums with what came through another one, forget it.
    """

    def __init__(self, model: nn.Module, numbers: set[int]) -> None:
        super().__init__()
        self.numbers = numbers
        self.found: set[int] = set()
        self._matrices = {p.untyped_storage().data_ptr(): id(p) for p in model.parameters() if p.ndim == 2}
        self._from: dict[int, int] = {}
        self._alive: list[Tensor] = []  # so that no id is used twice

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = func(*args, **(kwargs or {}))
        with torch._C.DisableTorchFunction():
            self._follow(func, args, given)
        return given

    def _follow(self, func: Any, args: tuple[Any, ...], given: Any) -> None:
        tensors = [a for a in args if isinstance(a, Tensor)]
        if func in _PRODUCTS:
            weights = [self._matrices.get(t.untyped_storage().data_ptr()) for t in tensors]
            sources = {w for w in weights if w is not None}
        else:
            sources = {self._from[id(t)] for t in tensors if id(t) in self._from}
        if func in _CHOICES and tensors and tensors[0].ndim and tensors[0].shape[-1] in self.numbers:
            self.found |= sources
        if len(sources) == 1:
            for one in given if isinstance(given, (tuple, list)) else (given,):
                if isinstance(one, Tensor):
                    self._from[id(one)] = next(iter(sources))
                    self._alive.append(one)
