"""Models with different tokenizers on the same text: bits for each byte, which no tokenizer changes the meaning of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from difficulty.errors import UsageError
from difficulty.stats.mean import mean_interval
from junkdna_harness.fidelity.figures import SCHEMA, finite
from junkdna_harness.fidelity.load import Side, tell_of_dtypes
from junkdna_harness.texts.documents import Document
from junkdna_harness.texts.scoring import logits_of, score_windows
from junkdna_harness.texts.windows import cut, tokenize

BLOCK = 1024  # bytes of a document that are taken to depend on each other: one cluster
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class BytesOnly:
    """Bits per byte of two models, and of their difference, with intervals over blocks of 1,024 bytes.

    `windows`: tokens that each model sees at most, the dense one first.
    """

    against: str
    model: str
    windows: tuple[int, int]
    figures: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain: dict[str, Any] = finite({
            "schema": SCHEMA, "kind": "junkdna-fidelity-bytes", "model": self.model, "against": self.against,
            "layout": "rolling", "windows": list(self.windows), "block_bytes": BLOCK, **self.figures,
        })  # fmt: skip
        return plain


def bits_per_byte(dense: Side, other: Side, documents: Sequence[Document], window: int) -> BytesOnly:
    """Both models on the documents, each in its own tokens, in windows of `window` of them or of as many as it takes.

    Every byte is scored once: bits per byte = sum of the tokens' losses / (ln 2 * bytes), as lm-eval's `bits_per_byte`.

    Raises:
        UsageError: a text without a token, or answers that are not numbers.
    """
    tell_of_dtypes(dense.lm, other.lm)
    sizes = _sizes(documents)
    ours, theirs = (_block_losses(side, documents, window) for side in (dense, other))
    blocks = sorted(sizes)
    weights = np.asarray([sizes[block] for block in blocks], dtype=float)
    a, b = (np.asarray([found.get(block, 0.0) for block in blocks]) / weights for found in (ours, theirs))
    figures: dict[str, Any] = {"n_bytes": int(weights.sum()), "n_blocks": len(blocks)}
    for name, values in (
        ("bits_per_byte_dense", a),
        ("bits_per_byte", b),
        ("bits_per_byte_difference", b - a),
    ):
        found = mean_interval(values, weights=weights, scale="bits", bounded=False)
        ends = [end if math.isfinite(end) else None for end in (found.low, found.high)]
        figures |= {name: found.mean, f"{name}_low": ends[0], f"{name}_high": ends[1]}
    windows = (min(window, dense.lm.max_length), min(window, other.lm.max_length))
    return BytesOnly(dense.description, other.description, windows, figures)


def _sizes(documents: Sequence[Document]) -> dict[tuple[int, int], int]:
    """(document, block) -> its bytes."""
    found = {}
    for number, document in enumerate(documents):
        n = len(document.text.encode())
        for block in range(-(-n // BLOCK)):
            found[number, block] = min(BLOCK, n - block * BLOCK)
    return found


def _block_losses(side: Side, documents: Sequence[Document], window: int) -> dict[tuple[int, int], float]:
    """(document, block) -> the summed loss, in nats, of the tokens that begin there.

    A document whose tokenizer does not say where its tokens are is spread evenly over its blocks' bytes: the sum is right, and
    its blocks say nothing of how much it varies.
    """
    lm = side.lm
    tokenized = tokenize(documents, lm)
    windows = cut(tokenized, min(window, lm.max_length), "rolling", lm.prefix_token_id)
    try:
        losses = score_windows(logits_of(lm), windows).loss
    except FloatingPointError as error:
        raise UsageError(f"{side.description!r}: {error}. Load it with dtype=float32.") from error
    found: dict[tuple[int, int], float] = {}
    ends = np.cumsum([len(piece.targets) for piece in windows])
    for piece, loss in zip(windows, np.split(losses, ends[:-1]), strict=True):
        document = tokenized[piece.document]
        if document.n_bytes is None:
            shares = _evenly(len(document.document.text.encode()))
            for block, share in enumerate(shares):
                key = (piece.document, block)
                found[key] = found.get(key, 0.0) + float(loss.sum()) * share
            continue
        begins = np.concatenate([[0], np.cumsum(document.n_bytes)[:-1]])
        last = len(document.document.text.encode()) - 1
        places = np.minimum(begins[piece.start : piece.start + len(loss)], last) // BLOCK
        for block in np.unique(places):
            key = (piece.document, int(block))
            found[key] = found.get(key, 0.0) + float(loss[places == block].sum())
    return found


def _evenly(n: int) -> list[float]:
    return [min(BLOCK, n - start) / n for start in range(0, n, BLOCK)]
