"""A cache of few bits, simulated: attention sees keys and values as they would be read from it.

Each token's keys and values of each head (or each run of `kv_group_size` numbers of them) are rounded to 2^b levels between their smallest and
largest value, zero among them: the grid of `rtn`. Keys are rounded as the cache holds them, after rotary positions.

Rounding depends on a token's own numbers alone and is done whenever they are read, so that scores are the same with a cache and
without one. The newest token is read from the cache like all others: there is no window of whole numbers.

It is done where transformers hands queries, keys and values to its attention functions, whichever of them is used. Before anything is
rounded, a short pass shows that what the cache stores is what attention gets, in every layer; other models are refused.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from difficulty.errors import UsageError
from junkdna_harness.compress.formats import SCALE_BITS
from junkdna_harness.compress.grid import fit_grid

PROBED = 4  # tokens of the pass that shows how attention gets its keys and values
_MARK = "_junkdna_kv"  # on an attention module: how its keys and values are rounded


@dataclass(frozen=True)
class CacheGrid:
    """How keys and values are rounded: to `bits`, `group` neighbours of a head with one scale (None: the whole head)."""

    bits: int
    group: int | None = None

    def __call__(self, values: Tensor) -> Tensor:
        """The rounded `values`, shape (..., numbers of a head), in their own dtype."""
        rows = values.float().reshape(-1, self.group or values.shape[-1])
        return fit_grid(rows, self.bits, symmetric=False).round(rows).view(values.shape).to(values.dtype)

    def effective_bits(self, head: int) -> float:
        """Bits a number takes: its code, and its share of a scale of 16 bits and a zero point as wide as a code."""
        return float(self.bits + (SCALE_BITS + self.bits) / (self.group or head))


@dataclass(frozen=True)
class Stored:
    """What one layer of the cache stores of a token: heads and their sizes, of keys and values; how many tokens at most."""

    key_heads: int
    key_size: int
    value_heads: int
    value_size: int
    window: int | None

    def numbers(self, tokens: int) -> int:
        """Keys and values of a text of so many tokens."""
        kept = tokens if self.window is None else min(tokens, self.window)
        return kept * (self.key_heads * self.key_size + self.value_heads * self.value_size)

    def bits(self, tokens: int, rounding: CacheGrid) -> float:
        """What they take, rounded."""
        kept = tokens if self.window is None else min(tokens, self.window)
        return kept * (
            self.key_heads * self.key_size * rounding.effective_bits(self.key_size)
            + self.value_heads * self.value_size * rounding.effective_bits(self.value_size)
        )


@dataclass(frozen=True)
class Found:
    """The attention modules of a model, and the layers of its cache."""

    modules: tuple[nn.Module, ...]
    layers: tuple[Stored, ...]

    def numbers(self, tokens: int) -> int:
        """Keys and values that the cache holds of a text of so many tokens."""
        return sum(layer.numbers(tokens) for layer in self.layers)

    def bits_a_number(self, tokens: int, rounding: CacheGrid) -> float:
        """What each of them takes, rounded, on average."""
        return sum(layer.bits(tokens, rounding) for layer in self.layers) / self.numbers(tokens)

    @contextmanager
    def rounding(self, how: CacheGrid) -> Iterator[None]:
        """Rounds for as long as the context is open."""
        for module in self.modules:
            module.__dict__[_MARK] = how
        try:
            yield
        finally:
            for module in self.modules:
                module.__dict__.pop(_MARK, None)


def find_cache(model: nn.Module, rounding: CacheGrid) -> Found:
    """Where the model's keys and values go by; it is run on a few tokens to see that all of them do.

    Raises:
        UsageError: it keeps something else than plain keys and values, its attention gets others than are stored, or
            `rounding.group` does not divide a head.
    """
    _pass_by()
    seen: list[tuple[nn.Module, Tensor, Tensor]] = []
    own = {id(module) for module in model.modules()}

    def look(module: nn.Module, key: Tensor, value: Tensor) -> None:
        if id(module) in own:
            seen.append((module, key, value))

    _LISTENERS.append(look)
    try:
        cached = _cached(model)
    finally:
        _LISTENERS.remove(look)
    stored = [_stored(model, layer, seen) for layer in cached]
    known = [pair for layer in cached for pair in [(layer.keys, layer.values)]]
    for module, key, value in seen:
        if not any(_same(key, value, *pair) for pair in known):
            raise _other(model, f"{type(module).__name__} gets keys or values that the cache does not hold")
    for size in {size for layer in stored for size in (layer.key_size, layer.value_size)}:
        if rounding.group is not None and size % rounding.group:
            raise UsageError(
                f"kv_group_size={rounding.group} does not divide the {size} numbers of a head. Choose a divisor, or leave it out for one scale a head."
            )
    return Found(tuple(dict.fromkeys(module for module, _, _ in seen)), tuple(stored))


def _stored(model: nn.Module, layer: Any, seen: Sequence[tuple[nn.Module, Tensor, Tensor]]) -> Stored:
    if not any(_same(key, value, layer.keys, layer.values) for _, key, value in seen):
        raise _other(
            model, "its attention does not get them from transformers' interface as the cache holds them"
        )
    window = getattr(layer, "sliding_window", None)
    keys, values = layer.keys.shape, layer.values.shape
    return Stored(keys[1], keys[3], values[1], values[3], None if window is None else int(window))


def _same(key: Tensor, value: Tensor, keys: Tensor, values: Tensor) -> bool:
    """True where the tensors that attention got end with those that are stored."""
    pairs = ((key, keys), (value, values))
    if any(a.ndim != 4 or b.ndim != 4 or a.dtype != b.dtype for a, b in pairs):
        return False
    cut = [(a[..., -b.shape[2] :, :], b) for a, b in pairs]
    return all(a.shape == b.shape and torch.equal(a.to(b.device), b) for a, b in cut)


@torch.no_grad()
def _cached(model: nn.Module) -> list[Any]:
    """The layers of the cache after a few tokens."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    ids = few_tokens(model, PROBED)
    training = model.training
    model.eval()
    try:
        output = model(input_ids=ids, use_cache=True)
    except (TypeError, ValueError, AttributeError, NotImplementedError, RuntimeError) as error:
        raise _other(model, f"it cannot be run with a cache ({type(error).__name__})") from error
    finally:
        model.train(training)
    cache = output.get("cache") if "cache" in output else output.get("past_key_values")
    layers = list(getattr(cache, "layers", ()))
    if not isinstance(cache, DynamicCache) or not layers:
        raise _other(model, "it keeps no cache of them")
    plain = all(isinstance(layer, DynamicLayer) and isinstance(layer.keys, Tensor) for layer in layers)
    if not plain or any(layer.keys.ndim != 4 or layer.values.ndim != 4 for layer in layers):
        raise _other(model, "some of its layers keep something else, such as a recurrent state")
    return layers


