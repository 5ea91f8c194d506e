"""How a model runs its decoder blocks, and what each of them is called with, for any batch.

The blocks' calls are caught while the model itself runs, with all that it passes them (masks, positions, rotary tables, inputs that depend
on the layer). Nothing is assumed of their names, so no release of transformers breaks it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from difficulty.errors import UsageError
from junkdna_harness.compress.targets import device_of

PROBED = 4  # tokens of the pass that shows how the blocks run
INSTEAD = "Use magnitude, largest, random or rtn."

Extra = tuple[tuple[Any, ...], dict[str, Any]]  # what a block is called with, beside its hidden states


@dataclass
class Call:
    """One batch: its hidden states before the current block, and what else each block is called with."""

    hidden: Tensor
    extras: list[Extra]


class Flow:
    """The batches on their way through the blocks."""

    def __init__(self, blocks: list[nn.Module], calls: list[Call]) -> None:
        self.blocks = blocks
        self.calls = calls

    def run(self, index: int, first: bool | None) -> None:
        calls = self.calls if first is None else self.calls[:1] if first else self.calls[1:]
        for call in calls:
            run_block(self.blocks[index], call.hidden, call.extras[index])

    def advance(self, index: int) -> None:
        for call in self.calls:
            call.hidden = run_block(self.blocks[index], call.hidden, call.extras[index])


def run_block(block: nn.Module, hidden: Tensor, extra: Extra) -> Tensor:
    """What `block` makes of the hidden states `hidden`, called with what `extra` holds beside them."""
    device = device_of(block)
    args, kwargs = to_device(extra, device)
    return hidden_out(block(to_device(hidden, device), *args, **kwargs))


@dataclass(frozen=True)
class Probe:
    """A short pass of the model: the blocks by their place in the order of their calls, and what each of them gave."""

    ids: Tensor
    order: list[int]
    outputs: list[Tensor]


def probe(model: nn.Module, blocks: list[nn.Module], ids: Tensor) -> Probe:
    """How the model runs its blocks. One that runs several times for one input is refused: its later inputs would be left out, and
    come through pruned blocks.

    Raises:
        UsageError: says how often a block runs, or that none does.
    """
    calls: dict[int, list[Tensor]] = {}

    def note(block: nn.Module, _: object, result: Any) -> None:
        calls.setdefault(id(block), []).append(hidden_out(result).clone())

    handles = [block.register_forward_hook(note) for block in dict.fromkeys(blocks)]
    name = type(model).__name__
    try:
        model(input_ids=ids.to(entry(model)), use_cache=False)
    except (AttributeError, TypeError, ValueError) as error:
        raise UsageError(
            f"{name} does not run on tokens alone ({type(error).__name__}: {error}), so nothing is seen of its layers' inputs. {INSTEAD}"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    if not calls:
        raise UsageError(
            f"{name} called 0 of its {len(blocks)} blocks; calibrated methods need them. {INSTEAD}"
        )
    if (most := max(map(len, calls.values()))) > 1:
        raise UsageError(
            f"{name} runs a block {most} times for one input; calibrated methods follow inputs through blocks that run once. {INSTEAD}"
        )
    places = {id(block): index for index, block in enumerate(blocks)}
    return Probe(ids, [places[block] for block in calls], [given for (given,) in calls.values()])


def flows(model: nn.Module, blocks: list[nn.Module], ids: Tensor, probe: Probe) -> bool:
    """True where blocks that are fed one after the other give what they give within the model.

    Tried on tokens that are not those of the first batch, whose way through the real blocks shows how each is called.
    """
    try:
        calls = capture(model, blocks, (ids[:1, :PROBED], probe.ids))
        flow = Flow(blocks, calls[1:])
        for place, expected in enumerate(probe.outputs):
            flow.advance(place)
            given = flow.calls[0].hidden.to(expected.device)
            if given.shape != expected.shape or not torch.allclose(
                given, expected, 1e-3, 1e-3, equal_nan=True
            ):
                return False
    except (UsageError, RuntimeError, TypeError, ValueError, IndexError, KeyError, AttributeError):
        return False  # it is only a trial: the blocks are not called in the usual way
    return True


def entry(model: nn.Module) -> torch.device:
    """Where token numbers go in."""
    device: torch.device = model.get_input_embeddings().weight.device  # type: ignore[operator]
    return device


class LastBlock(Exception):
    """Thrown behind the last block: the head's logits are not needed."""


class BlockCalls:
    """What each of the `blocks`, in the order in which they run, is called with for a batch.

    The first batch `ids`, which may be short, runs through the real blocks, to learn whether they return a tensor or a tuple; for all
    others stand-ins pass on what they get.

    Raises:
        UsageError: the blocks are not called once each, in this order.
    """

    def __init__(self, model: nn.Module, blocks: list[nn.Module], ids: Tensor) -> None:
        self.model, self.blocks = model, blocks
        self._templates: list[Any] = [None] * len(blocks)
        self._learns = True
        self.first = self.of(ids)
        self._learns = False

    def of(self, ids: Tensor, like: Call | None = None, **more: Any) -> Call:
        """The call for `ids` (and what else the model is given with them); tensors that equal those of `like` are held once.

        Raises:
            UsageError: as for the first batch.
        """
        current: list[Extra] = []
        start: list[Tensor] = []

        def stand_in(index: int, forward: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                hidden, args, kwargs = _split(args, kwargs)
                if index == 0:
                    start.append(hidden)
                current.append((args, kwargs))
                result = forward(hidden, *args, **kwargs) if self._learns else self._templates[index]
                if self._learns:
                    self._templates[index] = result if isinstance(result, Tensor) else _without_hidden(result)
                if index + 1 == len(self.blocks):
                    raise LastBlock
                if self._learns:
                    return result
                return hidden if isinstance(result, Tensor) else (hidden, *result)

            return call

        with _replaced_forwards(self.blocks, stand_in), suppress(LastBlock):
            self.model(input_ids=ids.to(entry(self.model)), use_cache=False, **more)
        if len(current) != len(self.blocks) or len(start) != 1:
            raise UsageError(
                f"{type(self.model).__name__} called {len(current)} of its {len(self.blocks)} blocks; calibrated methods "
                f"need each to be called once. {INSTEAD}"
            )
        reference, memo = current if like is None else like.extras, dict[int, Any]()
        extras = [_share(new, old, memo) for new, old in zip(current, reference, strict=True)]
        return Call(start[0].detach(), extras)


def capture(model: nn.Module, blocks: list[nn.Module], batches: Sequence[Tensor]) -> list[Call]:
    """How each block is called for every batch; what the others have in common with the second one is held once."""
    calls = BlockCalls(model, blocks, batches[0])
    seen = [calls.first]
    for batch in batches[1:]:
        seen.append(calls.of(batch, seen[1] if len(seen) > 1 else None))
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


def hidden_out(result: Any) -> Tensor:
    """The hidden states among what a block returns."""
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


def to_device(value: Any, device: torch.device) -> Any:
    """`value` with its tensors on `device`."""
    if isinstance(value, Tensor):
        return value.to(device)
    if type(value) in (tuple, list):
        return type(value)(to_device(item, device) for item in value)
    if type(value) is dict:
        return {key: to_device(item, device) for key, item in value.items()}
    return value


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """`model` in evaluation mode, so that nothing is dropped by chance."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
