"""What a training shows while it runs: its step, loss and learning rate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback

# step, of steps, what is to be told beside
Told = Callable[[int, int, str], None]


class Shown(TrainerCallback):  # type: ignore[misc]
    """Tells each step with the loss that was logged last."""

    def __init__(self, told: Told) -> None:
        self.told, self.loss = told, ""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tell where training begins: a run that was cut off goes on from its last checkpoint."""
        self._tell(args, state, kwargs)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Take the loss."""
        if logs and "loss" in logs:
            self.loss = f"loss {float(logs['loss']):.4g}"

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tell a step."""
        self._tell(args, state, kwargs)

    def _tell(self, args: Any, state: Any, kwargs: Any) -> None:
        if not state.is_world_process_zero:
            return
        scheduler = kwargs.get("lr_scheduler")
        rate = f"learning rate {scheduler.get_last_lr()[0]:.3g}" if scheduler is not None else ""
        where = getattr(state, "where", "")  # of what is trained part by part
        self.told(state.global_step, state.max_steps, ", ".join(filter(None, (where, self.loss, rate))))
