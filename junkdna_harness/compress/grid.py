"""The grid of values that b bits can hold, simulated: weights are rounded to it and stored as ordinary floats.

Zero is always on the grid, so that what was pruned stays pruned.

Reference: Frantar et al. 2022 (arXiv 2210.17323), whose scales and zero points these are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from difficulty.errors import UsageError
from junkdna_harness.compress.targets import Target

GROUPS = (128, 64, 32, 16)  # tried in turn where the user names no group size
WHOLE_ROW = -1


@dataclass(frozen=True)
class Grid:
    """Scales and zero points, each of shape (groups, 1), of rows quantized to `bits`."""

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


def resolve_group(targets: Sequence[Target], given: int | None) -> int:
    """The group size in use: what was given, else the largest of 128, 64, 32, 16 that divides every input width.

    -1 (one scale a row) where none does.

    Raises:
        UsageError: the given size does not divide a width; the layer is named.
    """
    if given is None:
        widths = {target.shape[1] for target in targets}
        return next((size for size in GROUPS if all(w % size == 0 for w in widths)), WHOLE_ROW)
    for target in targets:
        if given != WHOLE_ROW and target.shape[1] % given:
            raise UsageError(
                f"group_size={given} does not divide the input width {target.shape[1]} of {target.name}. "
                f"Choose a divisor, or -1 for one scale a row."
            )
    return given


def mean_group(targets: Sequence[Target], group: int) -> float:
    """Weights that share one scale, on average."""
    if group != WHOLE_ROW:
        return float(group)
    return sum(t.numel for t in targets) / sum(t.shape[0] for t in targets)
