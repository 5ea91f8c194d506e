"""The grid of values that b bits can hold, simulated: weights are rounded to it and stored as ordinary floats.

Zero is always on the grid, so that what was pruned stays pruned.

Reference: Frantar et al. 2022 (arXiv 2210.17323), whose scales and zero points these are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Grid:
    """Scales and zero points, each of shape (rows, 1), of rows quantized to `bits`."""

    scale: Tensor
    zero: Tensor
    bits: int

    def round(self, values: Tensor) -> Tensor:
        """The nearest grid values of `values`, shape (groups, n), fp32."""
        codes = torch.round(values / self.scale).add_(self.zero).clamp_(0, 2**self.bits - 1)
        return codes.sub_(self.zero).mul_(self.scale)


def fit_grid(values: Tensor, bits: int, symmetric: bool) -> Grid:
    """The grid that spans each row of `values`, shape (groups, n), and zero."""
    steps = 2**bits - 1
    low = values.amin(dim=1, keepdim=True).clamp_(max=0)
    high = values.amax(dim=1, keepdim=True).clamp_(min=0)
    if symmetric:
        high = torch.maximum(high, -low)
        low = -high
    # By a tensor: CUDA multiplies by the inverse of a plain number, one bit off, and values midway go elsewhere than on a CPU.
    scale = (high - low) / torch.full_like(high, steps)
    # All zeros, or so small that the step has no exact inverse: one step of 1 rounds them to zero.
    scale = torch.where(scale >= torch.finfo(scale.dtype).tiny, scale, torch.ones_like(scale))
    zero = torch.full_like(scale, (steps + 1) / 2) if symmetric else torch.round(-low / scale)
    return Grid(scale, zero, bits)
