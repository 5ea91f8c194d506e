"""Log-likelihoods as lm-eval's `hf` computes them, without computing anything twice.

`hf` runs the context of a multiple-choice document once for every option. Here a document's context goes through the
model once and its options continue from the cached keys and values; a few-shot header that many documents share goes
through once a batch; equal inputs are scored once; rows of a batch are of similar length, and only the logits that
are needed are computed. Answers are those of `hf`: the same argmax, log-likelihoods within 1e-4 in fp32.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from difficulty.errors import UsageError
from junkdna_harness.models.prefix_plan import Batch, Row, Target, build_batches, build_rows, split_request

logger = logging.getLogger(__name__)

Request = tuple[Any, list[int], list[int]]  # (context and continuation as strings or None, their tokens)
Answer = tuple[float, bool]  # log-likelihood in nats, and whether every token is the argmax
KeysValues = list[tuple[Tensor, Tensor]]  # one pair a layer, each (rows, heads, tokens, head size)


@dataclass(frozen=True)
class Part:
    """One forward pass: padded tokens (rows, width), and which of its logits to score.

    `keep` are the positions whose logits are wanted of any row; `row`, `kept`, `token`, `slot` name one target each.
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
    """A batch as tensors: the rows' pass and the passes of their tails. `slots` maps a part's slot to the request."""

    header: Tensor | None
    rows: Part
    tails: list[Part]
    slots: list[int]


def prepare(batch: Batch, most_rows: int) -> Prepared:
    """The tensors of `batch`; tails are cut into passes of at most `most_rows` rows, or one document's tails."""
    slots = batch.slots
    local = {slot: i for i, slot in enumerate(slots)}
    skip = len(batch.header)
    rows = _part([(row.tokens, row.targets) for row in batch.rows], local, skip)
    tails = sorted(
        ((tail, parent) for parent, row in enumerate(batch.rows) for tail in row.tails),
        key=lambda pair: -len(pair[0].tokens),
    )
    size = max([most_rows, *(len(row.tails) for row in batch.rows)])
    parts = []
    for start in range(0, len(tails), size):
        chunk = tails[start : start + size]
        parents = torch.tensor([parent for _, parent in chunk])
        parts.append(_part([(tail.tokens, tail.targets) for tail, _ in chunk], local, 0, parents))
    header = torch.tensor([batch.header]) if skip else None
    return Prepared(header, rows, parts, slots)


def _part(
    rows: list[tuple[tuple[int, ...], list[Target]]], local: dict[int, int], skip: int, parents: Tensor | None = None
) -> Part:
    lengths = [len(tokens) - skip for tokens, _ in rows]
    padded = torch.zeros(len(rows), max(lengths), dtype=torch.long)
    for i, (tokens, _) in enumerate(rows):
        padded[i, : lengths[i]] = torch.tensor(tokens[skip:])
    targets = [(i, t.position - skip, t.token, local[t.slot]) for i, (_, ts) in enumerate(rows) for t in ts]
    row, position, token, slot = torch.tensor(targets).unbind(1)
    keep, kept = torch.unique(position, return_inverse=True)
    return Part(padded, torch.tensor(lengths), keep, row, kept, token, slot, parents)


class PrefixScoring:
    """Mixin in front of `HFLM`; `_prefix_cache = False` leaves every request to `hf`'s own code."""

    _prefix_cache: bool = True
    _prefix_checked: bool = False
    _prefix_off: str = ""

    def _get_backend(self, *args: Any, **kwargs: Any) -> None:
        super()._get_backend(*args, **kwargs)  # type: ignore[misc]
        if self.backend != "causal":  # type: ignore[attr-defined]
            kind = getattr(self.config, "model_type", "model")  # type: ignore[attr-defined]
            raise UsageError(
                f"{kind!r} is an encoder-decoder model, which is not supported. "
                "Name a decoder-only (causal) language model."
            )

    def _loglikelihood_tokens(
        self, requests: list[Request], disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[Answer]:
        """(log-likelihood, is greedy) of each request, in order."""
        if not self._prefix_cache or self._several_processes():
            return super()._loglikelihood_tokens(  # type: ignore[misc, no-any-return]
                requests, disable_tqdm=disable_tqdm, override_bs=override_bs
            )
        plan = self.plan_scoring(requests, override_bs)
        return self.score(plan, requests, disable_tqdm=disable_tqdm or self.rank != 0)  # type: ignore[attr-defined]

    def plan_scoring(self, requests: Sequence[Request], override_bs: int | None = None) -> Iterator[Prepared]:
        """The passes that score `requests`, longest first. Keep them in a list to score another state of the model."""
        pairs = [split_request(c, t, self.max_length) for _, c, t in requests]  # type: ignore[attr-defined]
        rows = build_rows(pairs, self._may_share)
        size_at = self._batch_sizes(override_bs)
        for batch in build_batches(rows, size_at, headers=not self._prefix_off):
            yield prepare(batch, len(batch.rows))

    def score(
        self, plan: Iterable[Prepared], requests: Sequence[Request], disable_tqdm: bool = False
    ) -> list[Answer]:
        """(log-likelihood, is greedy) of each request, in order."""
        answers: list[Answer] = [(float("nan"), False)] * len(requests)
        header: tuple[Tensor | None, KeysValues] = (None, [])
        with tqdm(total=len(requests), disable=disable_tqdm, desc="Running loglikelihood requests") as bar:
            for batch in plan:
                if batch.header is not None and not _same(header[0], batch.header):
                    header = (batch.header, self._run_header(batch.header))
                found = self._score_batch(batch, header[1] if batch.header is not None else None)
                for slot, answer in zip(batch.slots, found, strict=True):
                    answers[slot] = answer
                    # loglikelihood_rolling caches whole documents itself and gives no strings.
                    if requests[slot][0] is not None:
                        self.cache_hook.add_partial("loglikelihood", requests[slot][0], answer)  # type: ignore[attr-defined]
                bar.update(len(batch.slots))
        return answers

    def _score_batch(self, batch: Prepared, header: KeysValues | None) -> list[Answer]:
        total = torch.zeros(len(batch.slots), device=self.device)  # type: ignore[attr-defined]
        wrong = torch.zeros(len(batch.slots), dtype=torch.long, device=self.device)  # type: ignore[attr-defined]
        past = None
        if header is not None:
            past = [(k.expand(len(batch.rows.tokens), -1, -1, -1), v.expand(len(batch.rows.tokens), -1, -1, -1)) for k, v in header]
        cached = self._run(batch.rows, past, None, total, wrong, wants_cache=bool(batch.tails))
        before = 0 if header is None else header[0][0].shape[2]
        for tail in batch.tails:
            assert tail.parents is not None and cached is not None
            parents = tail.parents
            past = [(k[parents.to(k.device)], v[parents.to(v.device)]) for k, v in cached]
            self._run(tail, past, before + batch.rows.lengths[parents], total, wrong, wants_cache=False)
        return list(zip(total.tolist(), (wrong == 0).tolist(), strict=True))
