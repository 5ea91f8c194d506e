"""Checkpoints of a training that may be cut off: when one is written, which are whole, and the last good weights.

They are written by the clock, so that a long training loses minutes and a short one writes none. Nothing that is
computed depends on when that was: weights to fall back on are those of fixed steps, and go along with a checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import TrainerCallback

from difficulty.errors import UsageError
from difficulty.files import write_atomic
from junkdna_harness.recover.alone import is_first_process
from junkdna_harness.recover.hold import local_part
from junkdna_harness.recover.spec import RecoverSpec

REQUEST = "request.json"
FINISHED = "finished"
GOOD = "good.safetensors"
PARTS = 5  # of a run, at whose ends its weights are looked at and remembered

SHARE = 0.02  # of the time, spent on writing checkpoints
LEAST, MOST = 120.0, 1800.0  # seconds from one to the next, whatever writing takes

now = time.monotonic


def by_time(spec: RecoverSpec) -> bool:
    """True where the clock decides; early stopping goes back to evaluated checkpoints, and shards are read from them."""
    return spec.save_every is None and spec.early_stop is None and not _is_sharded(spec)


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


class NotFinite(RuntimeError):
    """The loss or a weight became NaN or infinite; `step` is the number of finished steps."""

    def __init__(self, what: str, step: int) -> None:
        super().__init__(f"{what} at step {step}")
        self.step = step


class LastGood(TrainerCallback):  # type: ignore[misc]
    """Remembers the trainable weights every `every` steps; what is remembered or written has only numbers in it."""

    def __init__(self, every: int, resumed: str | None = None) -> None:
        self.every, self.resumed, self.step = every, resumed, 0
        self._weights: dict[str, Tensor] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Where training begins, or what the checkpoint remembers."""
        self.step, self._weights = state.global_step, {}
        for name, weight in _trainable(model).items():
            self._weights[name] = weight.to("cpu", copy=True)
        path = Path(self.resumed or "") / GOOD
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
        if due and not last:
            self.step = state.global_step
            for name, weight in _trainable(model).items():
                self._weights[name].copy_(weight)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A checkpoint of another step takes them along."""
        if state.is_world_process_zero and self.step != state.global_step < state.max_steps:
            stored = {name: weight.contiguous() for name, weight in self._weights.items()}
            save_file(stored, _folder(args, state) / GOOD, metadata={"step": str(self.step)})

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

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write it, each process its own."""
        if hasattr(self.trainer, "_tr_loss"):  # older versions of transformers keep it to themselves
            row = {"loss": self.trainer._tr_loss.item(), "since": self.trainer._globalstep_last_logged}
            write_atomic(_folder(args, state) / _row(args), json.dumps(row))


class MarkFinished(TrainerCallback):  # type: ignore[misc]
    """Marks a checkpoint as whole once everything of it is written: a process may be killed in the middle."""

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the mark."""
        if state.is_world_process_zero:
            write_atomic(_folder(args, state) / FINISHED, "")


def last_checkpoint(folder: Path) -> str | None:
    """The newest whole checkpoint in `folder`; None where there is none."""
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{FINISHED}")]
    return str(max(whole, key=lambda path: int(path.name.rpartition("-")[2]))) if whole else None


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


def remove_checkpoints(folder: Path) -> None:
    """The run is finished: its checkpoints may go."""
    shutil.rmtree(folder, ignore_errors=True)


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


def _folder(args: Any, state: Any) -> Path:
    return Path(args.output_dir) / f"checkpoint-{state.global_step}"


def _is_sharded(spec: RecoverSpec) -> bool:
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
