"""GPTQ (Frantar et al. 2022, arXiv 2210.17323): round column by column; the columns that follow make up for the error."""

from __future__ import annotations

from torch import Tensor

from junkdna_harness.compress.columns import BLOCK, sweep
from junkdna_harness.compress.grid import WHOLE_ROW, Grid, fit_grid
from junkdna_harness.compress.statistics import Hessian


class _Round:
    """The sweep's rule. A group's grid is fitted when its first column comes up, on values already made up for."""

    def __init__(self, weight: Tensor, bits: int, group: int, symmetric: bool, zeros: Tensor | None) -> None:
        self.bits, self.group, self.symmetric = bits, group, symmetric
        self.zeros = None if zeros is None else zeros.T
        self.grid: Grid | None = fit_grid(weight, bits, symmetric) if group == WHOLE_ROW else None

    def start(self, first: int, columns: Tensor, diagonal: Tensor) -> None:
        """Nothing to prepare: groups never straddle two runs."""

    def column(self, first: int, offset: int, columns: Tensor, diagonal: Tensor) -> Tensor:
        if self.grid is None or (self.group != WHOLE_ROW and offset % self.group == 0):
            self.grid = fit_grid(columns[offset : offset + self.group].T, self.bits, self.symmetric)
        new = self.grid.round(columns[offset].unsqueeze(1)).squeeze(1)
        return new if self.zeros is None else new.masked_fill(self.zeros[first + offset], 0)


def gptq(
    weight: Tensor, hessian: Hessian, bits: int, group: int, symmetric: bool, zeros: Tensor | None = None
) -> Tensor:
    """The rounded weights, shape (out, in), fp32; where the bool mask `zeros` is true they are zero."""
    block = BLOCK if group == WHOLE_ROW else max(group, BLOCK // group * group)
    return sweep(weight, hessian.factor(), _Round(weight, bits, group, symmetric, zeros), block)
