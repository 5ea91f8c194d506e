"""Layer by layer: the inputs of every decoder block, computed through the blocks already compressed.

The inputs of the blocks are caught while the model itself runs, with all that it passes them (masks, positions, rotary
tables, inputs that depend on the layer). Nothing is assumed of their names, so no release of transformers breaks it. Whether a block's output is all that the next one sees of it
is tried out on a few tokens; where it is not (several lists of blocks, streams that pass blocks by), the whole model runs for each block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from difficulty.errors import UsageError
from junkdna_harness.compress.targets import decoder_blocks, device_of

TOKENS_AT_ONCE = (
    512  # in one forward pass of a block: as fast on two cores as 2048, in less than half of the memory
)


PROBED = 4  # tokens of the pass that shows how the blocks run
_INSTEAD = "Use magnitude, largest, random or rtn."


@dataclass(frozen=True)
class Step:
    """One block of the walk: `run` passes all calibration inputs through it as it is now and drops the outputs.

    `run(first=True)` passes the first batch alone; `run(first=False)` all others; `run()` everything. `run_model` passes everything
    through the whole model as it is now, for what several blocks share.
    """

    index: int
    number: int
    block: nn.Module
    run: Callable[..., None]
    run_model: Callable[[], None]


def walk(model: nn.Module, ids: Tensor) -> Iterator[Step]:
    """A `Step` for each decoder block in the order in which they run; `ids` are token numbers, shape (samples, length).

    What the caller changes in a block before asking for the next one is seen by all later blocks. Only one block's
    inputs are held, whatever the depth. `Step.index` is the block's place in `decoder_blocks`; one that does not run gives a step
    without inputs.

    Raises:
        UsageError: the model's blocks are not called in the usual way.
    """
    blocks = decoder_blocks(model)
    batches = torch.split(ids, max(1, TOKENS_AT_ONCE // ids.shape[1]))
    with torch.no_grad(), _evaluating(model), _eager_experts(model):
        probe = _probe(model, blocks, ids[-1:, :PROBED])
        order = probe.order
        running = [blocks[index] for index in order]
        through = _Whole(model, running, batches)
        flow: _Flow | _Whole
        flows = _flows(model, running, ids, probe)
        flow = _Flow(running, _capture(model, running, (probe.ids, *batches))[1:]) if flows else through
        for place, index in enumerate(order):

            def run(first: bool | None = None, place: int = place) -> None:
                flow.run(place, first)

            yield Step(index, len(blocks), blocks[index], run, through.run_all)
            if place + 1 < len(order):
                flow.advance(place)
        for index in sorted(set(range(len(blocks))) - set(order)):
            yield Step(index, len(blocks), blocks[index], lambda first=None: None, through.run_all)


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
        return hidden_out(result)


class _Whole:
    """The whole model on every batch, up to the block that is asked for."""

    def __init__(self, model: nn.Module, blocks: list[nn.Module], batches: tuple[Tensor, ...]) -> None:
        self.model, self.blocks, self.batches = model, blocks, batches

    def run(self, place: int, first: bool | None) -> None:
        batches = self.batches if first is None else self.batches[:1] if first else self.batches[1:]

        def enough(*_: object) -> None:
            raise _LastBlock

        handle = self.blocks[place].register_forward_hook(enough)
        try:
            for batch in batches:
                with suppress(_LastBlock):
                    self.model(input_ids=batch.to(_entry(self.model)), use_cache=False)
        finally:
            handle.remove()

    def run_all(self) -> None:
        self.run(len(self.blocks) - 1, None)

    def advance(self, place: int) -> None:
        """Nothing is kept between blocks."""


@dataclass(frozen=True)
class _Probe:
    """A short pass of the model: the blocks by their place in the order of their calls, and what each of them gave."""

    ids: Tensor
    order: list[int]
    outputs: list[Tensor]


def _probe(model: nn.Module, blocks: list[nn.Module], ids: Tensor) -> _Probe:
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
        model(input_ids=ids.to(_entry(model)), use_cache=False)
    except (AttributeError, TypeError, ValueError) as error:
        raise UsageError(
            f"{name} does not run on tokens alone ({type(error).__name__}: {error}), so nothing is seen of its layers' inputs. {_INSTEAD}"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    if not calls:
        raise UsageError(
            f"{name} called 0 of its {len(blocks)} blocks; calibrated methods need them. {_INSTEAD}"
        )
    if (most := max(map(len, calls.values()))) > 1:
        raise UsageError(
            f"{name} runs a block {most} times for one input; calibrated methods follow inputs through blocks that run once. {_INSTEAD}"
        )
    places = {id(block): index for index, block in enumerate(blocks)}
    return _Probe(ids, [places[block] for block in calls], [given for (given,) in calls.values()])


def _flows(model: nn.Module, blocks: list[nn.Module], ids: Tensor, probe: _Probe) -> bool:
    """True where blocks that are fed one after the other give what they give within the model.

    Tried on tokens that are not those of the first batch, whose way through the real blocks shows how each is called.
    """
    try:
        calls = _capture(model, blocks, (ids[:1, :PROBED], probe.ids))
        flow = _Flow(blocks, calls[1:])
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


def _entry(model: nn.Module) -> torch.device:
    """Where token numbers go in."""
    device: torch.device = model.get_input_embeddings().weight.device  # type: ignore[operator]
    return device


class _LastBlock(Exception):
    """Thrown behind the last block: the head's logits are not needed."""


def _capture(model: nn.Module, blocks: list[nn.Module], batches: tuple[Tensor, ...]) -> list[_Call]:
    """Run every batch through the embeddings and stand-ins for the blocks, and keep how each block is called.

    The first batch, which may be short, runs through the real blocks, to learn whether they return a tensor or a tuple; what the
    others have in common with the second is held once.
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
                    f"need each to be called once. {_INSTEAD}"
                )
            reference = seen[1].extras if len(seen) > 1 else current
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
