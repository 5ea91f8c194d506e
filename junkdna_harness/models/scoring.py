"""Log-likelihoods as lm-eval's `hf` computes them, without computing anything twice.

`hf` runs the context of a multiple-choice document once for every option. Here a document's context goes through the
model once and its options continue from the cached keys and values; a few-shot header that many documents share goes
through once for all of them; equal inputs are scored once; rows of a batch are of similar length, and only the logits
that are needed are computed. Answers are those of `hf`: the same argmax, log-likelihoods within 1e-4 in fp32.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import torch

from difficulty.errors import UsageError
from difficulty.visible import visible
from junkdna_harness.compress.hashing import is_plain
from junkdna_harness.models.forward import Prepared, Runner, cache_limit, can_pack, prepare
from junkdna_harness.models.narrowing import narrowed
from junkdna_harness.models.packing import (
    MOST_LINE_TOKENS,
    MOST_ROWS,
    Packed,
    computed_tokens,
    pack,
    pieces_of,
)
from junkdna_harness.models.prefix_plan import Batch, Row, Tokens, build_batches, build_rows, split_request
from junkdna_harness.presentation.progress import Meter
from junkdna_harness.texts.vocabulary import refuse_unknown_tokens

logger = logging.getLogger(__name__)

Request = tuple[Any, list[int], list[int]]  # (context and continuation as strings or None, their tokens)
Plan = Batch | Packed
Answer = tuple[float, bool]  # log-likelihood in nats, and whether every token is the argmax
# Packed or cached; whether it continues headers; whether texts stand side by side, or tails follow.
Way = tuple[str, bool, bool]

# Cached and plain passes may differ by rounding; a cache that does not work is off by far more than this.
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-3}
LOOSE_TOLERANCE = 5e-2


class PrefixScoring:
    """Mixin in front of `HFLM`; `_prefix_cache = False` leaves every request to `hf`'s own code."""

    _prefix_cache: bool = True
    _prefix_checked: frozenset[Way] = frozenset()
    _prefix_limit: int | None = None
    _prefix_packs: bool | None = None

    def _get_backend(self, *args: Any, **kwargs: Any) -> None:
        super()._get_backend(*args, **kwargs)  # type: ignore[misc]
        if self.backend != "causal":  # type: ignore[attr-defined]
            kind = getattr(self.config, "model_type", "model")  # type: ignore[attr-defined]
            raise UsageError(
                f"{kind!r} is an encoder-decoder model, which cannot be scored here. "
                "Name a decoder-only (causal) language model."
            )

    def _loglikelihood_tokens(
        self, requests: list[Request], disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[Answer]:
        """(log-likelihood, is greedy) of each request, in order."""
        lm: Any = self
        if not self._prefix_cache or not self._own_passes():
            self._look_at(requests)
            plain = super()._loglikelihood_tokens  # type: ignore[misc]
            answers: list[Answer] = plain(requests, disable_tqdm=disable_tqdm, override_bs=override_bs)
            self.check_answers(answers)
            return answers
        batches = self.plan_scoring(requests, override_bs)
        passes = (prepare(batch) for batch in batches)
        return self.score(
            passes, requests, disable_tqdm=disable_tqdm or lm.rank != 0, check=self.check_answers
        )

    def check_answers(self, answers: Sequence[Answer]) -> None:
        """Refuse answers that mean nothing; here none is refused."""

    def say(self, sentence: str) -> None:
        """Tell the user something that needs nothing done about it."""
        logger.info("junkdna: %s", visible(sentence))

    def plan_scoring(self, requests: Sequence[Request], override_bs: int | None = None) -> list[Plan]:
        """The batches that score `requests`. They hold for every state of the model's weights."""
        lm: Any = self
        pairs = [split_request(context, continuation, lm.max_length) for _, context, continuation in requests]
        self._look_at(requests)
        batches = self._checked_batches(pairs, override_bs)
        asked = sum(len(context) + len(continuation) - 1 for context, continuation in pairs)
        if (computed := computed_tokens(batches)) < asked:
            self.say(
                f"{computed:,} tokens are computed for {asked:,} in {len(pairs):,} requests: what these share runs once."
            )
        return batches

    def _checked_batches(self, pairs: Sequence[tuple[Tokens, Tokens]], override_bs: int | None) -> list[Plan]:
        """Batches that were seen to score as plain passes do; what does not is turned off."""
        while True:
            batches = self._batches(pairs, override_bs)
            for way, batch in _ways(batches).items():
                if way in self._prefix_checked:
                    continue
                if fault := self._fault_of(batch, pairs):
                    self._turn_off(batch, fault)
                    break
                self._prefix_checked |= {way}
            else:
                return batches

    def _look_at(self, requests: Sequence[Request]) -> None:
        """Refuse tokens that the model has no embedding for, and say how many requests are cut."""
        lm: Any = self
        largest = max((max(part) for _, *parts in requests for part in parts if part), default=0)
        refuse_unknown_tokens(getattr(lm, "model_name", "the model"), largest, lm.model)
        longest = lm.max_length
        cut = sum(len(context) + len(continuation) > longest + 1 for _, context, continuation in requests)
        if cut:
            logger.warning(
                "junkdna: %d of %d requests are longer than the model's %d tokens and were cut on the left.",
                cut,
                len(requests),
                longest,
            )

    def score(
        self,
        passes: Iterable[Prepared],
        requests: Sequence[Request],
        disable_tqdm: bool = False,
        progress: Callable[[int], None] | None = None,
        check: Callable[[Sequence[Answer]], None] | None = None,
    ) -> list[Answer]:
        """(log-likelihood, is greedy) of each request, in order, by the given passes (see `plan_scoring`).

        `progress` is told after each pass how many requests that was worth, of which long ones are worth more than short ones; `check` is
        shown the answers of each.
        """
        lm: Any = self
        runner = Runner(lm.model, lm.device, lm.softmax_dtype, lm.mixed_precision_dtype)
        answers: list[Answer] = [(float("nan"), False)] * len(requests)
        tokens = [len(context) + len(continuation) for _, context, continuation in requests]
        whole, worked, told = max(1, sum(tokens)), 0, 0
        bar = self._meter(len(requests)) if not disable_tqdm else None
        with bar or nullcontext():
            for batch in passes:
                found = runner.score(batch)
                if check:
                    check(found)
                for slot, answer in zip(batch.slots, found, strict=True):
                    answers[slot] = answer
                    # loglikelihood_rolling gives no strings: it caches whole documents itself.
                    if requests[slot][0] is not None:
                        lm.cache_hook.add_partial("loglikelihood", requests[slot][0], answer)
                worked += sum(tokens[slot] for slot in batch.slots)
                worth = len(requests) * worked // whole - told
                told += worth
                if bar:
                    bar.add(worth)
                if progress:
                    progress(worth)
        return answers

    @property
    def described(self) -> str:
        """The model, as a person is told of it."""
        return str(getattr(self, "model_name", "the model"))

    def _meter(self, requests: int) -> Meter:
        """The bar of an evaluation, and one line beforehand on what is asked and how long it will take."""

        def expected(took: str) -> None:
            self.say(f"{requests:,} requests to {self.described}: {took}")

        return Meter("loglikelihood", requests, "requests", expected)

    def _batches(self, pairs: Sequence[tuple[Tokens, Tokens]], override_bs: int | None) -> list[Plan]:
        size = self._packed_size(override_bs)
        rows = build_rows(pairs, self._may_share, MOST_LINE_TOKENS if size else 0)
        batches: list[Plan] = []
        if size:
            packed, rows = pack(rows, size, lambda row: self._may_share(row.longest))
            batches += packed
        longest = max((len(row.tokens) for row in rows), default=0)
        below = build_batches(rows, self._size_at(override_bs), headers=self._may_share(longest))
        return [*below, *batches]

    def _packed_size(self, override_bs: int | None) -> int:
        """Lines of a packed pass, or 0 where rows go through the model one under the other."""
        lm: Any = self
        size = (override_bs or 0) if lm.batch_size == "auto" else int(lm.batch_size)
        if self._prefix_packs is None:
            self._prefix_packs = can_pack(lm.model)
        return size if self._prefix_packs and size <= MOST_ROWS and self._may_share(1) else 0

    def _size_at(self, override_bs: int | None) -> Callable[[list[Row], int], int]:
        """The size of the batch that starts at a position of sorted rows: as given, or detected as `hf` does."""
        lm: Any = self
        if lm.batch_size != "auto":
            return lambda rows, position: int(lm.batch_size)
        if override_bs is not None:
            return lambda rows, position: override_bs

        def detect(rows: list[Row], position: int) -> int:
            if position == 0:
                lm.batch_sizes = {}
            requests = [(None, list(row.tokens), [0]) for row in rows]
            # hf cuts the rows into `batch_schedule` stretches, and divides by zero where there are fewer rows.
            requests += [requests[-1]] * (int(lm.batch_schedule) - len(requests))
            return int(lm._batch_scheduler(position, requests))

        return detect

    def _may_share(self, length: int) -> bool:
        """True where a row of `length` tokens in all may be continued from a cache."""
        if self._prefix_limit is None:
            lm: Any = self
            self._prefix_limit, why = cache_limit(lm.model)
            if why:
                logger.warning("junkdna: %s", visible(why))
        return length <= self._prefix_limit

    def _turn_off(self, batch: Plan, fault: str) -> None:
        if isinstance(batch, Packed):
            self._prefix_packs = False
            logger.info("junkdna: questions are not put side by side with this model: %s.", visible(fault))
        else:
            self._prefix_limit = 0
            logger.warning(
                "junkdna: contexts are not shared between options with this model: %s.", visible(fault)
            )

    def _own_passes(self) -> bool:
        """False where `hf`'s own code has to run: several processes, or prompt tuning, which adds tokens."""
        lm: Any = self
        peft = getattr(lm.model, "active_peft_config", None)
        return lm.world_size == 1 and not getattr(peft, "is_prompt_learning", False)

    def _fault_of(self, batch: Plan, pairs: Sequence[tuple[Tokens, Tokens]]) -> str:
        """Why the first and the last rows of `batch` do not score alike in it and alone, or ''."""
        with self._exactly():
            return self._difference_of(batch, pairs)

    def _exactly(self) -> AbstractContextManager[None]:
        """A block in which weights in half precision on a CPU are float32, in which rounding cannot pass for a fault, nor a fault for rounding."""
        lm: Any = self
        half = lm.model.dtype in (torch.bfloat16, torch.float16)
        plain = lm.device.type == "cpu" and all(is_plain(parameter) for parameter in lm.model.parameters())
        return narrowed(lm.model, torch.float32) if half and plain else nullcontext()

    def _difference_of(self, batch: Plan, pairs: Sequence[tuple[Tokens, Tokens]]) -> str:
        lm: Any = self
        plain_float = lm.device.type == "cpu" and lm.model.dtype in TOLERANCE  # nothing needs autocast
        runner = Runner(
            lm.model, lm.device, lm.softmax_dtype, None if plain_float else lm.mixed_precision_dtype
        )
        probe = prepare(_ends_of(batch))
        rows = build_rows([pairs[slot] for slot in probe.slots], lambda length: False)
        # One by one, for these are more rows than a batch has.
        plain = [prepare(Batch((), [row])) for row in rows]
        what = "a mask of its own" if isinstance(batch, Packed) else "its cache"
        try:
            cached = runner.score(probe)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever a foreign architecture does with a cache, hf's way still works
            return (
                f"{what} failed ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''})"
            )
        expected: dict[int, float] = {}
        for one in plain:
            expected.update(
                (slot, value) for slot, (value, _) in zip(one.slots, runner.score(one), strict=True)
            )
        tolerance = TOLERANCE.get(lm.model.dtype, LOOSE_TOLERANCE)
        a = torch.tensor([value for value, _ in cached])
        b = torch.tensor([expected[i] for i in range(len(cached))])
        if torch.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True):
            return ""
        return f"{what} changes log-likelihoods by up to {(a - b).abs().max():.3g}"


