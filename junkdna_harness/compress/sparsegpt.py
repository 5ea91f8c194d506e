"""SparseGPT (Frantar & Alistarh 2023, arXiv 2301.00774): prune by w² / [H⁻¹]², and let the kept weights make up for it."""

from __future__ import annotations

import torch
from torch import Tensor

from junkdna_harness.compress.columns import BLOCK, sweep
from junkdna_harness.compress.notation import NM, Pattern, Quota, Scope
from junkdna_harness.compress.rank import lowest, lowest_of_rows
from junkdna_harness.compress.registry import sparsifier
from junkdna_harness.compress.statistics import Hessian


class Selection:
    """Which weights of a run of columns go, so that over the whole matrix exactly the requested number does.

    `held`, bool (out, in): weights that are zero already. They go first and count as removed; where they are more than
    was requested, all of them stay zero.
    """

    def __init__(
        self, pattern: Pattern, scope: Scope, shape: tuple[int, int], held: Tensor | None = None
    ) -> None:
        self.pattern = pattern
        self.scope = scope
        self.rows, self.columns = shape
        self.held = held

    @property
    def block(self) -> int:
        """Columns of one run: 128, or the nearest multiple of M below (M itself where it is larger)."""
        if isinstance(self.pattern, NM):
            return max(self.pattern.group, BLOCK // self.pattern.group * self.pattern.group)
        return BLOCK

    def take(self, scores: Tensor, first: int) -> Tensor:
        """Bool mask like `scores`, shape (out, run), of the columns that begin at `first`: true where removed.

        Of an unstructured pattern the run's share is what all columns up to its end owe, less what those before took.
        """
        if self.held is None:
            return self._lowest(scores, first)
        held = self.held[:, first : first + scores.shape[1]]
        return self._lowest(scores.masked_fill(held, -torch.inf), first) | held

    def _lowest(self, scores: Tensor, first: int) -> Tensor:
        run = scores.shape[1]
        if isinstance(self.pattern, NM):
            group = self.pattern.group
            return lowest(scores.reshape(-1, group), group - self.pattern.kept).view(-1, run)
        if self.scope == "row" and isinstance(self.pattern, Quota):
            quotas = [Quota.of(count, self.columns) for count in self.pattern.by_row(self.rows)]
            return lowest_of_rows(scores, [q.removed(first + run) - q.removed(first) for q in quotas])
        size = 1 if self.scope == "row" else self.rows
        owed = self.pattern.removed(size * (first + run)) - self.pattern.removed(size * first)
        if self.scope == "row":
            return lowest(scores, owed)
        return lowest(scores.reshape(1, -1), owed).view(-1, run)


class _Remove:
    """The sweep's rule: what was selected becomes zero. N:M selects group by group, on values already made up for."""

    def __init__(self, selection: Selection) -> None:
        self.selection = selection
        self.step = selection.pattern.group if isinstance(selection.pattern, NM) else selection.block
        self.removed = torch.empty(0)

    def start(self, first: int, columns: Tensor, diagonal: Tensor) -> None:
        self.removed = torch.zeros(columns.shape, dtype=torch.bool, device=columns.device)

    def column(self, first: int, offset: int, columns: Tensor, diagonal: Tensor) -> Tensor:
        if offset % self.step == 0:
            end = min(offset + self.step, len(columns))
            scores = (columns[offset:end] / diagonal[offset:end, None]).square()
            self.removed[offset:end] = self.selection.take(scores.T.contiguous(), first + offset).T
        return columns[offset].masked_fill(self.removed[offset], 0)


@sparsifier("sparsegpt", needs=Hessian, scope="layer", updates=True)
def sparsegpt(weight: Tensor, hessian: Hessian, selection: Selection) -> Tensor:
    """The new weights, shape (out, in), fp32, with exact zeros where they were removed.

    With scope `layer` weights compete within runs of 128 columns, as in the paper.
    """
    return sweep(weight, hessian.factor(), _Remove(selection), selection.block)
