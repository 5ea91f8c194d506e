"""The noise floor's evaluation: the same weights and requests, in other batches, another order and without shared prefixes.

In exact arithmetic nothing of this changes a score. With the numbers of a computer the last digits change, since sums are taken in
another order; by how much shows which differences between runs mean nothing.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from difficulty.errors import UsageError
from difficulty.runs import store as layout
from junkdna_harness.sweep.plan import Plan

SEED = 20240  # of the order of requests: the same in all sweeps
BATCHES_A_PART = 8  # hf sorts what it is given by length; parts of a shuffled list are sorted each for itself
WHERE_AUTO = 4  # the batch size where that of the first evaluation was left to hf and is not known


class SecondPass:
    """A model that is asked in another order, a part of the requests at a time; everything else is the model's own."""

    _prefix_cache = False

    def __init__(self, lm: Any, part: int) -> None:
        self._lm, self._part = lm, part

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lm, name)

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:
        """As the model's own, the answers in the order of `requests`."""
        return self._ask("loglikelihood", requests, disable_tqdm)

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:
        """As the model's own, the answers in the order of `requests`."""
        return self._ask("loglikelihood_rolling", requests, disable_tqdm)

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:
        """As the model's own, the answers in the order of `requests`."""
        return self._ask("generate_until", requests, disable_tqdm)

    def token_scores(self, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:
        """As the model's own, other numbers of a text's windows at a time."""
        answers: list[Any] = self._lm.token_scores(requests, disable_tqdm, other_batch_size)
        return answers

    def _ask(self, kind: str, requests: list[Any], disable_tqdm: bool) -> list[Any]:
        order = list(range(len(requests)))
        random.Random(SEED).shuffle(order)
        size = max(1, min(self._part, (len(order) + 1) // 2))  # at least two parts, so that batches differ
        answers: list[Any] = [None] * len(requests)
        for start in range(0, len(order), size):
            part = order[start : start + size]
            found = self._answers(kind, [requests[i] for i in part], disable_tqdm)
            for i, answer in zip(part, found, strict=True):
                answers[i] = answer
        return answers

    def _answers(self, kind: str, requests: list[Any], disable_tqdm: bool) -> list[Any]:
        """The model's own answers, in smaller batches where memory runs out: plain passes keep more logits than shared prefixes."""
        while True:
            try:
                return list(getattr(self._lm, kind)(requests, disable_tqdm=disable_tqdm))
            except torch.OutOfMemoryError:
                if self._lm.batch_size_per_gpu < 2:
                    raise
                self._lm.batch_size_per_gpu //= 2
            torch.cuda.empty_cache()


@contextmanager
def evaluating_otherwise(lm: Any, first: int | str) -> Iterator[SecondPass]:
    """`lm` as it is asked for a noise floor, where the dense run has the batch size `first`; afterwards `lm` is as it was."""
    size, cached = lm.batch_size_per_gpu, lm._prefix_cache
    other = other_batch_size(first, getattr(lm, "batch_sizes", None))
    lm.batch_size_per_gpu, lm._prefix_cache = other, False
    try:
        yield SecondPass(lm, other * BATCHES_A_PART)
    finally:
        lm.batch_size_per_gpu, lm._prefix_cache = size, cached


def other_batch_size(first: int | str, found: dict[int, int] | None = None) -> int:
    """A batch size other than `first`, that fits where it does: half of it, and 2 where it is 1.

    `found`: the sizes that hf found for `auto`, by stretch of the requests.
    """
    text = str(first)
    if text.isdigit():
        size = int(text)
    elif found:
        size = min(found.values())
    else:
        return WHERE_AUTO
    return 2 if size < 2 else size // 2


def batch_size_of(plan: Plan, model: int, folder: Path | None) -> str | None:
    """The batch size of a model's dense run that is in the folder; None where there is none, or it was not written down."""
    dense = next(
        (c for c in plan.cells if c.model == model and c.kind == "dense" and not c.noise_floor), None
    )
    if folder is None or dense is None:
        return None
    stem = plan.file_name(dense)
    if not layout.manifest_path(folder, stem).is_file():
        return None
    try:
        found = layout.read_manifest(folder, stem).get("batch_size")
    except UsageError:  # it is evaluated again, in this sweep's batches
        return None
    return None if found is None else str(found)
