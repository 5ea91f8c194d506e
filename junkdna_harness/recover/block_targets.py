"""What a block is given, and what it shall give: the hidden states of every row, through the dense blocks and through the compressed ones.

For the rows that training sees two sets of hidden states are held, in main memory and without padding: `own`, before the block that is at
work, through the compressed blocks so far; and `dense`, through those of the dense model on its own inputs. Only the block at work, and
one batch, are where it is computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from difficulty.errors import UsageError
from difficulty.runs.identity import LOCAL_RECONSTRUCTION
from junkdna_harness.compress.flow import INSTEAD, PROBED, BlockCalls, Extra, flows, probe, run_block
from junkdna_harness.compress.targets import decoder_blocks
from junkdna_harness.presentation.amounts import byte_size
from junkdna_harness.resources import free_memory

WIDTH = 4  # bytes: hidden states are float32, as the weights that are trained
SETS = 2  # of hidden states: the dense model's, and those through the compressed blocks
_OTHER_ARM = "Take another arm, e.g. sparse_transfer."


class DenseWeights:
    """The weights that pruning changed, as they were before: `dense`, parameter name -> values."""

    def __init__(self, model: nn.Module, dense: Mapping[str, Tensor]) -> None:
        self._pairs = [
            (parameter, dense[name]) for name, parameter in model.named_parameters() if name in dense
        ]

    @contextmanager
    def there(self) -> Iterator[None]:
        """Within the block the model is the dense one."""
        compressed = [parameter.data for parameter, _ in self._pairs]
        try:
            for parameter, values in self._pairs:
                parameter.data = values.to(parameter.device)
            yield
        finally:
            for (parameter, _), data in zip(self._pairs, compressed, strict=True):
                parameter.data = data


@dataclass(frozen=True)
class Batch:
    """Rows side by side: their hidden states, shape (rows, tokens, width), what else the block is called with, and which tokens are no padding."""

    hidden: Tensor
    extra: Extra
    real: Tensor


class BlockStates:
    """The rows (token numbers each) on their way through the blocks, `size` at a time.

    `order` are the places of the blocks in `decoder_blocks`, as they run. A fresh one stands before the first block.

    Raises:
        UsageError: the model's blocks cannot be fed one after the other, or the hidden states do not fit into memory.
    """

    def __init__(
        self, model: nn.Module, rows: Mapping[int, Sequence[int]], size: int, dense: DenseWeights
    ) -> None:
        self.model, self.rows, self._dense_weights = model, rows, dense
        by_length = sorted(rows, key=lambda i: (len(rows[i]), i))
        self._groups = [by_length[at : at + size] for at in range(0, len(by_length), size)]
        with torch.no_grad():
            self.order, self._calls = _calls(model, rows[by_length[-1]])
        blocks = decoder_blocks(model)
        self.blocks = [blocks[index] for index in self.order]
        self.own: dict[int, Tensor] = {}
        self.dense: dict[int, Tensor] = {}
        self._refuse_too_many()
        self.enter()
        with dense.there():
            self._enter(self.dense)

    def enter(self) -> None:
        """Put the compressed model's own states back before the first block."""
        self._enter(self.own)

    def batch(self, place: int, rows: Sequence[int], states: Mapping[int, Tensor]) -> Batch:
        """The `rows` as the block at `place` is to be called with them, coming from `states`."""
        ids, real = self._ids(rows)
        call = self._call(ids, real)
        return Batch(_side_by_side([states[i] for i in rows]), call.extras[place], real)

    def run(self, place: int, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """What the block at `place` gives for `rows` through the compressed blocks, and what it shall give: shape (tokens, width) both.

        Call `advance_dense(place)` before.
        """
        with torch.no_grad():
            batch = self.batch(place, rows, self.own)
        given = run_block(self.blocks[place], batch.hidden, batch.extra)
        wanted = torch.cat([self.dense[i] for i in rows])
        return given[batch.real.to(given.device)], wanted.to(given.device)

    @torch.no_grad()
    def advance_dense(self, place: int) -> float:
        """Pass the dense states through the dense block at `place`: what it gives are the targets. Their mean square."""
        with self._dense_weights.there():
            self._advance(place, self.dense)
        total = sum(float(state.double().square().sum()) for state in self.dense.values())
        return total / self._numbers()

    @torch.no_grad()
    def error(self, place: int) -> float:
        """The mean squared difference between what the block at `place` gives and the targets, over all rows."""
        total = 0.0
        for rows in self._groups:
            given, wanted = self.run(place, rows)
            total += float((given - wanted).double().square().sum())
        return total / self._numbers()

    @torch.no_grad()
    def advance(self, place: int) -> None:
        """Pass the compressed model's own states through the block at `place` as it is now."""
        self._advance(place, self.own)

    @torch.no_grad()
    def distance(self) -> float:
        """The mean squared difference between both sets of states."""
        total = sum(float((self.own[i] - self.dense[i]).double().square().sum()) for i in self.own)
        return total / self._numbers()

    def _advance(self, place: int, states: dict[int, Tensor]) -> None:
        for rows in self._groups:
            batch = self.batch(place, rows, states)
            given = run_block(self.blocks[place], batch.hidden, batch.extra)
            self._keep(given, rows, states)

    @torch.no_grad()
    def _enter(self, states: dict[int, Tensor]) -> None:
        for rows in self._groups:
            ids, real = self._ids(rows)
            hidden = self._call(ids, real).hidden
            if hidden.shape[:2] != ids.shape or hidden.ndim != 3:
                raise UsageError(
                    f"arm={LOCAL_RECONSTRUCTION} needs hidden states of one vector per token, and those of "
                    f"{type(self.model).__name__} are of shape {tuple(hidden.shape)} for {tuple(ids.shape)} tokens. {_OTHER_ARM}"
                )
            self._keep(hidden, rows, states)

    def _keep(self, hidden: Tensor, rows: Sequence[int], states: dict[int, Tensor]) -> None:
        for at, row in enumerate(rows):
            states[row] = hidden[at, : len(self.rows[row])].to("cpu", copy=True)

    def _ids(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Token numbers, padded on the right with each row's last one, and which of them are no padding."""
        most = max(len(self.rows[i]) for i in rows)
        ids = torch.tensor([[*self.rows[i], *[self.rows[i][-1]] * (most - len(self.rows[i]))] for i in rows])
        lengths = torch.tensor([len(self.rows[i]) for i in rows])
        return ids, torch.arange(most)[None, :] < lengths[:, None]

    def _call(self, ids: Tensor, real: Tensor) -> Any:
        more: dict[str, Any] = {} if bool(real.all()) else {"attention_mask": real.long()}
        return self._calls.of(ids, **more)

    def _numbers(self) -> int:
        return sum(state.numel() for state in self.dense.values())

    def _refuse_too_many(self) -> None:
        """
        Raises:
            UsageError: the hidden states are more than what is free of memory.
        """
        need = bytes_of_states(self.model, sum(map(len, self.rows.values())))
        if need > (free := free_memory()):
            raise UsageError(
                f"arm={LOCAL_RECONSTRUCTION} holds the hidden states of the {len(self.rows):,} rows that it sees, about "
                f"{byte_size(need)}, and {byte_size(free)} of memory are free. Give a smaller fraction, fewer steps, or a smaller max_length."
            )


def bytes_of_states(model: nn.Module, tokens: int) -> int:
    """Bytes of the hidden states of so many tokens before one block, of both models."""
    config: Any = model.config
    return SETS * WIDTH * tokens * int(config.get_text_config().hidden_size)


def _calls(model: nn.Module, row: Sequence[int]) -> tuple[list[int], BlockCalls]:
    """The blocks as they run, and how they are called; tried on the beginning of a long row and on its end.

    Raises:
        UsageError: they are called otherwise than one after the other, each with what the one before gave.
    """
    some = (list(row) * PROBED)[:PROBED]
    ids = torch.tensor([some, some[::-1]])
    blocks = decoder_blocks(model)
    try:
        probed = probe(model, blocks, ids[-1:])
        running = [blocks[index] for index in probed.order]
        flowing = flows(model, running, ids, probed)
        calls = BlockCalls(model, running, ids[:1])
    except UsageError as error:
        raise UsageError(
            f"arm={LOCAL_RECONSTRUCTION}: {str(error).removesuffix(INSTEAD)}{_OTHER_ARM}"
        ) from error
    if not flowing:
        raise UsageError(
            f"arm={LOCAL_RECONSTRUCTION} fits one block after the other, and in {type(model).__name__} more passes between blocks than what "
            f"one gives to the next. {_OTHER_ARM}"
        )
    return probed.order, calls


def _side_by_side(states: Sequence[Tensor]) -> Tensor:
    """Rows of unequal length as one tensor; padding repeats a row's last state, so that all numbers are such as the block knows."""
    most = max(map(len, states))
    return torch.stack([torch.cat([one, one[-1:].expand(most - len(one), -1)]) for one in states])
