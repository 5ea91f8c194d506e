"""The column sweep that SparseGPT and GPTQ share: change a column, let the columns after it make up for the error."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

BLOCK = 128  # columns changed before the rest of the matrix is brought up to date, as in both papers' code


class Rule(Protocol):
    """What is done to the columns; all tensors are transposed, so that a column of the weight is a contiguous row."""

    def start(self, first: int, columns: Tensor, diagonal: Tensor) -> None:
        """A run of columns begins at `first`: their values, shape (run, out), and the factor's diagonal, (run,)."""

    def column(self, first: int, offset: int, columns: Tensor, diagonal: Tensor) -> Tensor:
        """The new values, shape (out,), of column `first + offset`; `columns` hold the errors made up so far."""


def sweep(weight: Tensor, factor: Tensor, rule: Rule, block: int = BLOCK) -> Tensor:
    """The weight after `rule` changed every column in turn, shape (out, in), fp32.

    `factor` is the upper Cholesky factor U of the inverse Hessian (H⁻¹ = UᵀU), shape (in, in).

    Reference: Frantar & Alistarh 2023 (arXiv 2301.00774), algorithm 1; Frantar et al. 2022 (arXiv 2210.17323).
    """
    rows = weight.T.contiguous()  # (in, out)
    for first in range(0, len(rows), block):
        last = min(first + block, len(rows))
        columns, errors = rows[first:last], rows.new_empty(last - first, rows.shape[1])
        local = factor[first:last, first:last]
        diagonal = local.diagonal()
        rule.start(first, columns, diagonal)
        for offset in range(last - first):
            new = rule.column(first, offset, columns, diagonal)
            error = (columns[offset] - new) / diagonal[offset]
            columns[offset + 1 :].addr_(local[offset, offset + 1 :], error, alpha=-1)
            columns[offset] = new
            errors[offset] = error
        rows[last:].addmm_(factor[first:last, last:].T, errors, alpha=-1)
    return rows.T