def few_tokens(model: nn.Module, number: int) -> Tensor:
    """Some token numbers of the model, shape (1, number), where they go in."""
    weight: Tensor = model.get_input_embeddings().weight  # type: ignore[operator]
    return (torch.arange(1, number + 1) % len(weight))[None].to(weight.device)


def _other(model: nn.Module, why: str) -> UsageError:
    kind = getattr(getattr(model, "config", None), "model_type", type(model).__name__)
    return UsageError(
        f"kv_bits= rounds the keys and values that attention reads from a cache, and a {kind} model cannot be simulated so: {why}. Leave kv_bits out."
    )


_LISTENERS: list[Callable[[nn.Module, Tensor, Tensor], None]] = []


def _pass_by() -> None:
    """See to it, once in a process, that whatever function transformers gives a module for its attention goes by here first.

    A name of our own in the config would lose what goes with the model's: its own eager function, its masks.
    """
    from transformers.modeling_utils import AttentionInterface

    original = getattr(AttentionInterface, "get_interface", None)
    if original is None or hasattr(original, _MARK):
        return  # without it no attention goes by, which the pass over a few tokens shows

    @functools.wraps(original)
    def get_interface(self: Any, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        return _reading(original(self, *args, **kwargs))

    setattr(get_interface, _MARK, True)
    AttentionInterface.get_interface = get_interface


def _reading(attention: Callable[..., Any]) -> Callable[..., Any]:
    """`attention` on keys and values as they are read from the cache of its module."""

    def read(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Any:
        for listener in _LISTENERS:
            listener(module, key, value)
        rounding = getattr(module, "__dict__", {}).get(_MARK)
        if rounding is not None:
            key, value = rounding(key), rounding(value)
        return attention(module, query, key, value, *args, **kwargs)

    return read
