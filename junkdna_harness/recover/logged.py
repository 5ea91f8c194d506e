"""A training in Weights & Biases: loss and learning rate of every logged step, then what it came to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from junkdna_harness.tracking import Wandb, WandbRun

if TYPE_CHECKING:
    from junkdna_harness.recover.run import Recovered


class LogSteps(TrainerCallback):  # type: ignore[misc]
    """Passes on what `Trainer` logs, from the first process alone."""

    def __init__(self, run: WandbRun) -> None:
        self.run = run

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any
    ) -> None:
        """Log the numbers of one step."""
        if state.is_world_process_zero:
            self.run.log(numbers(logs or {}), step=int(state.global_step))


def numbers(row: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of a row of the log, under the names that wandb groups into charts.

    >>> numbers({"loss": 0.5, "learning_rate": 0.001, "step": 3, "note": "x"})
    {'train/loss': 0.5, 'train/learning_rate': 0.001}
    """
    return {
        f"eval/{name.removeprefix('eval_')}" if name.startswith("eval_") else f"train/{name}": value
        for name, value in row.items()
        if isinstance(value, (int, float)) and name != "step"
    }


def log_outcome(run: WandbRun, done: Recovered) -> None:
    """What the training came to, and the manifest of its checkpoint."""
    manifest = {name: value for name, value in done.manifest.items() if name != "tensors"}
    training = done.training
    run.summary(
        {
            "steps": training.steps, "tokens": training.tokens, "seconds": training.seconds, "first_loss": training.first_loss,
            "last_loss": training.last_loss, "stopped": training.stopped, "failed": training.failed, "junkdna": manifest,
        }
    )  # fmt: skip


def log_finished(wandb: Wandb, name: str, manifest: Mapping[str, Any], log: list[Mapping[str, Any]]) -> None:
    """A training that ended earlier, from its manifest and its log."""
    config = {key: value for key, value in manifest.items() if key != "tensors"}
    with wandb.run(name, "recovery", {"junkdna": config}) as run:
        for row in log:
            run.log(numbers(row), step=int(row.get("step") or 0))
