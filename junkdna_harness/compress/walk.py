"""Layer by layer: the inputs of every decoder block, computed through the blocks already compressed.

The inputs of the blocks are caught while the model itself runs, with all that it passes them (masks, positions, rotary
tables, inputs that depend on the layer). Nothing is assumed of their names, so no release of transformers breaks it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from difficulty.errors import UsageError
from junkdna_harness.compress.targets import device_of, find_blocks

TOKENS_AT_ONCE = (
    512  # in one forward pass of a block: as fast on two cores as 2048, in less than half of the memory
)


PROBED = 4  # tokens of the pass that shows how often each block runs


@dataclass(frozen=True)
class Step:
    """One block of the walk: `run` passes all calibration inputs through it as it is now and drops the outputs.

    `run(first=True)` passes the first batch alone; `run(first=False)` all others; `run()` everything.
    """

    index: int
    number: int
    block: nn.Module
    run: Callable[..., None]


def walk(model: nn.Module, ids: Tensor) -> Iterator[Step]:
    """A `Step` for each decoder block in order; `ids` are token numbers, shape (samples, length).

    What the caller changes in a block before asking for the next one is seen by all later blocks. Only one block's
    inputs are held, whatever the depth.

    Raises:
        UsageError: the model's blocks are not called in the usual way.
    """
    _, blocks = find_blocks(model)
    batches = torch.split(ids, max(1, TOKENS_AT_ONCE // ids.shape[1]))
    with torch.no_grad(), _evaluating(model), _eager_experts(model):
        _refuse_loops(model, list(blocks), ids[:1, :PROBED])
        flow = _Flow(list(blocks), _capture(model, list(blocks), batches))
        for index, block in enumerate(blocks):

            def run(first: bool | None = None, index: int = index) -> None:
                flow.run(index, first)

            yield Step(index, len(blocks), block, run)
            if index + 1 < len(blocks):
                flow.advance(index)


@dataclass
class _Call:
    """One batch: its hidden states before the current block, and what else each block is called with."""

    hidden: Tensor
    extras: list[tuple[tuple[Any, ...], dict[str, Any]]]


class _Flow:
    """The batches on their way through the blocks."""

    def __init__(self, blocks: list[nn.Module], calls: list[_Call]) -> None:
        self.blocks = blocks
        self.calls = calls

    def run(self, index: int, first: bool | None) -> None:
        calls = self.calls if first is None else self.calls[:1] if first else self.calls[1:]
        for call in calls:
            self._forward(index, call)

    def advance(self, index: int) -> None:
        for call in self.calls:
            call.hidden = self._forward(index, call)

    def _forward(self, index: int, call: _Call) -> Tensor:
        block = self.blocks[index]
        device = device_of(block)
        args, kwargs = call.extras[index]
        result = block(_to(call.hidden, device), *_to(args, device), **_to(kwargs, device))
        return _hidden(result)


def _refuse_loops(model: nn.Module, blocks: list[nn.Module], ids: Tensor) -> None:
    """Refuse blocks that run several times for one input: their later inputs would be left out, and come through pruned blocks.

    Raises:
        UsageError: says how often.
    """
    calls = dict.fromkeys(map(id, blocks), 0)

    def count(block: nn.Module, *_: object) -> None:
        calls[id(block)] += 1

    handles = [block.register_forward_pre_hook(count) for block in dict.fromkeys(blocks)]
    try:
        model(input_ids=ids.to(_entry(model)), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    if (most := max(calls.values())) > 1:
        raise UsageError(
            f"{type(model).__name__} runs a block {most} times for one input; calibrated methods follow inputs through blocks that run "
            "once. Use magnitude, largest, random or rtn."
        )


def _entry(model: nn.Module) -> torch.device:
    """Where token numbers go in."""
    device: torch.device = model.get_input_embeddings().weight.device  # type: ignore[operator]
    return device


class _LastBlock(Exception):
    """Thrown behind the last block: the head's logits are not needed."""


