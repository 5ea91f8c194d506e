"""Batches of rows as tensors, and the forward passes that score them, with or without cached keys and values."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from junkdna_harness.models.packing import Packed
from junkdna_harness.models.parts import Part, packed_part, plain_part, visible
from junkdna_harness.models.prefix_plan import Batch, Tokens

PACKABLE = ("sdpa", "eager")  # attention that takes a mask of every pair of tokens
KeysValues = list[tuple[Tensor, Tensor]]  # one pair per layer, each (rows, heads, tokens, head size)


@dataclass(frozen=True)
class Prepared:
    """A batch as tensors on the CPU: the rows' pass and their tails'. A part's slot i is request `slots[i]`."""

    headers: tuple[Tokens, ...]
    rows: Part
    tails: list[Part]
    slots: list[int]


def prepare(batch: Batch | Packed) -> Prepared:
    """The tensors of `batch`.

    Tails are cut into passes of as many rows as the batch has, so that `batch_size` bounds the memory of their
    cache too; the tails of one row stay together. A packed pass has its tails within.
    """
    slots = batch.slots
    local = {slot: i for i, slot in enumerate(slots)}
    if isinstance(batch, Packed):
        return Prepared(batch.headers, packed_part(batch, local), [], slots)
    rows = plain_part([(row.tokens, row.targets) for row in batch.rows], local, skip=len(batch.header))
    tails = [(tail, parent) for parent, row in enumerate(batch.rows) for tail in row.tails]
    tails.sort(key=lambda pair: -len(pair[0].tokens))
    size = max(len(batch.rows), max(len(row.tails) for row in batch.rows))
    parts = []
    for start in range(0, len(tails), size):
        chunk = tails[start : start + size]
        parents = torch.tensor([parent for _, parent in chunk])
        parts.append(plain_part([(tail.tokens, tail.targets) for tail, _ in chunk], local, 0, parents))
    return Prepared((batch.header,) if batch.header else (), rows, parts, slots)


