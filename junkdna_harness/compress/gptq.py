"""GPTQ (Frantar et al. 2022, arXiv 2210.17323): round column by column; the columns that follow make up for the error."""

from __future__ import annotations

import torch
from torch import Tensor

from junkdna_harness.compress.columns import BLOCK, sweep
from junkdna_harness.compress.formats import WHOLE_ROW
from junkdna_harness.compress.grid import Grid, fit_grid
from junkdna_harness.compress.quantizers import Rounding, quantizer
from junkdna_harness.compress.rtn import rtn
from junkdna_harness.compress.statistics import Hessian


class ByWeight(Hessian):
    """The Hessian with the input features that carry most first: `act_order` rounds those while most columns can make up for it."""

    def order(self) -> Tensor:
        """The features, those of the largest diagonal first, ties to the lower index; int64, shape (in,)."""
        if self._order is None:
            self._order = torch.sort(self._products.diagonal(), descending=True, stable=True).indices
            self._products = self._products[self._order][:, self._order]
        return self._order

    _order: Tensor | None = None

    def matrix(self) -> Tensor:
        """fp32, shape (in, in), undamped, in the order of `order`."""
        self.order()
        return super().matrix()

    def factor(self) -> Tensor:
        """As a Hessian's, in the order of `order`."""
        self.order()
        return super().factor()


class _Round:
    """The sweep's rule. A group's grid is fitted when its first column comes up, on values already made up for."""

    def __init__(self, weight: Tensor, how: Rounding) -> None:
        self.how = how
        self.zeros = None if how.zeros is None else how.zeros.T
        whole = how.group == WHOLE_ROW
        self.grid: Grid | None = fit_grid(weight, how.bits, how.symmetric) if whole else None

    def start(self, first: int, columns: Tensor, diagonal: Tensor) -> None:
        """Nothing to prepare: groups never straddle two runs."""

    def column(self, first: int, offset: int, columns: Tensor, diagonal: Tensor) -> Tensor:
        how = self.how
        if self.grid is None or (how.group != WHOLE_ROW and offset % how.group == 0):
            self.grid = fit_grid(columns[offset : offset + how.group].T, how.bits, how.symmetric)
        new = self.grid.round(columns[offset].unsqueeze(1)).squeeze(1)
        return new if self.zeros is None else new.masked_fill(self.zeros[first + offset], 0)


class _RoundInOrder:
    """The rule for columns in another order: the groups' grids are fitted before, on the weights as they came, so that neighbours
    still share a scale and nothing but scales is stored (`actorder: static` of llm-compressor)."""

    def __init__(self, weight: Tensor, order: Tensor, how: Rounding) -> None:
        grid = fit_grid(how.rows(weight), how.bits, how.symmetric)
        groups = weight.shape[0], -1
        self.scale, self.zero = grid.scale.view(groups).T, grid.zero.view(groups).T  # (groups, out)
        self.how = how
        size = weight.shape[1] if how.group == WHOLE_ROW else how.group
        self.group_of = (order // size).tolist()
        self.zeros = None if how.zeros is None else how.zeros.T[order]

    def start(self, first: int, columns: Tensor, diagonal: Tensor) -> None:
        """Nothing to prepare."""

    def column(self, first: int, offset: int, columns: Tensor, diagonal: Tensor) -> Tensor:
        group = self.group_of[first + offset]
        new = Grid(self.scale[group], self.zero[group], self.how.bits).round(columns[offset])
        return new if self.zeros is None else new.masked_fill(self.zeros[first + offset], 0)


@quantizer("gptq", needs=Hessian, ordered=ByWeight)
def gptq(weight: Tensor, how: Rounding, hessian: Hessian | None = None) -> Tensor:
    """The rounded weights, shape (out, in), fp32."""
    if hessian is None:
        return rtn(weight, how)
    if isinstance(hessian, ByWeight):
        order = hessian.order()
        new = sweep(weight[:, order], hessian.factor(), _RoundInOrder(weight, order, how))
        return torch.empty_like(new).index_copy_(1, order, new)
    block = BLOCK if how.group == WHOLE_ROW else max(how.group, BLOCK // how.group * how.group)
    return sweep(weight, hessian.factor(), _Round(weight, how), block)
