"""Local reconstruction: one block after the other is fitted, under the mask, to what the dense model's block gives.

Reference: Roux, Zimmer, Wagner & Pokutta, A Free Lunch in LLM Compression: Revisiting Retraining after Pruning (2510.14444). Taken from it:

* after pruning, one part of the model at a time is trained on a small text, by the mean squared error to what the dense model has there;
* the part is a whole block. Quality hardly depends on the part's size as long as it holds something that is not linear, while single
  matrices do worse (abstract of the third version; the first one had attention and MLP apart slightly ahead): so there is one size here;
* AdamW, without weight decay, at a rate that falls linearly to zero (the authors' code; they try rates from 1e-7 to 5e-4).

The inputs are those through the compressed blocks so far, the targets what the dense block gives on the dense model's own inputs. So each
block also takes back what the ones before it left over, and what the model will compute is what was fitted. (Their code can do this, and
also has the dense model's inputs on both sides, by which blocks do not depend on each other; they let errors add up.) Only the kept weights
of pruned matrices are trained; their code trains norms and biases of the block as well, which would be no comparison with the mask alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerControl, TrainerState, get_linear_schedule_with_warmup

from difficulty.errors import UsageError
from difficulty.runs.identity import LOCAL_RECONSTRUCTION
from junkdna_harness.compress.flow import evaluating
from junkdna_harness.compress.targets import decoder_blocks, device_of
from junkdna_harness.device import default_device
from junkdna_harness.recover.block_checkpoints import Finished, finished_blocks, write_block
from junkdna_harness.recover.block_targets import BlockStates, DenseWeights
from junkdna_harness.recover.checkpoints import all_finite, part
from junkdna_harness.recover.hold import Held, HoldWeights
from junkdna_harness.recover.schedule import Row, batches
from junkdna_harness.recover.spec import WARMUP, RecoverSpec
from junkdna_harness.recover.start import Start
from junkdna_harness.recover.training import Training, training_arguments

ROWS_OF_LOG = 50  # of each block


@dataclass(frozen=True)
class BlockFit:
    """What became of one block: the mean squared error to the dense block's outputs before and after, and the same as shares of their
    mean square. `steps` is 0 where it has no pruned weights. `said` is a sentence where it did not go as it should; `failed`, where
    that was for NaN.
    """

    block: int
    trained: int
    steps: int
    loss_before: float
    loss_after: float
    error_before: float
    error_after: float
    said: str | None = None
    failed: bool = False


@dataclass
class WhereInBlocks(TrainerState):  # type: ignore[misc]
    """The state of a training as callbacks see it, and in words which block is at work."""

    where: str = field(default="")


def reconstruct(
    model: Any, rows: Sequence[Row], start: Start, spec: RecoverSpec, lr: float, folder: Path,
    identity: Mapping[str, Any], callbacks: Sequence[Any] = (),
) -> Training:  # fmt: skip
    """Fit `model`, which is pruned, in place; `spec.steps` are the steps of each block, and all blocks see the same batches.

    Finished blocks go to `folder`, and a run that was cut off there goes on after the last of them. `callbacks` hear of the beginning, each
    step, each logged row and the end. The losses of what is returned are means, over blocks with pruned weights, of the squared error as a
    share of the dense outputs'.

    Raises:
        UsageError: the model's blocks cannot be fitted one after the other, `folder` holds another run, or it cannot be written.
    """
    refuse_shared(model, start)
    order = batches(rows, spec.steps, spec.batch_size, spec.seed)
    clock = time.perf_counter()
    with evaluating(model), _all_still(model):
        here = {i: rows[i]["input_ids"] for i in sorted(set(order))}
        done = finished_blocks(folder, identity)
        states = BlockStates(model, here, spec.batch_size, DenseWeights(model, start.dense))
        work = _Work(model, states, order, start, spec, lr, folder, callbacks, done)
        fits, log = work.all_blocks()
    fitted = [fit for fit in fits if fit.trained]
    said = [fit.said for fit in fits if fit.said]
    if never := never_run(model, states.blocks, start):
        said.append(never)
    return Training(
        spec.steps, sum(len(rows[i]["input_ids"]) for i in order), time.perf_counter() - clock,
        _mean([fit.error_before for fit in fitted]), _mean([fit.error_after for fit in fitted]), tuple(log),
        "; ".join(said) or None, any(fit.failed for fit in fits), blocks=tuple(asdict(fit) for fit in fits),
    )  # fmt: skip


def refuse_shared(model: nn.Module, start: Start) -> None:
    """
    Raises:
        UsageError: blocks have pruned weights in common, which cannot be fitted to two targets one after the other.
    """
    seen: set[int] = set()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for block in decoder_blocks(model):
        own = {id(parameter) for parameter in block.parameters() if names[id(parameter)] in start.masks}
        if both := own & seen:
            raise UsageError(
                f"arm={LOCAL_RECONSTRUCTION} fits one block after the other, and {names[both.pop()]!r} belongs to several. Take another arm, "
                "e.g. sparse_transfer."
            )
        seen |= own


def never_run(model: nn.Module, running: Sequence[nn.Module], start: Start) -> str | None:
    """A sentence on the blocks that have pruned weights and do not run on tokens, where there are any: nothing is known of what they
    shall give."""
    there = {id(block) for block in running}
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    still = [
        str(place)
        for place, block in enumerate(decoder_blocks(model), 1)
        if id(block) not in there and any(names[id(p)] in start.masks for p in block.parameters())
    ]
    if not still:
        return None
    which = f"block {still[0]} does" if len(still) == 1 else f"blocks {', '.join(still)} do"
    return f"{which} not run, so the pruned weights in there stay as they are"


class _Work:
    """The blocks of one model, from the first that is not finished to the last."""

    def __init__(
        self, model: nn.Module, states: BlockStates, order: Sequence[int], start: Start, spec: RecoverSpec, lr: float,
        folder: Path, callbacks: Sequence[Any], done: Sequence[Finished],
    ) -> None:  # fmt: skip
        self.model, self.states, self.order, self.start, self.spec, self.lr = (
            model,
            states,
            order,
            start,
            spec,
            lr,
        )
        self.folder, self.callbacks, self.done = folder, callbacks, done
        # A model that is laid over devices stays where it is.
        self.device = None if getattr(model, "hf_device_map", None) else torch.device(default_device())
        self.number = len(states.blocks)
        self.arguments = training_arguments(spec, lr, folder)
        self.state = WhereInBlocks(max_steps=spec.steps * self.number, is_world_process_zero=True)
        self.names = {id(parameter): name for name, parameter in model.named_parameters()}

    def all_blocks(self) -> tuple[list[BlockFit], list[dict[str, Any]]]:
        """What became of each block, and the rows of the log."""
        fits: list[BlockFit] = []
        log: list[dict[str, Any]] = []
        self.state.global_step = self.spec.steps * len(self.done)
        self.state.where = self._where(min(len(self.done), self.number - 1))
        self._tell("on_train_begin")
        for place, block in enumerate(self.states.blocks):
            with self._there(block):
                if place < len(self.done):
                    fit, new = self._again(place, self.done[place])
                else:
                    fit, new = self._block(place)
                    write_block(self.folder, place + 1, self._weights(block), asdict(fit), new)
            fits.append(fit)
            log += new
        self._tell("on_train_end")
        return fits, log

    def _again(self, place: int, finished: Finished) -> tuple[BlockFit, list[dict[str, Any]]]:
        """A block that was finished before the run was cut off."""
        with torch.no_grad():
            for name, weight in self._trained(self.states.blocks[place]).items():
                weight.copy_(finished.weights[name])
        self.states.advance_dense(place)
        self.states.advance(place)
        return BlockFit(**finished.fit), finished.log

    def _block(self, place: int) -> tuple[BlockFit, list[dict[str, Any]]]:
        """Fit the block at `place`, or leave it as it is where it cannot get better."""
        trained = self._trained(self.states.blocks[place])
        power = self.states.advance_dense(place)
        before = self.states.error(place) if trained else 0.0
        if not (math.isfinite(power) and math.isfinite(before)):
            raise UsageError(
                f"block {place + 1} of {self.number} gives NaN or infinity on these data, in the dense model or the pruned one, so there is "
                "nothing to fit. Check the model."
            )
        if not trained or before == 0.0:
            self.states.advance(place)
            after = self.states.distance()
            self._pass_over(place)
            return _fit(place, trained, 0, after, after, power), []
        first = {name: weight.detach().clone() for name, weight in trained.items()}
        one = _OneBlock(self, place, trained, before, power)
        said = one.train()
        self.states.advance(place)
        after = self.states.distance()
        if not after <= before:  # NaN is not either
            _put(trained, first)
            said = (
                f"{said}, and those were worse than the pruned ones, which stay"
                if said
                else _no_better(place, self.number, before, after)
            )
            after = before
            self._back_to(place)
        return _fit(place, trained, one.step, before, after, power, said, one.failed), one.log

    def _back_to(self, place: int) -> None:
        """The states after block `place` anew, whose weights are the old ones again; from the start, as nothing else is kept."""
        self.states.enter()
        for number in range(place + 1):
            with self._there(self.states.blocks[number]):
                self.states.advance(number)

    @contextmanager
    def _there(self, block: nn.Module) -> Iterator[None]:
        """Within the block of code `block` lies where it is computed."""
        home = device_of(block)
        if self.device is not None:
            block.to(self.device)
        yield
        if self.device is not None:
            block.to(home)

    def _pass_over(self, place: int) -> None:
        self.state.global_step = self.spec.steps * (place + 1)
        self.state.where = self._where(place)
        self._tell("on_step_end")

    def _trained(self, block: nn.Module) -> dict[str, nn.Parameter]:
        """The parameters of `block` that hold pruned weights."""
        found = {self.names[id(parameter)]: parameter for parameter in block.parameters()}
        masks = self.start.masks
        return {name: found[name] for name in found if name in masks and not bool(masks[name].all())}

    def _weights(self, block: nn.Module) -> dict[str, Tensor]:
        return {name: parameter.detach().to("cpu") for name, parameter in self._trained(block).items()}

    def _where(self, place: int) -> str:
        return f"block {place + 1} of {self.number}"

    def _tell(self, event: str, **more: Any) -> None:
        """Call each callback as `Trainer` would."""
        for callback in self.callbacks:
            getattr(callback, event)(self.arguments, self.state, TrainerControl(), model=self.model, **more)


class _OneBlock:
    """The training of one block. `step` counts the finished ones."""

    def __init__(
        self, work: _Work, place: int, trained: Mapping[str, nn.Parameter], before: float, power: float
    ) -> None:
        self.work, self.place, self.trained, self.power = work, place, trained, power
        self.scale = 1.0 / before  # else AdamW's epsilon would weigh more in one block than in another
        self.step, self.failed = 0, False
        self.log: list[dict[str, Any]] = []
        self.hold = HoldWeights({name: Held(work.start.masks[name]) for name in trained})
        self._good = {name: weight.detach().clone() for name, weight in trained.items()}
        self._good_step = 0

    def train(self) -> str | None:
        """Take all steps; what is to be said where the loss became NaN, and the last good weights were put back."""
        work, steps = self.work, self.work.spec.steps
        for weight in self.trained.values():
            weight.requires_grad_(True)
        optimizer = torch.optim.AdamW(list(self.trained.values()), lr=work.lr, weight_decay=0.0, fused=True)
        schedule = get_linear_schedule_with_warmup(optimizer, int(WARMUP * steps), steps)
        told = {"optimizer": optimizer, "lr_scheduler": schedule}
        self.hold.on_train_begin(None, None, None, model=work.model, optimizer=optimizer)
        work.state.where = work._where(self.place)
        every, summed, since = max(1, steps // ROWS_OF_LOG), 0.0, 0
        try:
            for number in range(steps):
                work._tell("on_step_begin", **told)
                loss = self._loss(number)
                value = float(loss.detach())
                if not math.isfinite(value):
                    return self._back_to_good(value)
                self._remember(number)
                loss.backward()  # type: ignore[no-untyped-call]
                self.hold.mask_gradients()
                optimizer.step()
                self.hold.on_optimizer_step(None, None, None, optimizer=optimizer)
                rate = schedule.get_last_lr()[0]
                schedule.step()
                optimizer.zero_grad()
                self.step = number + 1
                work.state.global_step = work.spec.steps * self.place + self.step
                summed, since = summed + value / self.scale / self.power, since + 1
                if self.step % every == 0 or self.step == steps:
                    self._log({"loss": summed / since, "learning_rate": rate}, told)
                    summed, since = 0.0, 0
                work._tell("on_step_end", **told)
        finally:
            for weight in self.trained.values():
                weight.requires_grad_(False)
                weight.grad = None
        if not all(all_finite(weight.detach()) for weight in self.trained.values()):
            return self._back_to_good(math.nan)
        return None

    def _loss(self, number: int) -> Tensor:
        size = self.work.spec.batch_size
        given, wanted = self.work.states.run(self.place, self.work.order[number * size : (number + 1) * size])
        return nn.functional.mse_loss(given, wanted) * self.scale

    def _remember(self, number: int) -> None:
        """Every fifth of the steps: the loss of now, which is a number, says that the weights are good."""
        if number and number % part(self.work.spec) == 0:
            self._good_step = number
            with torch.no_grad():
                _put(self._good, self.trained)

    def _back_to_good(self, value: float) -> str:
        self.failed = True
        _put(self.trained, self._good)
        self.hold.restore()
        kept = (
            f"those of step {self._good_step}, the last known to be good,"
            if self._good_step
            else "those of the start"
        )
        return (
            f"in {self.work._where(self.place)} the loss or a weight became {value} at step {self.step}, and of its weights {kept} were put "
            f"back. Try a smaller lr, e.g. {self.work.lr / 10:.2g} in place of {self.work.lr:g}"
        )

    def _log(self, row: dict[str, Any], told: Mapping[str, Any]) -> None:
        row = {**row, "block": self.place + 1, "step": self.work.state.global_step}
        self.log.append(row)
        self.work._tell("on_log", logs=row, **told)


def _fit(
    place: int, trained: Mapping[str, Tensor], steps: int, before: float, after: float, power: float,
    said: str | None = None, failed: bool = False,
) -> BlockFit:  # fmt: skip
    whole = power or 1.0
    return BlockFit(
        place + 1, len(trained), steps, before, after, before / whole, after / whole, said, failed
    )


def _no_better(place: int, number: int, before: float, after: float) -> str:
    return (
        f"block {place + 1} of {number} came no closer to the dense one (mean squared error {before:.4g}, then {after:.4g}), so it stays as "
        "it was pruned. Try a smaller lr"
    )


@torch.no_grad()
def _put(there: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    for name, weight in there.items():
        weight.copy_(values[name])


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


@contextmanager
def _all_still(model: nn.Module) -> Iterator[None]:
    """Within the block no weight asks for a gradient, unless it is told to."""
    asked = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in asked:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in asked:
            parameter.requires_grad_(True)