class Runner:
    """Scores prepared batches with one model; keeps the keys and values of the last batch's headers."""

    def __init__(
        self,
        model: Any,
        device: torch.device,
        softmax_dtype: torch.dtype | None = None,
        autocast_dtype: torch.dtype | None = None,
    ) -> None:
        self.model, self.device = model, device
        self.softmax_dtype, self.autocast_dtype = softmax_dtype, autocast_dtype
        inner = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.accepts = frozenset(inspect.signature(inner.forward).parameters)
        # transformers 5.24 renamed the argument; older versions know the longer name only.
        self.cache_argument = "cache" if "cache" in self.accepts else "past_key_values"
        self.headers: tuple[Tokens, ...] = ()
        self.header_cache: KeysValues = []

    @torch.no_grad()
    def score(self, batch: Prepared) -> list[tuple[float, bool]]:
        """(log-likelihood, is greedy) of each of the batch's slots."""
        total = torch.zeros(len(batch.slots), device=self.device)
        misses = torch.zeros(len(batch.slots), dtype=torch.long, device=self.device)
        past, before = self._continued(batch) if batch.headers else (None, None)
        cached = self._score_part(batch.rows, past, before, total, misses, bool(batch.tails))
        for tail in batch.tails:
            assert tail.parents is not None
            lengths = batch.rows.lengths[tail.parents] + sum(map(len, batch.headers))
            self._score_part(tail, _rows_of(cached, tail.parents), lengths, total, misses, False)
        return list(zip(total.tolist(), (misses == 0).tolist(), strict=True))

    def _continued(self, batch: Prepared) -> tuple[KeysValues, Tensor]:
        """Keys and values of the header that each of the batch's rows continues, and its length."""
        if batch.headers != self.headers:
            self.headers, self.header_cache = (), []
            rows = torch.zeros(len(batch.headers), max(map(len, batch.headers)), dtype=torch.long)
            for i, header in enumerate(batch.headers):
                rows[i, : len(header)] = torch.tensor(header)
            _, self.header_cache = self._forward(rows, {}, wants_cache=True, keep=torch.tensor([0]))
            self.headers = batch.headers
        n = len(batch.rows.tokens)
        parents = torch.zeros(n, dtype=torch.long) if batch.rows.parents is None else batch.rows.parents
        return _rows_of(self.header_cache, parents), torch.tensor([len(h) for h in batch.headers])[parents]

    def _score_part(
        self,
        part: Part,
        past: KeysValues | None,
        past_lengths: Tensor | None,
        total: Tensor,
        misses: Tensor,
        wants_cache: bool,
    ) -> KeysValues:
        """Add the part's log-probabilities to `total` and count its wrong argmaxes in `misses`; return the cache."""
        logits, cached = self._logits(part, past, past_lengths, wants_cache)
        on = logits.device
        wanted = torch.log_softmax(logits, dim=-1, dtype=self.softmax_dtype)
        best = wanted.argmax(dim=-1)
        token = part.token.to(on)
        if part.layout is None:
            log_probability = wanted.gather(1, token.unsqueeze(1)).squeeze(1)
        else:  # several options may begin after one token of their question
            kept = part.kept.to(on)
            log_probability, best = wanted[kept, token], best[kept]
        slot = part.slot.to(total.device)
        total.index_add_(0, slot, log_probability.to(total))
        misses.index_add_(0, slot, (best != token).to(misses))
        return cached

    def _logits(
        self, part: Part, past: KeysValues | None, past_lengths: Tensor | None, wants_cache: bool
    ) -> tuple[Tensor, KeysValues]:
        """Logits of each target (of a packed pass: of each token that is kept), and the cache."""
        if part.layout is not None:
            with _head_sees(self.model, part.keep):
                logits, cached = self._forward(
                    part.tokens, self._side_by_side(part, past, past_lengths), False
                )
            picked = logits.shape[:2] == (1, len(part.keep))
            return logits[0] if picked else logits.flatten(0, 1)[part.keep.to(logits.device)], cached
        extra = {} if past is None else self._continuing(past, past_lengths, part.tokens.shape[1])
        logits, cached = self._forward(part.tokens, extra, wants_cache, part.keep)
        columns = part.kept if logits.shape[1] == len(part.keep) else part.keep[part.kept]
        return logits[part.row.to(logits.device), columns.to(logits.device)], cached

    def _side_by_side(self, part: Part, past: KeysValues | None, lengths: Tensor | None) -> dict[str, Any]:
        """Arguments of a packed pass: positions, the mask, and the headers' keys and values."""
        assert part.layout is not None
        layout = part.layout.to(self.device)
        cached = past[0][0].shape[2] if past else 0
        mask = visible(layout, None if lengths is None else lengths.to(self.device), cached)
        if attention_of(self.model) == "eager":  # it adds the mask; the other takes it as it is
            lowest = torch.finfo(self.model.dtype).min
            mask = torch.zeros(mask.shape, dtype=self.model.dtype, device=mask.device).masked_fill_(
                ~mask, lowest
            )
        arguments: dict[str, Any] = {"attention_mask": mask, "position_ids": layout[2].long()}
        if past:
            arguments[self.cache_argument] = _as_cache(past)
        return arguments

    def _continuing(self, past: KeysValues, lengths: Tensor | None, width: int) -> dict[str, Any]:
        """Arguments that continue rows from cached keys and values, of which `lengths` are no padding (None = all)."""
        rows, cached_width = past[0][0].shape[0], past[0][0].shape[2]
        start = torch.full((rows,), cached_width) if lengths is None else lengths
        arguments: dict[str, Any] = {self.cache_argument: _as_cache(past)}
        if "position_ids" in self.accepts:
            arguments["position_ids"] = (start[:, None] + torch.arange(width)).to(self.device)
        if bool((start != cached_width).any()):
            real = torch.arange(cached_width) < start[:, None]
            mask = torch.cat([real, torch.ones(rows, width, dtype=torch.bool)], dim=1)
            arguments["attention_mask"] = mask.long().to(self.device)
        return arguments

    def _forward(
        self, tokens: Tensor, arguments: dict[str, Any], wants_cache: bool, keep: Tensor | None = None
    ) -> tuple[Tensor, KeysValues]:
        if keep is not None and "logits_to_keep" in self.accepts:
            arguments["logits_to_keep"] = keep.to(self.device)
        if "use_cache" in self.accepts:
            arguments["use_cache"] = wants_cache or self.cache_argument in arguments
        if wants_cache and self.cache_argument in self.accepts and self.cache_argument not in arguments:
            arguments[self.cache_argument] = DynamicCache()
        autocast = (
            torch.autocast(self.device.type, dtype=self.autocast_dtype)
            if self.autocast_dtype
            else nullcontext()
        )
        with autocast:
            output = self.model(tokens.to(self.device), **arguments)
        return output.logits, _keys_values(output) if wants_cache else []


