"""Text through a model as it is, for statistics of its blocks and experts that need no walk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from junkdna_harness.compress.change import Progress
from junkdna_harness.compress.walk import TOKENS_AT_ONCE

Hook = Callable[..., Any]


class _Head(Exception):
    """Thrown where the head begins: its logits are not needed."""


def run_through(model: nn.Module, ids: Tensor, hooks: Sequence[tuple[nn.Module, Hook]]) -> Tensor:
    """The logits of the last batch, after all `ids` (samples, length) went through the model without a cache.

    `hooks` are called as torch calls forward hooks that want keywords: (module, args, kwargs, output).
    """
    logits = ids
    with _evaluating(model), _hooked(hooks, "register_forward_hook"):
        for batch in _batches(model, ids):
            logits = ids  # those of the batch before are not held beside these
            logits = model(input_ids=batch, use_cache=False).logits
    return logits


def look_through(
    model: nn.Module,
    ids: Tensor,
    hooks: Sequence[tuple[nn.Module, Hook]],
    progress: Progress | None = None,
    before: bool = False,
) -> None:
    """As `run_through`, for what the hooks see alone: logits, the largest tensors of all, are not computed where the head is a module.

    With `before`, hooks are called before their modules, without the output.
    """

    def stop(*_: object) -> None:
        raise _Head

    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None  # type: ignore[operator]
    last = isinstance(head, nn.Module) and head is not model.get_input_embeddings()  # type: ignore[operator]
    ends: list[tuple[Any, Hook]] = [(head, stop)] if last else []
    kind = "register_forward_pre_hook" if before else "register_forward_hook"
    with _evaluating(model), _hooked(hooks, kind), _hooked(ends, "register_forward_pre_hook"):
        batches = _batches(model, ids)
        for done, batch in enumerate(batches):
            if progress:
                progress(done, len(batches), "calibration text")
            with suppress(_Head):
                model(input_ids=batch, use_cache=False)


@contextmanager
def _hooked(hooks: Sequence[tuple[nn.Module, Hook]], register: str) -> Iterator[None]:
    handles = [getattr(module, register)(hook, with_kwargs=True) for module, hook in hooks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def _batches(model: nn.Module, ids: Tensor) -> list[Tensor]:
    device = model.get_input_embeddings().weight.device  # type: ignore[operator]
    return [batch.to(device) for batch in torch.split(ids, max(1, TOKENS_AT_ONCE // ids.shape[1]))]


def hidden_in(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The hidden states with which a block or a module is called."""
    return args[0] if args else kwargs.get("hidden_states")
