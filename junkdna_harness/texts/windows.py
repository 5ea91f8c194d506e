"""The windows in which a model sees a text, and which of their tokens are scored.

Two ways, so that figures can be compared with others':

* `rolling`, as lm-eval scores wikitext (`get_rolling_token_windows` with `make_disjoint_window`, lm_eval/utils.py): every token of
  a document is scored once. Windows do not overlap, but for the last one, which begins earlier so that it is full.
* `chunks`, as llama.cpp does (`perplexity` in tools/perplexity/perplexity.cpp): disjoint windows, of which the second half
  is scored, so that each scored token sees at least half a window; what does not fill a window is left out. Where the tokenizer begins
  texts with a token, it stands in the place of a window's first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from difficulty.errors import UsageError
from junkdna_harness.texts.documents import Document

Layout = Literal["rolling", "chunks"]
LAYOUTS: tuple[Layout, ...] = ("rolling", "chunks")
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class TokenizedDocument:
    """A document in tokens: `ids`, shape (n,), and the bytes of the text that each stands for, shape (n,); None where nobody knows."""

    document: Document
    ids: Ints
    n_bytes: Ints | None


@dataclass(frozen=True)
class Window:
    """What one pass sees: `inputs`, shape (m,); the logits at place `first + i` predict `targets[i]`.

    `document` is the number of the document, `start` that of the first target among its tokens.
    """

    inputs: Ints
    first: int
    targets: Ints
    document: int
    start: int

    @property
    def contexts(self) -> Ints:
        """How many tokens each target's prediction sees, shape (n targets,)."""
        return np.arange(self.first + 1, self.first + 1 + len(self.targets), dtype=np.int64)


def tokenize(documents: Sequence[Document], lm: Any) -> list[TokenizedDocument]:
    """The documents in the tokens of a model's wrapper, as `hf` has them: without special tokens, unless `add_bos_token` asks for one.

    Raises:
        UsageError: a text without a token.
    """
    found = []
    tokenizer, special = lm.tokenizer, bool(getattr(lm, "add_bos_token", None))
    for document in documents:
        places = {"return_offsets_mapping": True} if getattr(tokenizer, "is_fast", False) else {}
        encoded = tokenizer(document.text, add_special_tokens=special, verbose=False, **places)
        ids = np.asarray(encoded["input_ids"], dtype=np.int64)
        if not len(ids):
            raise UsageError(f"text {document.source!r}, document {document.number}, has no token.")
        n_bytes = _bytes_of_tokens(document.text, encoded["offset_mapping"]) if places else None
        found.append(TokenizedDocument(document, ids, n_bytes))
    return found


def _bytes_of_tokens(text: str, places: Sequence[tuple[int, int]]) -> Ints:
    """Bytes of `text` that each token adds, all of them together; `places`: the characters where it begins and ends."""
    before = np.cumsum([0, *(len(character.encode()) for character in text)])  # bytes before each character
    ends = np.maximum.accumulate([before[end] for _, end in places])
    ends[-1] = before[-1]  # what the tokenizer dropped at the end, if anything
    return np.diff(ends, prepend=0).astype(np.int64)


def cut(
    documents: Sequence[TokenizedDocument], size: int, layout: Layout, prefix: int, begin: int | None = None
) -> list[Window]:
    """The windows of `size` tokens of all documents.

    `prefix` is the token before a text's first (rolling); `begin` the one that the tokenizer begins texts with, None for none (chunks).

    Raises:
        UsageError: windows too small, or texts too short for one.
    """
    if size < 2:
        raise UsageError(f"a window of {size} tokens predicts nothing. Give at least 2.")
    found: list[Window] = []
    for number, document in enumerate(documents):
        ids = document.ids
        found += (
            _rolling(ids, size, prefix, number) if layout == "rolling" else _chunks(ids, size, begin, number)
        )
    if not found:
        longest = max(len(document.ids) for document in documents)
        raise UsageError(
            f"the longest document has {longest} tokens, less than one window of {size}, and chunks score full windows alone. "
            "Give more text, a smaller --window, or --layout rolling."
        )
    return found


def _rolling(ids: Ints, size: int, prefix: int, number: int) -> list[Window]:
    whole = np.concatenate([[prefix], ids])  # whole[i] is the input whose logits predict ids[i]
    found = []
    for start in range(0, len(ids), size):
        end = min(start + size, len(ids))
        begin = start if end - start == size or start == 0 else end - size
        found.append(Window(whole[begin:end], start - begin, ids[start:end], number, start))
    return found


def _chunks(ids: Ints, size: int, begin: int | None, number: int) -> list[Window]:
    half = size // 2
    found = []
    for start in range(0, len(ids) - size + 1, size):
        inputs = ids[start : start + size].copy()
        if begin is not None:
            inputs[0] = begin
        targets = ids[start + half + 1 : start + size]
        found.append(Window(inputs[:-1], half, targets, number, start + half + 1))
    return found
