"""Muon in fp32: momentum, orthogonalised. `torch.optim.Muon` iterates in bfloat16, which is slow on most CPUs.

Reference: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/; learning-rate scale of Liu et al. 2502.16982.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # quintic Newton-Schulz, from the reference
STEPS = 5


def orthogonalise(matrices: Tensor) -> Tensor:
    """`matrices` (n, rows, columns) with all singular values pushed towards 1."""
    a, b, c = COEFFICIENTS
    x: Tensor = matrices if matrices.size(1) <= matrices.size(2) else matrices.transpose(1, 2)
    x = x / x.flatten(1).norm(dim=1).clamp(min=1e-7)[:, None, None]
    for _ in range(STEPS):
        gram = x @ x.transpose(1, 2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if matrices.size(1) <= matrices.size(2) else x.transpose(1, 2)


class Muon(torch.optim.Optimizer):
    """Muon for matrices; matrices of one shape are orthogonalised in one batched product."""

    def __init__(
        self, params: Iterable[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update; the size of each step matches AdamW's root mean square."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape.setdefault(parameter.shape, []).append(parameter)
            for shape, parameters in by_shape.items():
                updates = orthogonalise(
                    torch.stack([self._momentum(p, group["momentum"]) for p in parameters])
                )
                scale = group["lr"] * 0.2 * max(shape) ** 0.5
                for parameter, update in zip(parameters, updates, strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-scale)

    def _momentum(self, parameter: Tensor, momentum: float) -> Tensor:
        """Nesterov's look-ahead of the gradient's running mean."""
        assert parameter.grad is not None
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        buffer: Tensor = state["momentum"]
        buffer.lerp_(parameter.grad, 1 - momentum)
        return parameter.grad.lerp(buffer, momentum)
