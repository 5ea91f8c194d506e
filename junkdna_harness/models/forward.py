"""Batches of rows as tensors, and the forward passes that score them, with or without cached keys and values."""

from __future__ import annotations

import inspect
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from junkdna_harness.models.prefix_plan import Batch, Target, Tokens

KeysValues = list[tuple[Tensor, Tensor]]  # one pair a layer, each (rows, heads, tokens, head size)


@dataclass(frozen=True)
class Part:
    """One forward pass: padded tokens (rows, width), and which of its logits to score.

    `keep` are the positions at which any row's logits are wanted; `row`, `kept`, `token` and `slot` describe one
    target each: where its logits are (`kept` counts in `keep`), the token, and whose log-likelihood it adds to.
    `parents` are the rows of the batch that a tail continues.
    """

    tokens: Tensor
    lengths: Tensor
    keep: Tensor
    row: Tensor
    kept: Tensor
    token: Tensor
    slot: Tensor
    parents: Tensor | None = None


@dataclass(frozen=True)
class Prepared:
    """A batch as tensors on the CPU: the rows' pass and their tails'. A part's slot i is request `slots[i]`."""

    header: Tokens
    rows: Part
    tails: list[Part]
    slots: list[int]


def prepare(batch: Batch) -> Prepared:
    """The tensors of `batch`.

    Tails are cut into passes of as many rows as the batch has, so that `batch_size` bounds the memory of their
    cache too; the tails of one row stay together.
    """
    slots = batch.slots
    local = {slot: i for i, slot in enumerate(slots)}
    rows = _part([(row.tokens, row.targets) for row in batch.rows], local, skip=len(batch.header))
    tails = [(tail, parent) for parent, row in enumerate(batch.rows) for tail in row.tails]
    tails.sort(key=lambda pair: -len(pair[0].tokens))
    size = max(len(batch.rows), max(len(row.tails) for row in batch.rows))
    parts = []
    for start in range(0, len(tails), size):
        chunk = tails[start : start + size]
        parents = torch.tensor([parent for _, parent in chunk])
        parts.append(_part([(tail.tokens, tail.targets) for tail, _ in chunk], local, 0, parents))
    return Prepared(batch.header, rows, parts, slots)


def _part(
    rows: list[tuple[Tokens, list[Target]]], local: dict[int, int], skip: int, parents: Tensor | None = None
) -> Part:
    lengths = [len(tokens) - skip for tokens, _ in rows]
    padded = torch.zeros(len(rows), max(lengths), dtype=torch.long)
    for i, (tokens, _) in enumerate(rows):
        padded[i, : lengths[i]] = torch.tensor(tokens[skip:])
    targets = [(i, t.position - skip, t.token, local[t.slot]) for i, (_, ts) in enumerate(rows) for t in ts]
    row, position, token, slot = torch.tensor(targets).unbind(1)
    keep, kept = torch.unique(position, return_inverse=True)
    return Part(padded, torch.tensor(lengths), keep, row, kept, token, slot, parents)


class Runner:
    """Scores prepared batches with one model; keeps the last header's keys and values."""

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
        self.header: Tokens = ()
        self.header_cache: KeysValues = []

    @torch.no_grad()
    def score(self, batch: Prepared) -> list[tuple[float, bool]]:
        """(log-likelihood, is greedy) of each of the batch's slots."""
        total = torch.zeros(len(batch.slots), device=self.device)
        misses = torch.zeros(len(batch.slots), dtype=torch.long, device=self.device)
        past, before = None, len(batch.header)
        if batch.header:
            n = len(batch.rows.tokens)
            past = [(k.expand(n, -1, -1, -1), v.expand(n, -1, -1, -1)) for k, v in self._header(batch.header)]
        cached = self._score_part(batch.rows, past, None, total, misses, bool(batch.tails))
        for tail in batch.tails:
            assert tail.parents is not None
            chosen = [(k[tail.parents.to(k.device)], v[tail.parents.to(v.device)]) for k, v in cached]
            self._score_part(tail, chosen, before + batch.rows.lengths[tail.parents], total, misses, False)
        return list(zip(total.tolist(), (misses == 0).tolist(), strict=True))

    def _header(self, header: Tokens) -> KeysValues:
        if header != self.header:
            self.header_cache = []
            _, self.header_cache = self._forward(
                torch.tensor([header]), {}, wants_cache=True, keep=torch.tensor([0])
            )
            self.header = header
        return self.header_cache

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
        extra = {} if past is None else self._continuing(past, past_lengths, part.tokens.shape[1])
        logits, cached = self._forward(part.tokens, extra, wants_cache, part.keep)
        on = logits.device
        columns = part.kept if logits.shape[1] == len(part.keep) else part.keep[part.kept]
        wanted = torch.log_softmax(logits[part.row.to(on), columns.to(on)], dim=-1, dtype=self.softmax_dtype)
        token = part.token.to(on)
        log_probability = wanted.gather(1, token.unsqueeze(1)).squeeze(1)
        slot = part.slot.to(total.device)
        total.index_add_(0, slot, log_probability.to(total))
        misses.index_add_(0, slot, (wanted.argmax(dim=-1) != token).to(misses))
        return cached

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
        self, tokens: Tensor, arguments: dict[str, Any], wants_cache: bool, keep: Tensor
    ) -> tuple[Tensor, KeysValues]:
        if "logits_to_keep" in self.accepts:
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
