"""The tensors of one forward pass: rows one under the other, or packed lines and the mask that keeps their pieces apart."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from junkdna_harness.models.packing import Packed
from junkdna_harness.models.prefix_plan import Row, Target, Tokens

_PADDING, _NOTHING = -1, -2  # what a token is a piece of, and what a piece continues


@dataclass(frozen=True)
class Part:
    """One forward pass: padded tokens (rows, width), and which of its logits to score.

    `keep` are the positions at which any row's logits are wanted; `row`, `kept`, `token` and `slot` describe one
    target each: where its logits are (`kept` counts in `keep`), the token, and whose log-likelihood it adds to.
    `parents` are the rows of the batch that a tail continues, or the headers that a packed line continues.

    A packed pass has `layout` (3, rows, width): of each token the piece that it belongs to (-1: padding), the piece that
    this one continues (-2: none), and its position. `keep` then counts tokens of all rows one after the other.
    """

    tokens: Tensor
    lengths: Tensor
    keep: Tensor
    row: Tensor
    kept: Tensor
    token: Tensor
    slot: Tensor
    parents: Tensor | None = None
    layout: Tensor | None = None


def plain_part(
    rows: list[tuple[Tokens, list[Target]]], local: dict[int, int], skip: int, parents: Tensor | None = None
) -> Part:
    """The pass of `rows` from their token `skip` on; `local` numbers the slots."""
    lengths = [len(tokens) - skip for tokens, _ in rows]
    padded = torch.zeros(len(rows), max(lengths), dtype=torch.long)
    for i, (tokens, _) in enumerate(rows):
        padded[i, : lengths[i]] = torch.tensor(tokens[skip:])
    targets = [(i, t.position - skip, t.token, local[t.slot]) for i, (_, ts) in enumerate(rows) for t in ts]
    row, position, token, slot = torch.tensor(targets).unbind(1)
    keep, kept = torch.unique(position, return_inverse=True)
    return Part(padded, torch.tensor(lengths), keep, row, kept, token, slot, parents)


def packed_part(batch: Packed, local: dict[int, int]) -> Part:
    """The pass of packed lines; `local` numbers the slots."""
    headers = [len(header) for header in batch.headers]
    lines = [_laid_out(line.rows, headers[line.parent] if headers else 0) for line in batch.lines]
    lengths = [len(line.tokens) for line in lines]
    width = max(lengths)
    tokens = torch.zeros(len(lines), width, dtype=torch.long)
    layout = torch.zeros(3, len(lines), width, dtype=torch.int32)
    layout[0], layout[1] = _PADDING, _NOTHING
    for i, line in enumerate(lines):
        tokens[i, : lengths[i]] = torch.tensor(line.tokens)
        layout[:, i, : lengths[i]] = torch.tensor(
            [line.pieces, line.parents, line.positions], dtype=torch.int32
        )
    targets = [
        (i * width + t.position, t.token, local[t.slot]) for i, line in enumerate(lines) for t in line.targets
    ]
    place, token, slot = torch.tensor(targets).unbind(1)
    keep, kept = torch.unique(place, return_inverse=True)
    parents = torch.tensor([line.parent for line in batch.lines]) if headers else None
    return Part(tokens, torch.tensor(lengths), keep, keep[kept] // width, kept, token, slot, parents, layout)


@dataclass
class _Laid:
    tokens: list[int]
    pieces: list[int]
    parents: list[int]
    positions: list[int]
    targets: list[Target]

    def add(self, tokens: Tokens, piece: int, parent: int, position: int, targets: list[Target]) -> None:
        """Put a piece at the end; its first token stands at `position` of its text."""
        start = len(self.tokens)
        self.tokens += tokens
        self.pieces += [piece] * len(tokens)
        self.parents += [parent] * len(tokens)
        self.positions += range(position, position + len(tokens))
        self.targets += [Target(start + t.position, t.token, t.slot) for t in targets]


def _laid_out(rows: list[Row], skip: int) -> _Laid:
    line = _Laid([], [], [], [], [])
    piece = 0
    for row in rows:
        shifted = [Target(t.position - skip, t.token, t.slot) for t in row.targets]
        line.add(row.tokens[skip:], piece, _NOTHING, skip, shifted)
        for number, tail in enumerate(row.tails, piece + 1):
            line.add(tail.tokens, number, piece, len(row.tokens), tail.targets)
        piece += 1 + len(row.tails)
    return line


def visible(layout: Tensor, before: Tensor | None, cached: int) -> Tensor:
    """(lines, 1, width, cached + width): True where a token may attend. `before` is how many cached tokens each line continues."""
    pieces, parents = layout[0], layout[1]
    own = pieces[:, None, :] == pieces[:, :, None]
    own = own.tril() | (pieces[:, None, :] == parents[:, :, None])
    if before is not None:
        header = torch.arange(cached, device=own.device) < before[:, None]
        own = torch.cat([header[:, None, :].expand(-1, own.shape[1], -1), own], dim=2)
    return own.unsqueeze(1)
