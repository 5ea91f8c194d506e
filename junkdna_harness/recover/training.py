"""The training itself: `transformers.Trainer`, with held weights, a fixed order of the data, and a stop at NaN."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import shutil
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
    TrainerCallback,
    TrainingArguments,
)

from difficulty.errors import UsageError
from difficulty.files import write_atomic
from junkdna_harness.compress.again import no_progress_bar
from junkdna_harness.recover.alone import is_first_process
from junkdna_harness.recover.hold import HoldWeights
from junkdna_harness.recover.schedule import IGNORED, Row, batches
from junkdna_harness.recover.spec import WARMUP, RecoverSpec

REQUEST = "request.json"
FINISHED = "finished"
HELD_OUT = 0.05  # of the rows, for early stopping
MOST_HELD_OUT = 512
CHECKPOINTS = 5  # a run, unless save_every says otherwise


class NotFinite(RuntimeError):
    """The loss or a weight became NaN or infinite; `step` is the number of finished steps."""

    def __init__(self, what: str, step: int) -> None:
        super().__init__(f"{what} at step {step}")
        self.step = step


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
        self.hold.mask_gradients()
        return loss


class OnlyFiniteCheckpoints(TrainerCallback):  # type: ignore[misc]
    """Before a checkpoint is written, all weights must be numbers: the last one on disk is always good."""

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Look at the weights where this step will be saved, or is the last."""
        if state.global_step % state.save_steps == 0 or state.global_step >= state.max_steps:
            for name, parameter in model.named_parameters():
                if not bool(torch.isfinite(parameter.detach()).all()):
                    raise NotFinite(f"the weights of {name} became NaN or infinite", state.global_step)


class MarkFinished(TrainerCallback):  # type: ignore[misc]
    """Marks a checkpoint as whole once everything of it is written: a process may be killed in the middle."""

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the mark."""
        if state.is_world_process_zero:
            write_atomic(Path(args.output_dir) / f"checkpoint-{state.global_step}" / FINISHED, "")


def last_checkpoint(folder: Path) -> str | None:
    """The newest whole checkpoint in `folder`; None where there is none."""
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{FINISHED}")]
    return str(max(whole, key=lambda path: int(path.name.rpartition("-")[2]))) if whole else None


def train(
    model: Any, tokenizer: Any, rows: Sequence[Row], hold: HoldWeights, spec: RecoverSpec, lr: float, folder: Path,
    identity: Mapping[str, Any], callbacks: Sequence[Any] = (),
) -> Training:  # fmt: skip
    """Train `model` in place; checkpoints go to `folder`, and a run that was cut off there goes on.

    `identity` is what makes this run this run: a folder of another run is refused. At a NaN the model gets the
    weights of the last good checkpoint, or of the start.

    Raises:
        UsageError: `folder` holds another run.
    """
    claim(folder, identity)
    rows, held_out = _split(rows, spec)
    arguments = training_arguments(spec, lr, folder)
    per_step = spec.batch_size * arguments.gradient_accumulation_steps * arguments.world_size
    order = batches(rows, spec.steps, per_step, spec.seed)
    extra: list[Any] = [*callbacks, OnlyFiniteCheckpoints(), MarkFinished()]
    if spec.early_stop is not None:
        extra.append(EarlyStoppingCallback(early_stopping_patience=spec.early_stop))
    start = _trainable(model) if last_checkpoint(folder) is None else {}
    stopped, failed, clock = None, False, time.perf_counter()
    with _set_for_training(model, tokenizer), no_progress_bar():
        trainer = HoldingTrainer(
            hold, model=model, args=arguments, train_dataset=[rows[i] for i in order], eval_dataset=held_out or None,
            data_collator=DataCollatorForSeq2Seq(tokenizer, padding=True, label_pad_token_id=IGNORED), callbacks=extra,
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        try:
            trainer.train(resume_from_checkpoint=last_checkpoint(folder))
        except NotFinite as error:
            stopped, failed = _back_to_good(trainer, model, folder, start, error), True
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
    save_every = spec.save_every or max(1, math.ceil(spec.steps / CHECKPOINTS))
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
        "save_strategy": "steps",
        "save_steps": save_every,
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
            "eval_steps": save_every,
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


def claim(folder: Path, identity: Mapping[str, Any]) -> None:
    """Make `folder` the place of the run with this identity.

    Raises:
        UsageError: it holds checkpoints of another run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(identity, sort_keys=True, default=str)
    stamp = json.dumps(
        {"sha256": hashlib.sha256(text.encode()).hexdigest(), "run": json.loads(text)}, indent=1
    )
    request = folder / REQUEST
    if request.is_file() and request.read_text() != stamp:
        raise UsageError(
            f"{str(folder)!r} holds an unfinished recovery of another kind. Ask for the same again to finish it, or remove "
            "the folder."
        )
    if is_first_process():
        write_atomic(request, stamp)


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


def _trainable(model: Any) -> dict[str, Tensor]:
    return {name: p.detach().to("cpu", copy=True) for name, p in model.named_parameters() if p.requires_grad}


@torch.no_grad()
def _back_to_good(
    trainer: Any, model: Any, folder: Path, start: Mapping[str, Tensor], error: NotFinite
) -> str:
    """Load the last good weights into the model and say which they are."""
    last = last_checkpoint(folder)
    if last is not None:
        trainer._load_from_checkpoint(last, trainer.model_wrapped if trainer.is_fsdp_enabled else None)
        step = int(Path(last).name.rpartition("-")[2])
        kept = f"the weights of step {step}, the last good checkpoint, were kept"
    else:
        parameters = dict(model.named_parameters())
        for name, value in start.items():
            parameters[name].copy_(value)
        kept = "no checkpoint had been written, so the weights are those of the start"
    return f"{error}; {kept}. Try a smaller lr"


def remove_checkpoints(folder: Path) -> None:
    """The run is finished: its checkpoints may go."""
    shutil.rmtree(folder, ignore_errors=True)
