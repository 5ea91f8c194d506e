"""The training itself: `transformers.Trainer`, with held weights, a fixed order of the data, and a stop where it breaks down."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    DataCollatorForSeq2Seq,
    EarlyStoppingCallback,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)

from difficulty.errors import UsageError
from junkdna_harness.compress.again import no_progress_bar
from junkdna_harness.recover.checkpoints import (
    BrokenDown,
    ByTime,
    Diverged,
    LastGood,
    NotFinite,
    OpenRow,
    by_time,
    is_sharded,
    part,
)
from junkdna_harness.recover.divergence import Losses
from junkdna_harness.recover.hold import HoldWeights
from junkdna_harness.recover.learned import can_skip, learned_only
from junkdna_harness.recover.schedule import IGNORED, Row, batches
from junkdna_harness.recover.spec import WARMUP, RecoverSpec
from junkdna_harness.recover.storage import while_writing
from junkdna_harness.recover.whole import CHECKPOINT, best_here, forget, seal, take

HELD_OUT = 0.05  # of the rows, for early stopping
MOST_HELD_OUT = 512


@dataclass(frozen=True)
class Training:
    """What happened: steps taken, tokens seen, seconds, loss of the first and last logged steps, and the log.

    `stopped` is a sentence where training ended before its last step. `state` are the gathered weights of a model that
    is sharded over processes, else None. `blocks`: what became of each, where they were fitted one after the other.
    """

    steps: int
    tokens: int
    seconds: float
    first_loss: float | None
    last_loss: float | None
    log: tuple[Mapping[str, Any], ...]
    stopped: str | None = None
    failed: bool = False
    state: Mapping[str, Tensor] | None = None
    blocks: tuple[Mapping[str, Any], ...] = ()


class HoldingTrainer(Trainer):  # type: ignore[misc]
    """`Trainer` that stops where training breaks down, lets held weights have no gradient, and seals its checkpoints.

    `beside` write what goes along with a checkpoint.
    """

    def __init__(self, hold: HoldWeights, losses: Losses, beside: Sequence[Any], **kwargs: Any) -> None:
        super().__init__(callbacks=[hold, *kwargs.pop("callbacks", [])], **kwargs)
        self.hold, self.losses, self.beside = hold, losses, beside
        self._loss = 0.0  # of the passes of a step so far
        self._skips = can_skip(self.model, self.args)

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """One forward and backward pass; the loss is looked at before the optimizer may use its gradient."""
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        self._loss += self._everywhere(loss)
        if not math.isfinite(self._loss):
            raise NotFinite(f"the loss became {self._loss}", self.state.global_step)
        if self.accelerator.sync_gradients:  # the step's last pass: what was accumulated is whole
            self.losses.add(self._loss)
            self._loss = 0.0
            if self.losses.diverged:
                raise Diverged("the loss diverged", self.state.global_step, f": {self.losses.described()}")
            self.hold.mask_gradients()
        return loss

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Of what is learned; the logits of the rest are not computed."""
        return super().compute_loss(model, learned_only(inputs) if self._skips else inputs, *args, **kwargs)

    def _everywhere(self, loss: Tensor) -> float:
        """The mean over processes, so that all of them judge alike and stop at the same step."""
        if self.args.world_size > 1:
            loss = self.accelerator.reduce(loss.detach().clone(), "mean")
        return float(loss)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """What is written holds nothing of held weights, whatever was done to the gradients after they were masked.

        Raises:
            UsageError: the disk is full, or cannot be written; what was written of this checkpoint is removed.
        """
        self.hold.clear_state(self.optimizer)
        folder = Path(self.args.output_dir) / f"{CHECKPOINT}{self.state.global_step}"
        with while_writing(folder):
            super()._save_checkpoint(model, trial)
            for one in self.beside:
                one.write(folder, self.args, self.state)
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                self.losses.write(folder)
                seal(folder)

    def _load_best_model(self) -> None:
        """The best checkpoint where it lies now."""
        best = best_here(Path(self.args.output_dir), self.state.best_model_checkpoint)
        self.state.best_model_checkpoint = None if best is None else str(best)
        super()._load_best_model()


def train(
    model: Any, tokenizer: Any, rows: Sequence[Row], hold: HoldWeights, spec: RecoverSpec, lr: float, folder: Path,
    identity: Mapping[str, Any], callbacks: Sequence[Any] = (),
) -> Training:  # fmt: skip
    """Train `model` in place; checkpoints go to `folder`, and a run that was cut off there goes on.

    `identity` is what makes this run this run: a folder of another run is refused. Where training breaks down, the model gets
    the last weights that were remembered as good, or those of the start.

    Raises:
        UsageError: `folder` holds another run, or cannot be written.
    """
    rows, held_out = _split(rows, spec)
    arguments = training_arguments(spec, lr, folder)
    per_step = spec.batch_size * arguments.gradient_accumulation_steps * arguments.world_size
    order = batches(rows, spec.steps, per_step, spec.seed)
    resumed = take(folder, identity, with_best=spec.early_stop is not None)
    try:
        return _trained(
            model,
            tokenizer,
            [rows[i] for i in order],
            held_out,
            hold,
            spec,
            lr,
            arguments,
            resumed,
            callbacks,
        )
    except BaseException:
        forget(folder)
        raise


