"""Layer by layer: the inputs of every decoder block, computed through the blocks already compressed.

What the blocks are called with is caught while the model itself runs (`flow.py`). Whether a block's output is all that the next one sees
of it is tried out on a few tokens; where it is not (several lists of blocks, streams that pass blocks by), the whole model runs for each
block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from junkdna_harness.compress.flow import PROBED, Flow, LastBlock, capture, entry, evaluating, flows, probe
from junkdna_harness.compress.targets import decoder_blocks

TOKENS_AT_ONCE = (
    512  # in one forward pass of a block: as fast on two cores as 2048, in less than half of the memory
)


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
    with torch.no_grad(), evaluating(model), _eager_experts(model):
        probed = probe(model, blocks, ids[-1:, :PROBED])
        order = probed.order
        running = [blocks[index] for index in order]
        through = _Whole(model, running, batches)
        flow: Flow | _Whole = through
        if flows(model, running, ids, probed):
            flow = Flow(running, capture(model, running, (probed.ids, *batches))[1:])
        for place, index in enumerate(order):

            def run(first: bool | None = None, place: int = place) -> None:
                flow.run(place, first)

            yield Step(index, len(blocks), blocks[index], run, through.run_all)
            if place + 1 < len(order):
                flow.advance(place)
        for index in sorted(set(range(len(blocks))) - set(order)):
            yield Step(index, len(blocks), blocks[index], lambda first=None: None, through.run_all)


class _Whole:
    """The whole model on every batch, up to the block that is asked for."""

    def __init__(self, model: nn.Module, blocks: list[nn.Module], batches: tuple[Tensor, ...]) -> None:
        self.model, self.blocks, self.batches = model, blocks, batches

    def run(self, place: int, first: bool | None) -> None:
        batches = self.batches if first is None else self.batches[:1] if first else self.batches[1:]

        def enough(*_: object) -> None:
            raise LastBlock

        handle = self.blocks[place].register_forward_hook(enough)
        try:
            for batch in batches:
                with suppress(LastBlock):
                    self.model(input_ids=batch.to(entry(self.model)), use_cache=False)
        finally:
            handle.remove()

    def run_all(self) -> None:
        self.run(len(self.blocks) - 1, None)

    def advance(self, place: int) -> None:
        """Nothing is kept between blocks."""


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