def _capture(model: nn.Module, blocks: list[nn.Module], batches: tuple[Tensor, ...]) -> list[_Call]:
    """Run every batch through the embeddings and stand-ins for the blocks, and keep how each block is called.

    The first batch runs through the real blocks, to learn whether they return a tensor or a tuple.
    """
    templates: list[Any] = [None] * len(blocks)
    seen: list[_Call] = []
    current: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    start: list[Tensor] = []

    def stand_in(index: int, forward: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            hidden, args, kwargs = _split(args, kwargs)
            if index == 0:
                start.append(hidden)
            current.append((args, kwargs))
            result = templates[index] if seen else forward(hidden, *args, **kwargs)
            if not seen:
                templates[index] = result if isinstance(result, Tensor) else _without_hidden(result)
            if index + 1 == len(blocks):
                raise _LastBlock
            if not seen:
                return result
            return hidden if isinstance(result, Tensor) else (hidden, *result)

        return call

    device = _entry(model)
    with _replaced_forwards(blocks, stand_in):
        for batch in batches:
            current, start = [], []
            with suppress(_LastBlock):
                model(input_ids=batch.to(device), use_cache=False)
            if len(current) != len(blocks) or len(start) != 1:
                raise UsageError(
                    f"{type(model).__name__} called {len(current)} of its {len(blocks)} blocks; calibrated methods "
                    f"need each to be called once. Use magnitude, largest, random or rtn."
                )
            reference = seen[0].extras if seen else current
            memo: dict[int, Any] = {}
            extras = [_share(new, old, memo) for new, old in zip(current, reference, strict=True)]
            seen.append(_Call(start[0].detach(), extras))
    return seen


@contextmanager
def _replaced_forwards(
    blocks: list[nn.Module], make: Callable[[int, Callable[..., Any]], Callable[..., Any]]
) -> Iterator[None]:
    """Each block's `forward` replaced on the instance (accelerate's hooks sit there too), and put back."""
    own = [block.__dict__.get("forward") for block in blocks]
    try:
        for index, block in enumerate(blocks):
            block.__dict__["forward"] = make(index, block.forward)
        yield
    finally:
        for block, forward in zip(blocks, own, strict=True):
            del block.__dict__["forward"]
            if forward is not None:
                block.__dict__["forward"] = forward


def _split(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, tuple[Any, ...], dict[str, Any]]:
    """The hidden states, and the other arguments."""
    if args:
        return args[0], args[1:], kwargs
    rest = dict(kwargs)
    hidden = rest.pop("hidden_states", None)
    if not isinstance(hidden, Tensor):
        raise UsageError("the model's blocks take no hidden states; calibrated methods do not know its kind.")
    return hidden, (), rest


def _hidden(result: Any) -> Tensor:
    found: Tensor = result if isinstance(result, Tensor) else result[0]
    return found


def _without_hidden(result: Any) -> tuple[Any, ...]:
    return tuple(result[1:])


def _share(new: Any, old: Any, memo: dict[int, Any]) -> Any:
    """`new`, with tensors replaced by those of `old` that are equal, so that batches hold one mask and one table."""
    if id(new) in memo:
        return memo[id(new)]
    shared = new
    if isinstance(new, Tensor) and isinstance(old, Tensor):
        same = new.shape == old.shape and new.dtype == old.dtype and new.device == old.device
        shared = old if same and torch.equal(new, old) else new
        memo[id(new)] = shared
    elif type(new) is tuple and isinstance(old, tuple) and len(new) == len(old):
        shared = tuple(_share(n, o, memo) for n, o in zip(new, old, strict=True))
    elif type(new) is dict and isinstance(old, dict) and new.keys() == old.keys():
        shared = {key: _share(new[key], old[key], memo) for key in new}
    return shared


def _to(value: Any, device: torch.device) -> Any:
    """`value` with its tensors on `device`."""
    if isinstance(value, Tensor):
        return value.to(device)
    if type(value) in (tuple, list):
        return type(value)(_to(item, device) for item in value)
    if type(value) is dict:
        return {key: _to(item, device) for key, item in value.items()}
    return value


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


@contextmanager
def _eager_experts(model: nn.Module) -> Iterator[None]:
    """Experts computed one at a time, so that what each of them sees can be told apart."""
    name = "_experts_implementation_internal"
    configs = {id(c): c for m in model.modules() if hasattr(c := getattr(m, "config", None), name)}
    before = {key: getattr(config, name) for key, config in configs.items()}
    try:
        for config in configs.values():
            setattr(config, name, "eager")
        yield
    finally:
        for key, config in configs.items():
            setattr(config, name, before[key])
