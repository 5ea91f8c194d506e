"""A model's weights in another dtype, as `from_pretrained(dtype=...)` would have loaded them; and back again, to the bit.

Weights are compressed in float32 and asked in bfloat16. What a scoring pass sees is a copy; the tensors that were compressed are kept
aside, so that nothing of them is lost. Non-persistent buffers stay as they are: they are computed, not loaded, e.g. the
frequencies of rotary positions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from difficulty.errors import UsageError
from junkdna_harness.compress.hashing import is_plain
from junkdna_harness.precision import AUTO_CPU


@contextmanager
def narrowed(model: Any, dtype: torch.dtype) -> Iterator[None]:
    """A block in which the floats of `model` are `dtype`; afterwards the very tensors from before are back in their places."""
    kept = [(tensor, tensor.data) for tensor in _floats(model, dtype)]
    try:
        narrow(model, dtype)
        yield
    finally:
        for tensor, data in kept:
            tensor.data = data


def narrow(model: Any, dtype: torch.dtype) -> None:
    """Turn the floats of `model` into `dtype`, one after another, for good."""
    for tensor in _floats(model, dtype):
        tensor.data = tensor.data.to(dtype)


def refuse_codes(model: Any, name: str) -> None:
    """Refuse a model whose weights cannot be narrowed, because they are codes.

    Raises:
        UsageError: says so.
    """
    if not all(is_plain(parameter) for parameter in model.parameters()):
        raise UsageError(
            f"dtype={AUTO_CPU} turns plain weights into another dtype, and those of {name!r} are packed codes. Leave it out, or name a "
            "dtype, e.g. dtype=bfloat16."
        )


def _floats(model: Any, dtype: torch.dtype) -> list[Tensor]:
    """The parameters and persistent buffers that a model of `dtype` has in it, each once."""
    stays = _kept_in_float32(model, dtype)
    found: list[Tensor] = []
    for prefix, module in model.named_modules():
        named = [
            *module.named_parameters(prefix, recurse=False),
            *((f"{prefix}.{n}", b) for n, b in module.named_buffers(recurse=False) if _is_saved(module, n)),
        ]
        found += [t for name, t in named if t.is_floating_point() and t.dtype != dtype and not stays(name)]
    return list({id(tensor): tensor for tensor in found}.values())


def _is_saved(module: Any, buffer: str) -> bool:
    return buffer not in module._non_persistent_buffers_set


def _kept_in_float32(model: Any, dtype: torch.dtype) -> Any:
    """Whether transformers keeps a tensor of this name in float32 although the model is loaded in `dtype`."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    listed = list(getattr(inner, "_keep_in_fp32_modules_strict", None) or ())
    if dtype == torch.float16:
        listed += getattr(inner, "_keep_in_fp32_modules", None) or ()
    if not listed:
        return lambda name: False
    return re.compile("|".join(re.escape(part).replace(r"\*", ".*") for part in listed)).search