def _rows_of(cached: KeysValues, rows: Tensor) -> KeysValues:
    """The keys and values of these rows; of one row alone without a copy."""
    if bool((rows == rows[0]).all()):
        one, n = int(rows[0]), len(rows)
        return [
            (k[one : one + 1].expand(n, -1, -1, -1), v[one : one + 1].expand(n, -1, -1, -1))
            for k, v in cached
        ]
    return [(k[rows.to(k.device)], v[rows.to(v.device)]) for k, v in cached]


@contextmanager
def _head_sees(model: Any, keep: Tensor) -> Iterator[None]:
    """Within, the output head is given the hidden states of the tokens `keep` alone, as one row (where the model has a head)."""

    def pick(_: Any, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
        return (given[0].flatten(0, 1)[keep.to(given[0].device)].unsqueeze(0), *given[1:]) if given else None

    head = model.get_output_embeddings()
    handle = head.register_forward_pre_hook(pick) if head is not None else None
    try:
        yield
    finally:
        if handle is not None:
            handle.remove()


def attention_of(model: Any) -> str:
    """The name of the attention that transformers runs, e.g. sdpa."""
    return str(getattr(model.config.get_text_config(decoder=True), "_attn_implementation", None))


def can_pack(model: Any) -> bool:
    """True where a pass may say which token attends to which, and where each stands."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return "position_ids" in inspect.signature(inner.forward).parameters and attention_of(model) in PACKABLE


def _as_cache(past: KeysValues) -> DynamicCache:
    """A cache around tensors as they are; the model's update concatenates to them and never writes into them."""
    cache = DynamicCache()
    for keys, values in past:
        layer = DynamicLayer()
        layer.lazy_initialization(keys, values)
        layer.keys, layer.values = keys, values
        cache.layers.append(layer)
    return cache


def _keys_values(output: Any) -> KeysValues:
    cache = output.get("cache") if "cache" in output else output.get("past_key_values")
    if not isinstance(cache, DynamicCache) or any(type(layer) is not DynamicLayer for layer in cache.layers):
        raise TypeError("the model keeps no plain keys and values")
    return [(layer.keys, layer.values) for layer in cache.layers]


def cache_limit(model: Any) -> tuple[int, str]:
    """The longest input, in tokens, that may be continued from a cache, and a sentence where that is not any input.

    Recurrent states cannot be continued from a padded row, and a sliding window would slide over the padding: half
    a window is always safe, for context and options padded to the batch's widest are then within the window.
    """
    config = model.config.get_text_config(decoder=True)
    layers = DynamicCache(config=config).layers
    windows = [int(layer.sliding_window) for layer in layers if type(layer) is DynamicSlidingWindowLayer]
    others = {type(layer) for layer in layers} - {DynamicLayer, DynamicSlidingWindowLayer}
    if others or not layers:
        kind = getattr(config, "model_type", "this kind of")
        return 0, f"contexts are not shared between options: a {kind} model keeps more than keys and values."
    if windows:
        limit = min(windows) // 2
        return limit, (
            f"contexts are shared between options up to {limit} tokens only: the model attends within a sliding "
            f"window of {min(windows)}."
        )
    return sys.maxsize, ""
