"""A checkpoint is loaded again before it is called done: the same parameters, and the same answer to a few tokens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from difficulty.errors import UsageError
from junkdna_harness.compress.reading import Whole
from junkdna_harness.compress.running import begun_on

TOKENS = 8
# How far logits may lie apart, as a share of the largest: another order of sums, no more.
CLOSE = {torch.float64: 1e-6, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}


@dataclass(frozen=True)
class Expected:
    """What a model is: its class, its parameters' shapes by name, where it lies, and its logits for `ids` (None where it takes no bare tokens, or rounds while it runs)."""

    made: type
    parameters: dict[str, tuple[int, ...]]
    placed: Any
    ids: Tensor
    logits: Tensor | None

    @property
    def finite(self) -> bool:
        """False where the logits are NaN or infinite."""
        return self.logits is None or bool(torch.isfinite(self.logits).all())


def expect(model: Any) -> Expected:
    """What `model`, loaded again, has to be; one short forward pass."""
    ids = _ids(model)
    places = {parameter.device for parameter in model.parameters()}
    placed = getattr(model, "hf_device_map", None) or {"": next(iter(places), torch.device("cpu"))}
    bare = begun_on(model) is None  # what is rounded while it runs is no part of what is written
    return Expected(type(model), _parameters(model), placed, ids, _logits(model, ids) if bare else None)


def release(model: nn.Module) -> None:
    """Give up the weights of a model that lies on one device, so that it can be loaded again in their place."""
    if len({parameter.device for parameter in model.parameters()}) == 1:
        model.to("meta")


def refuse_another(folder: Path, expected: Expected, code: bool = False) -> None:
    """Load `folder` and hold it against what it was written from.

    Raises:
        UsageError: it cannot be loaded, or is another model.
    """
    elsewhere = any(str(place) != "cpu" for place in expected.placed.values())
    options: dict[str, Any] = {"device_map": expected.placed} if elsewhere else {}
    try:
        with no_progress_bar():
            again = (
                Whole(expected.made)
                .from_pretrained(str(folder), dtype="auto", trust_remote_code=code, **options)
                .eval()
            )
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError, ImportError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0].replace(str(folder), "it")
        raise _not_done(expected, f"cannot be loaded again: {first}") from error
    found = _parameters(again)
    if different := [
        n for n in sorted(expected.parameters | found) if expected.parameters.get(n) != found.get(n)
    ]:
        raise _not_done(expected, f"has other parameters when it is loaded again, e.g. {different[0]}")
    if expected.logits is None:
        return
    logits = _logits(again, expected.ids)
    if logits is None or logits.shape != expected.logits.shape:
        raise _not_done(expected, "gives no logits when it is loaded again")
    apart = float((logits - expected.logits).abs().nan_to_num().max())
    allowed = CLOSE.get(next(again.parameters()).dtype, 5e-2) * max(
        1.0, float(expected.logits.abs().nan_to_num(posinf=0).max())
    )
    same = torch.equal(torch.isfinite(logits), torch.isfinite(expected.logits))
    if not same or apart > allowed:
        raise _not_done(expected, f"gives other logits when it is loaded again (by {apart:.2g})")


def _not_done(expected: Expected, what: str) -> UsageError:
    return UsageError(
        f"what transformers wrote of this {expected.made.__name__} {what}, so it was not kept. Try another release of transformers."
    )


def _parameters(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(p.shape) for name, p in model.named_parameters()}


def _ids(model: Any) -> Tensor:
    """A few tokens, none of which stands for an image or a sound."""
    rows = model.get_input_embeddings().weight.shape[0]
    configs = [model.config, model.config.get_text_config()]
    special = {
        v for config in configs for k, v in vars(config).items() if "token" in k and isinstance(v, int)
    }
    plain = [number for number in range(min(rows, 4096)) if number not in special] or [0]
    return torch.tensor([[plain[i * len(plain) // TOKENS] for i in range(TOKENS)]])


@torch.no_grad()
def _logits(model: Any, ids: Tensor) -> Tensor | None:
    training = model.training
    model.eval()
    try:
        with _own_forward(model):
            given = model(
                input_ids=ids.to(model.get_input_embeddings().weight.device), use_cache=False
            ).logits
    except (TypeError, ValueError, AttributeError, RuntimeError, IndexError):
        return None  # it takes more than tokens
    finally:
        model.train(training)
    return given.float().cpu() if isinstance(given, Tensor) else None


@contextmanager
def _own_forward(model: Any) -> Iterator[None]:
    """Without the mixed precision that accelerate puts around a model for training: what is written computes in its own."""
    around, own = model.__dict__.get("forward"), model.__dict__.get("_original_forward")
    if around is None or own is None:
        yield
        return
    model.__dict__["forward"] = own
    try:
        yield
    finally:
        model.__dict__["forward"] = around


@contextmanager
def no_progress_bar() -> Iterator[None]:
    """Without the bars of transformers: a second one of loading weights, one for every shard of every checkpoint."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
