"""A model that cannot answer is refused: NaN or infinite weights, and answers that are not a number.

A wrong answer costs a task one item; NaN costs all of them and looks like a score of 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor

from difficulty.errors import UsageError
from junkdna_harness.compress.hashing import unpacked

ADVICE = "Repair the checkpoint, or load it with dtype=float32 if half precision is too narrow for it."


def refuse_unfinite_model(model: Any, name: str) -> None:
    """Refuse weights that are NaN or infinite, and buffers that are NaN.

    Infinite buffers are how some models mask, and a bias of -inf how some never say a token.

    Raises:
        UsageError: names the first such tensor.
    """
    tensors = [(n, p.data, True) for n, p in model.named_parameters()]
    tensors += [(n, b.data, False) for n, b in model.named_buffers()]
    for where, tensor, is_weight in tensors:
        if tensor.is_meta or not tensor.is_floating_point() or tensor.dtype.itemsize < 2:
            continue
        tensor = unpacked(tensor)
        # A sum is NaN or infinite if any term is; only then look closer, because finite terms may overflow it.
        if math.isfinite(tensor.sum(dtype=torch.float32).item()):
            continue
        nan = bool(torch.isnan(tensor).any())
        silences = where.endswith("bias")
        infinite = is_weight and bool((tensor == math.inf if silences else tensor.isinf()).any())
        if nan or infinite:
            raise UsageError(
                f"{name!r} has {'NaN' if nan else 'infinite'} values in {where}, so its answers mean nothing. {ADVICE}"
            )


def refuse_unfinite_answers(values: Sequence[float]) -> None:
    """Refuse log-likelihoods that are NaN or above every number.

    Raises:
        UsageError: says how many.
    """
    wrong = sum(math.isnan(value) or value == math.inf for value in values)
    if wrong:
        raise UsageError(
            f"{wrong} of {len(values)} log-likelihoods are not a number, so nothing can be scored. {ADVICE}"
        )


def refuse_impossible_answers(values: Sequence[float]) -> None:
    """Refuse a call's log-likelihoods if all are minus infinity: one may be a token that the model forbids, all are overflow.

    Raises:
        UsageError: all of them are.
    """
    if values and all(value == -math.inf for value in values):
        raise UsageError(
            f"all {len(values)} log-likelihoods are minus infinity, so no answer is better than another: the logits overflow. {ADVICE}"
        )


class RefuseNaN(LogitsProcessor):  # type: ignore[misc]
    """Ends a generation at the first logits of which none is the largest; where they are NaN that would be token 0."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """`scores`, shape (rows, vocabulary), as they are.

        Raises:
            UsageError: one is NaN or infinite, or all are minus infinity.
        """
        if not bool(torch.isfinite(scores.amax(dim=-1)).all()):  # the largest of a row with a NaN is NaN
            raise UsageError(
                f"the model's logits are not numbers after {input_ids.shape[1]} tokens, so it cannot generate. {ADVICE}"
            )
        return scores
