"""One model's predictions of a text's tokens: right or wrong, by what margin, and the loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from junkdna_harness.texts.windows import Window

CHUNK = 1 << 20  # logits that are worked on at a time: 4 MB of float32, which stay in a cache
MOST_LOGITS = 1 << 27  # of a model at a time on an accelerator: 512 MB of float32
NAN = "a model's answers are not numbers (NaN)"
Logits = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class TokenAnswers:
    """Of n tokens, shape (n,): `right`, whether the model finds it likeliest; `margin`, the log-odds of the token against the likeliest other
    one, positive where it is right; `loss`, -ln of its probability."""

    right: NDArray[np.bool_]
    margin: NDArray[np.float64]
    loss: NDArray[np.float64]


def score_windows(
    logits: Logits, windows: Sequence[Window], batch_size: int = 1, progress: Callable[[int], None] | None = None
) -> TokenAnswers:  # fmt: skip
    """Answers for all targets of `windows`, in their order, by a function from inputs, int64 (rows, tokens), to logits.

    Raises:
        FloatingPointError: the model answers with NaN.
    """
    parts = []
    for batch in batches(windows, batch_size):
        with torch.inference_mode():
            found = logits_at(logits, batch)
            targets = targets_of(batch).to(found.device)
            parts.append(answers(found, targets))
        if progress:
            progress(len(targets))
    margin, loss = (torch.cat(columns).double().cpu().numpy() for columns in zip(*parts, strict=True))
    return TokenAnswers(margin > 0, margin, loss)


def answers(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Margin and loss, float32, shape (n,), of `targets`, int64 (n,), under logits (n, vocabulary) of any float dtype.

    The margin is the target's logit less the largest of all others'. Equal to it, it is 0, and counts as wrong: lm-eval's greedy
    answer would be the token with the smaller number.

    Raises:
        FloatingPointError: the model answers with NaN.
    """
    rows = max(1, CHUNK // logits.shape[-1])
    margins, losses = [], []
    for i in range(0, len(targets), rows):
        chunk, right = logits[i : i + rows].float(), targets[i : i + rows].unsqueeze(-1)
        own = chunk.gather(-1, right).squeeze(-1)
        highest, which = chunk.topk(2, dim=-1)
        other = torch.where(which[:, :1] == right, highest[:, 1:], highest[:, :1]).squeeze(-1)
        loss = torch.logsumexp(chunk, -1) - own
        if bool(torch.isnan(loss).any()) or bool(torch.isnan(own).any()):
            raise FloatingPointError(NAN)
        margins.append((own - other).nan_to_num(nan=0.0, posinf=math.inf, neginf=-math.inf))
        losses.append(loss)
    return torch.cat(margins), torch.cat(losses)


def batches(windows: Sequence[Window], size: int) -> Iterator[list[Window]]:
    """Up to `size` windows that follow each other and have the same shape, so that nothing is padded."""
    for _, alike in groupby(
        windows, key=lambda window: (len(window.inputs), window.first, len(window.targets))
    ):
        group = list(alike)
        for start in range(0, len(group), size):
            yield group[start : start + size]


def logits_at(logits: Logits, batch: Sequence[Window], width: int | None = None) -> Tensor:
    """Logits for all targets of windows of one shape, shape (n, vocabulary): the first `width` of the vocabulary."""
    inputs = torch.from_numpy(np.stack([window.inputs for window in batch]))
    first, n = batch[0].first, len(batch[0].targets)
    return logits(inputs)[:, first : first + n, :width].flatten(0, 1)


def targets_of(batch: Sequence[Window]) -> Tensor:
    """The targets of these windows, int64, shape (n,)."""
    return torch.from_numpy(np.concatenate([window.targets for window in batch]))


def windows_together(size: int, width: int, accelerator: bool) -> int:
    """How many windows of `size` tokens go through a model together: one on a CPU, which gains nothing by more."""
    return max(1, MOST_LOGITS // (size * width)) if accelerator else 1


def logits_of(lm: Any) -> Logits:
    """The model of a wrapper as a function of inputs, on its own device and in its own numbers."""

    def logits(inputs: Tensor) -> Tensor:
        found: Tensor = lm._model_call(inputs.to(lm.device))
        return found

    return logits
