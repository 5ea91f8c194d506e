"""Both models over all windows, and a table with a row for every token that was scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from junkdna_harness.fidelity.logits import TokenScores, compare_logits
from junkdna_harness.texts.scoring import Logits, batches, logits_at, targets_of
from junkdna_harness.texts.tokens import TokenizedText


@dataclass(frozen=True)
class Scored:
    """What was measured. `tokens`: one row per token, see `COLUMNS`; `top_dense` and `top`: the likeliest tokens, shape (n, 5).

    `tokens` has document (number), source, place (of the token in its document), token, context (tokens that its prediction saw), n_bytes
    (-1 where nobody knows), block (a number for each 256 tokens of a document), loss_dense and loss (nats), kl (nats), top1
    (bool), top5 (share), acceptance.
    """

    tokens: pd.DataFrame
    top_dense: NDArray[np.int64]
    top: NDArray[np.int64]


def score(
    dense: Logits, other: Logits, text: TokenizedText, width: int,
    batch_size: int | None = None, progress: Callable[[int], None] | None = None,
) -> Scored:  # fmt: skip
    """Scores of all tokens of `text`, by two functions from inputs, int64, shape (rows, tokens), to logits over a vocabulary.

    Of the logits the first `width` are read, the tokens that both models have. Memory: the logits of `batch_size` windows of both
    models; by default one window, see `texts.scoring.windows_together`.

    Raises:
        FloatingPointError: a model answers with NaN.
    """
    parts: list[TokenScores] = []
    for batch in batches(text.windows, batch_size or 1):
        with torch.inference_mode():
            ours, theirs = (logits_at(logits, batch, width) for logits in (dense, other))
            targets = targets_of(batch).to(ours.device)
            found = compare_logits(ours, theirs.to(ours.device), targets)
        parts.append(found)
        if progress:
            progress(len(targets))
    return _table(parts, text)


def _table(parts: Sequence[TokenScores], text: TokenizedText) -> Scored:
    def joined(name: str) -> NDArray[Any]:
        return torch.cat([getattr(part, name) for part in parts]).cpu().numpy()

    columns = {
        name: getattr(text, name)
        for name in ("document", "source", "place", "token", "context", "n_bytes", "block")
    }
    scores = {
        name: joined(name).astype(bool if name == "top1" else float)
        for name in ("loss_dense", "loss", "kl", "top1", "top5", "acceptance")
    }
    return Scored(pd.DataFrame({**columns, **scores}), joined("top_dense"), joined("top"))