def _ways(batches: Sequence[Plan]) -> dict[Way, Plan]:
    """Of each way in which these batches run rows otherwise than alone, the batch that shows most of what can go wrong."""
    found: dict[Way, Plan] = {}
    for batch in sorted(batches, key=_beside, reverse=True):
        if isinstance(batch, Packed):
            found.setdefault(("packed", bool(batch.headers), _beside(batch) > 1), batch)
        elif batch.header or batch.rows[0].tails:
            found.setdefault(("cached", bool(batch.header), bool(batch.rows[0].tails)), batch)
    return found


def _beside(batch: Plan) -> int:
    """How many texts stand side by side in the fullest line."""
    return max(map(pieces_of, batch.lines)) if isinstance(batch, Packed) else 1


def _ends_of(batch: Plan) -> Plan:
    """The first and the last row of `batch`; of a packed one the beginning of its fullest line and the end of its last."""
    if isinstance(batch, Packed):
        first, last = max(batch.lines, key=pieces_of), batch.lines[-1]
        lines = [replace(first, rows=first.rows[:2])]
        if last is not first:
            lines.append(replace(last, rows=last.rows[-1:]))
        used = sorted({line.parent for line in lines})
        headers = tuple(batch.headers[i] for i in used) if batch.headers else ()
        return Packed(headers, [replace(line, parent=used.index(line.parent)) for line in lines])
    rows = batch.rows
    return Batch(batch.header, rows if len(rows) < 3 else [rows[0], rows[-1]])
