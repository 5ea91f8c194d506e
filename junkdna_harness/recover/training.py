"""The training itself: `transformers.Trainer`, with held weights, a fixed order of the data, and a stop at NaN."""

from __future__ import annotations

import contextlib
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
    ByTime,
    LastGood,
    MarkFinished,
    NotFinite,
    OpenRow,
    by_time,
    claim,
    last_checkpoint,
    part,
)
from junkdna_harness.recover.hold import HoldWeights
from junkdna_harness.recover.schedule import IGNORED, Row, batches
from junkdna_harness.recover.spec import WARMUP, RecoverSpec

HELD_OUT = 0.05  # of the rows, for early stopping
MOST_HELD_OUT = 512


@dataclass(frozen=True)
class Training:
    """What happened: steps taken, tokens seen, seconds, loss of the first and last logged steps, and the log.

    `stopped` is a sentence where training ended before its last step. `state` are the gathered weights of a model that
    is sharded over processes, else None.
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


class HoldingTrainer(Trainer):  # type: ignore[misc]
    """`Trainer` that stops at a loss that is no number, and lets held weights have no gradient."""

    def __init__(self, hold: HoldWeights, **kwargs: Any) -> None:
        super().__init__(callbacks=[hold, *kwargs.pop("callbacks", [])], **kwargs)
        self.hold = hold

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """One forward and backward pass; the loss is looked at before the optimizer may use its gradient."""
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        if not bool(torch.isfinite(loss)):
            raise NotFinite(f"the loss became {loss.item()}", self.state.global_step)
        if self.accelerator.sync_gradients:  # the step's last pass: what was accumulated is whole
            self.hold.mask_gradients()
        return loss

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """What is written holds nothing of held weights, whatever was done to the gradients after they were masked."""
        self.hold.clear_state(self.optimizer)
        super()._save_checkpoint(model, trial)


def train(
    model: Any, tokenizer: Any, rows: Sequence[Row], hold: HoldWeights, spec: RecoverSpec, lr: float, folder: Path,
    identity: Mapping[str, Any], callbacks: Sequence[Any] = (),
) -> Training:  # fmt: skip
    """Train `model` in place; checkpoints go to `folder`, and a run that was cut off there goes on.

    `identity` is what makes this run this run: a folder of another run is refused. At a NaN the model gets the last
    weights that were remembered as good, or those of the start.

    Raises:
        UsageError: `folder` holds another run.
    """
    claim(folder, identity)
    rows, held_out = _split(rows, spec)
    arguments = training_arguments(spec, lr, folder)
    per_step = spec.batch_size * arguments.gradient_accumulation_steps * arguments.world_size
    order = batches(rows, spec.steps, per_step, spec.seed)
    resumed = last_checkpoint(folder)
    good, row = LastGood(part(spec), resumed), OpenRow(resumed)
    extra: list[Any] = [*callbacks, *([ByTime()] if by_time(spec) else ()), good, row, MarkFinished()]
    if spec.early_stop is not None:
        extra.append(EarlyStoppingCallback(early_stopping_patience=spec.early_stop))
    stopped, failed, clock = None, False, time.perf_counter()
    with _set_for_training(model, tokenizer), no_progress_bar():
        trainer = HoldingTrainer(
            hold, model=model, args=arguments, train_dataset=[rows[i] for i in order], eval_dataset=held_out or None,
            data_collator=DataCollatorForSeq2Seq(tokenizer, padding=True, label_pad_token_id=IGNORED), callbacks=extra,
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        row.trainer = trainer
        try:
            trainer.train(resume_from_checkpoint=resumed)
        except NotFinite as error:
            stopped, failed = _back_to_good(trainer.model, good, error), True
    if not failed and trainer.state.global_step < spec.steps:
        stopped = f"stopped early after {trainer.state.global_step} of {spec.steps} steps: the held-out loss got no better"
    hold.attach(trainer.model)
    state = trainer.accelerator.get_state_dict(trainer.model) if trainer.is_fsdp_enabled else None
    log = tuple(trainer.state.log_history)
    losses = [row["loss"] for row in log if "loss" in row]
    return Training(
        trainer.state.global_step, int(trainer.state.num_input_tokens_seen), time.perf_counter() - clock,
        losses[0] if losses else None, losses[-1] if losses else None, log, stopped, failed, state,
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


def _back_to_good(model: Any, good: LastGood, error: NotFinite) -> str:
    """Put the last good weights into the model and say which they are."""
    step = good.restore(model)
    if step:
        kept = f"the weights of step {step}, the last known to be good, were kept"
    else:
        kept = "no later ones are known to be good, so the weights are those of the start"
    return f"{error}; {kept}. Try a smaller lr"
