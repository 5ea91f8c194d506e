"""Text through a model as it is, for statistics of its blocks and experts that need no walk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from junkdna_harness.compress.change import Progress
from junkdna_harness.compress.walk import TOKENS_AT_ONCE

Hook = Callable[..., Any]


def run_through(
    model: nn.Module,
    ids: Tensor,
    hooks: Sequence[tuple[nn.Module, Hook]],
    progress: Progress | None = None,
    before: bool = False,
) -> Tensor:
    """The logits of the last batch, after all `ids` (samples, length) went through the model without a cache.

    `hooks` are called as torch calls forward hooks that want keywords: (module, args, kwargs, output); with `before`, pre-hooks without the output.
    """
    register = "register_forward_pre_hook" if before else "register_forward_hook"
    handles = [getattr(module, register)(hook, with_kwargs=True) for module, hook in hooks]
    device = model.get_input_embeddings().weight.device  # type: ignore[operator]
    batches = torch.split(ids, max(1, TOKENS_AT_ONCE // ids.shape[1]))
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for done, batch in enumerate(batches):
                if progress:
                    progress(done, len(batches), "calibration text")
                logits: Tensor = model(input_ids=batch.to(device), use_cache=False).logits
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    return logits


def hidden_in(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The hidden states with which a block or a module is called."""
    return args[0] if args else kwargs.get("hidden_states")