def _trained(
    model: Any, tokenizer: Any, rows: Sequence[Row], held_out: Sequence[Row], hold: HoldWeights, spec: RecoverSpec, lr: float,
    arguments: TrainingArguments, resumed: str | None, callbacks: Sequence[Any],
) -> Training:  # fmt: skip
    """What came of training on `rows` in their order, from the checkpoint `resumed`, where there is one."""
    losses = Losses(int(model.config.get_text_config().vocab_size))
    if resumed is not None:
        losses.read(Path(resumed))
    good = LastGood(part(spec), resumed, is_sharded(spec), lambda: losses.calm)
    row = OpenRow(resumed)
    extra: list[Any] = [*callbacks, *([ByTime()] if by_time(spec) else ()), good, row]
    if spec.early_stop is not None:
        extra.append(EarlyStoppingCallback(early_stopping_patience=spec.early_stop))
    stopped, failed, clock = None, False, time.perf_counter()
    with _set_for_training(model, tokenizer), no_progress_bar():
        trainer = HoldingTrainer(
            hold, losses, [good, row], model=model, args=arguments, train_dataset=rows, eval_dataset=held_out or None,
            data_collator=DataCollatorForSeq2Seq(tokenizer, padding=True, label_pad_token_id=IGNORED), callbacks=extra,
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        row.trainer = trainer
        try:
            trainer.train(resume_from_checkpoint=resumed)
        except BrokenDown as error:
            stopped, failed = _back_to_good(trainer.model, good, error, lr), True
    if not failed and trainer.state.global_step < spec.steps:
        stopped = f"stopped early after {trainer.state.global_step} of {spec.steps} steps: the held-out loss got no better"
    hold.attach(trainer.model)
    state = trainer.accelerator.get_state_dict(trainer.model) if trainer.is_fsdp_enabled else None
    log = tuple(trainer.state.log_history)
    logged = [row["loss"] for row in log if "loss" in row]
    return Training(
        trainer.state.global_step, int(trainer.state.num_input_tokens_seen), time.perf_counter() - clock,
        logged[0] if logged else None, logged[-1] if logged else None, log, stopped, failed, state,
    )  # fmt: skip


def training_arguments(spec: RecoverSpec, lr: float, folder: Path) -> TrainingArguments:
    """The paper's recipe (AdamW, linear schedule, 6 % warm-up, no weight decay), then what `spec.trainer` says.

    Raises:
        UsageError: transformers refuses an option.
    """
    values: dict[str, Any] = {
        "output_dir": str(folder),
        "max_steps": spec.steps,
        "per_device_train_batch_size": spec.batch_size,
        "per_device_eval_batch_size": spec.batch_size,
        "learning_rate": lr,
        "lr_scheduler_type": "linear",
        "warmup_steps": WARMUP,  # below 1: a share of the steps
        "weight_decay": 0.0,
        "seed": spec.seed,
        "train_sampling_strategy": "sequential",  # the order is fixed beforehand
        "save_strategy": "no" if by_time(spec) else "steps",
        "save_steps": part(spec),
        "save_total_limit": 2,
        "logging_steps": max(1, spec.steps // 50),
        "logging_nan_inf_filter": False,  # a NaN must be seen
        "include_num_input_tokens_seen": "non_padding",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": torch.cuda.is_available(),
        "use_cpu": not torch.cuda.is_available() and "use_cpu" not in spec.trainer,
    }
    if spec.early_stop is not None:
        values |= {
            "eval_strategy": "steps",
            "eval_steps": part(spec),
            "load_best_model_at_end": True,
            "metric_for_best_model": "eval_loss",
        }
    try:
        arguments = TrainingArguments(**{**values, **spec.trainer})
    except (ValueError, TypeError, ImportError) as error:
        first = str(error).strip().splitlines()[0]
        raise UsageError(f"transformers.TrainingArguments refuses the trainer options: {first}") from error
    # In one process `Trainer` would split a batch of that many over all GPUs, each step then taking more examples than asked for.
    arguments._n_gpu = min(1, arguments.n_gpu)
    return arguments


@contextlib.contextmanager
def _set_for_training(model: Any, tokenizer: Any) -> Iterator[None]:
    """Padding on the right and no cache, as long as it is trained; what is saved is as it was loaded."""
    before = (tokenizer.pad_token, tokenizer.padding_side, model.config.use_cache)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side, model.config.use_cache = "right", False
    try:
        yield
    finally:
        tokenizer.pad_token, tokenizer.padding_side, model.config.use_cache = before


def _split(rows: Sequence[Row], spec: RecoverSpec) -> tuple[list[Row], list[Row]]:
    """Rows to train on, and rows held out where early stopping needs them."""
    if spec.early_stop is None:
        return list(rows), []
    n = min(MOST_HELD_OUT, max(1, int(len(rows) * HELD_OUT)))
    if n >= len(rows):
        raise UsageError(
            f"early_stop={spec.early_stop} needs rows to hold out, and there is one only. Give more data."
        )
    return list(rows[n:]), list(rows[:n])


def _back_to_good(model: Any, good: LastGood, error: BrokenDown, lr: float) -> str:
    """Put the last good weights into the model and say which they are."""
    step = good.restore(model)
    if step:
        kept = f"the weights of step {step}, the last known to be good, were kept"
    else:
        kept = "no later ones are known to be good, so the weights are those of the start"
    return f"{error}; {kept}. Try a smaller lr, e.g. {lr / 10:.2g} in place of {lr:g}"
