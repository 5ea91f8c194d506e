"""Both models over all windows, and a table with a row for every token that was scored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from junkdna_harness.fidelity.logits import TokenScores, compare_logits
from junkdna_harness.texts.windows import TokenizedDocument, Window

BLOCK = 256  # consecutive tokens of a document that are taken to depend on each other: one cluster
MOST_LOGITS = (
    1 << 27
)  # of one model at a time, 512 MB of float32: windows that go through a model together are as many as fit


@dataclass(frozen=True)
class Scored:
    """What was measured. `tokens`: one row a token, see `COLUMNS`; `top_dense` and `top`: the likeliest tokens, shape (n, 5).

    `tokens` has document (number), source, place (of the token in its document), token, context (tokens that its prediction saw), n_bytes
    (-1 where nobody knows), block (a number for each 256 tokens of a document), loss_dense and loss (nats), kl (nats), top1
    (bool), top5 (share), acceptance.
    """

    tokens: pd.DataFrame
    top_dense: NDArray[np.int64]
    top: NDArray[np.int64]


Logits = Callable[[Tensor], Tensor]


def score(
    dense: Logits, other: Logits, documents: Sequence[TokenizedDocument], windows: Sequence[Window], width: int,
    batch_size: int | None = None, progress: Callable[[int], None] | None = None,
) -> Scored:  # fmt: skip
    """Scores of all targets of `windows`, by two functions from inputs, int64, shape (rows, tokens), to logits over a vocabulary.

    Of the logits the first `width` are read, the tokens that both models have. Memory: the logits of `batch_size` windows of both
    models; by default one window, and on an accelerator as many as `MOST_LOGITS` allows.

    Raises:
        FloatingPointError: a model answers with NaN.
    """
    parts: list[TokenScores] = []
    for batch in batches(windows, batch_size or 1):
        inputs = torch.from_numpy(np.stack([window.inputs for window in batch]))
        first, n = batch[0].first, len(batch[0].targets)
        with torch.inference_mode():
            ours, theirs = (
                logits(inputs)[:, first : first + n, :width].flatten(0, 1) for logits in (dense, other)
            )
            targets = torch.from_numpy(np.concatenate([window.targets for window in batch])).to(ours.device)
            found = compare_logits(ours, theirs.to(ours.device), targets)
        parts.append(found)
        if progress:
            progress(len(targets))
    return _table(parts, documents, windows)


def batches(windows: Sequence[Window], size: int) -> Iterator[list[Window]]:
    """Up to `size` windows that follow each other and have the same shape, so that nothing is padded."""
    for _, alike in groupby(
        windows, key=lambda window: (len(window.inputs), window.first, len(window.targets))
    ):
        group = list(alike)
        for start in range(0, len(group), size):
            yield group[start : start + size]


def windows_together(size: int, width: int, accelerator: bool) -> int:
    """How many windows of `size` tokens go through a model together: one on a CPU, which gains nothing by more."""
    return max(1, MOST_LOGITS // (size * width)) if accelerator else 1


def logits_of(lm: Any) -> Logits:
    """The model of a wrapper as a function of inputs, on its own device and in its own numbers."""

    def logits(inputs: Tensor) -> Tensor:
        found: Tensor = lm._model_call(inputs.to(lm.device))
        return found

    return logits


def _table(
    parts: Sequence[TokenScores], documents: Sequence[TokenizedDocument], windows: Sequence[Window]
) -> Scored:
    def joined(name: str) -> NDArray[Any]:
        return torch.cat([getattr(part, name) for part in parts]).cpu().numpy()

    numbers = np.concatenate([np.full(len(w.targets), w.document) for w in windows])
    places = np.concatenate([np.arange(w.start, w.start + len(w.targets)) for w in windows])
    sources = np.asarray([document.document.source for document in documents], dtype=object)
    n_bytes = [np.full(len(d.ids), -1) if d.n_bytes is None else d.n_bytes for d in documents]
    firsts = np.cumsum([0, *(-(-len(d.ids) // BLOCK) for d in documents)])
    columns = {
        "document": numbers,
        "source": sources[numbers],
        "place": places,
        "token": np.concatenate([w.targets for w in windows]),
        "context": np.concatenate([w.contexts for w in windows]),
        "n_bytes": np.concatenate([n_bytes[w.document][w.start : w.start + len(w.targets)] for w in windows]),
        "block": firsts[numbers] + places // BLOCK,
    }
    scores = {
        name: joined(name).astype(bool if name == "top1" else float)
        for name in ("loss_dense", "loss", "kl", "top1", "top5", "acceptance")
    }
    return Scored(pd.DataFrame({**columns, **scores}), joined("top_dense"), joined("top"))
