"""Checkpoints of a training that may be cut off: when one is written, what goes along with it, and the last good weights.

They are written by the clock, so that a long training loses minutes and a short one writes none. Nothing that is
computed depends on when that was: weights to fall back on are those of fixed steps, and go along with a checkpoint.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import TrainerCallback

from junkdna_harness.recover.hold import local_part
from junkdna_harness.recover.spec import RecoverSpec

GOOD = "good"
PARTS = 5  # of a run, at whose ends its weights are looked at and remembered

SHARE = 0.02  # of the time, spent on writing checkpoints
LEAST, MOST = 120.0, 1800.0  # seconds from one to the next, whatever writing takes

now = time.monotonic


def by_time(spec: RecoverSpec) -> bool:
    """True where the clock decides; early stopping goes back to evaluated checkpoints, and shards are read from them."""
    return spec.save_every is None and spec.early_stop is None and not is_sharded(spec)


def part(spec: RecoverSpec) -> int:
    """Steps after which weights are remembered as good, and checkpoints written where the clock does not decide."""
    return spec.save_every or max(1, math.ceil(spec.steps / PARTS))


class ByTime(TrainerCallback):  # type: ignore[misc]
    """Asks for a checkpoint when enough time has passed for the last one to have been `SHARE` of it."""

    def __init__(self) -> None:
        self._pause = LEAST
        self._since = self._began = now()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The clock starts."""
        self._since = now()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Is it time?"""
        if _agreed(now() - self._since >= self._pause, args.device):
            self._began = now()
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """What it took says when the next one is due."""
        self._since = now()
        self._pause = min(max((self._since - self._began) / SHARE, LEAST), MOST)


class BrokenDown(RuntimeError):
    """Training makes no sense any more; `step` is the number of finished steps, `how` tells more."""

    def __init__(self, what: str, step: int, how: str = "") -> None:
        super().__init__(f"{what} at step {step}{how}")
        self.step = step


class NotFinite(BrokenDown):
    """The loss or a weight became NaN or infinite."""


class Diverged(BrokenDown):
    """The loss is far above that of the start and of a guess, and stays there."""


class LastGood(TrainerCallback):  # type: ignore[misc]
    """Remembers the trainable weights every `every` steps, if training is `calm` then; what is remembered or written has only numbers in it."""

    def __init__(self, every: int, resumed: str | None, sharded: bool, calm: Callable[[], bool]) -> None:
        self.every, self.resumed, self.sharded, self.calm, self.step = every, resumed, sharded, calm, 0
        self._weights: dict[str, Tensor] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Where training begins, or what the checkpoint remembers."""
        self.step, self._weights = state.global_step, {}
        for name, weight in _trainable(model).items():
            self._weights[name] = weight.to("cpu", copy=True)
        path = Path(self.resumed or "") / self._file(args)
        if self.resumed is not None and path.is_file():
            with safe_open(path, "pt") as stored:
                self.step = int(stored.metadata()["step"])
                for name, weight in self._weights.items():
                    weight.copy_(stored.get_tensor(name))

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Look at the weights before they are remembered, saved, or the result."""
        due, last = state.global_step % self.every == 0, state.global_step >= state.max_steps
        if due or last or control.should_save:
            for name, parameter in model.named_parameters():
                if not all_finite(parameter.detach()):
                    raise NotFinite(f"the weights of {name} became NaN or infinite", state.global_step)
        if due and not last and self.calm():
            self.step = state.global_step
            for name, weight in _trainable(model).items():
                self._weights[name].copy_(weight)

    def write(self, folder: Path, args: Any, state: Any) -> None:
        """A checkpoint of another step takes them along; of sharded weights each process writes its own."""
        if (state.is_world_process_zero or self.sharded) and self.step != state.global_step < state.max_steps:
            stored = {name: weight.contiguous() for name, weight in self._weights.items()}
            save_file(stored, folder / self._file(args), metadata={"step": str(self.step)})

    def _file(self, args: Any) -> str:
        return f"{GOOD}-{args.process_index}.safetensors" if self.sharded else f"{GOOD}.safetensors"

    @torch.no_grad()
    def restore(self, model: Any) -> int:
        """Put them back into `model`; of which step they are."""
        for name, weight in _trainable(model).items():
            weight.copy_(self._weights[name])
        return self.step


class StillAlone(TrainerCallback):  # type: ignore[misc]
    """Stops a training whose place another process has taken over, before it writes anything there."""

    def __init__(self, check: Callable[[], None]) -> None:
        self.check = check

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Before a checkpoint may be written.

        Raises:
            UsageError: another process has taken over.
        """
        self.check()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Before the result is written."""
        self.check()


class OpenRow(TrainerCallback):  # type: ignore[misc]
    """What was summed up for the next row of the log goes along too, else that row would speak of fewer steps."""

    def __init__(self, resumed: str | None) -> None:
        self.resumed = resumed
        self.trainer: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Go on summing up."""
        path = Path(self.resumed or "") / _row(args)
        if self.resumed is not None and path.is_file() and hasattr(self.trainer, "_tr_loss"):
            stored = json.loads(path.read_text())
            self.trainer._tr_loss.fill_(stored["loss"])
            self.trainer._globalstep_last_logged = stored["since"]

    def write(self, folder: Path, args: Any, state: Any) -> None:
        """Write it, each process its own."""
        if hasattr(self.trainer, "_tr_loss"):  # older versions of transformers keep it to themselves
            row = {"loss": self.trainer._tr_loss.item(), "since": self.trainer._globalstep_last_logged}
            (folder / _row(args)).write_text(json.dumps(row), encoding="utf-8")


def all_finite(tensor: Tensor) -> bool:
    """True where no element is NaN or infinite: a sum with one is neither, so a finite sum needs no second look."""
    if type(tensor) is Tensor and bool(torch.isfinite(tensor.sum(dtype=torch.float32))):
        return True
    return bool(torch.isfinite(tensor).all())


def _trainable(model: Any) -> dict[str, Tensor]:
    """Weights that are trained, by name; this process's part of them."""
    return {name: local_part(p.detach()) for name, p in model.named_parameters() if p.requires_grad}


def _row(args: Any) -> str:
    return f"row-{args.process_index}.json"


def is_sharded(spec: RecoverSpec) -> bool:
    """True where each process holds a part of every weight."""
    return bool(spec.trainer.get("fsdp")) or os.environ.get("ACCELERATE_USE_FSDP", "").lower() in (
        "1",
        "true",
    )


def _agreed(due: bool, device: torch.device) -> bool:
    """What the first process says: clocks of several would disagree, and each waits for the others in a checkpoint."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return due
    answer = torch.tensor([due], dtype=torch.uint8, device=device)
    torch.distributed.broadcast(answer, src=0)
    return bool(answer.item())
