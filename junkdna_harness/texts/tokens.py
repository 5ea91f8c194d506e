"""The tokens of a text as items: which are asked, what each sees, and which are not independent of each other."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from junkdna_harness.texts.windows import Ints, TokenizedDocument, Window

BLOCK = 256  # consecutive tokens of a document that are taken to depend on each other: one cluster


@dataclass(frozen=True)
class TokenizedText:
    """Documents in tokens, and the windows in which a model sees them.

    The properties are arrays of shape (n,), one entry for each token that is scored, in the order of the windows.
    """

    documents: Sequence[TokenizedDocument]
    windows: Sequence[Window]

    @cached_property
    def document(self) -> Ints:
        """The number of the token's document."""
        return np.concatenate([np.full(len(w.targets), w.document, dtype=np.int64) for w in self.windows])

    @cached_property
    def place(self) -> Ints:
        """The token's number in its document, from 0."""
        return np.concatenate([np.arange(w.start, w.start + len(w.targets)) for w in self.windows])

    @cached_property
    def token(self) -> Ints:
        """The token."""
        return np.concatenate([w.targets for w in self.windows])

    @cached_property
    def largest(self) -> int:
        """The largest token number in the documents."""
        return max(int(document.ids.max()) for document in self.documents)

    @cached_property
    def counts(self) -> Counter[int]:
        """How often each token is in the documents, scored or not."""
        return Counter(token for document in self.documents for token in document.ids.tolist())

    @cached_property
    def context(self) -> Ints:
        """How many tokens its prediction sees."""
        return np.concatenate([w.contexts for w in self.windows])

    @cached_property
    def n_bytes(self) -> Ints:
        """Bytes of the text that the token stands for; -1 where nobody knows."""
        known = [np.full(len(d.ids), -1) if d.n_bytes is None else d.n_bytes for d in self.documents]
        return np.concatenate([known[w.document][w.start : w.start + len(w.targets)] for w in self.windows])

    @cached_property
    def block(self) -> Ints:
        """A number for each `BLOCK` tokens of a document."""
        firsts = np.cumsum([0, *(-(-len(d.ids) // BLOCK) for d in self.documents)])
        return np.asarray(firsts[self.document] + self.place // BLOCK, dtype=np.int64)

    @cached_property
    def source(self) -> NDArray[Any]:
        """Where the token's document comes from, as the user named it."""
        return np.asarray([d.document.source for d in self.documents], dtype=object)[self.document]

    @cached_property
    def document_sha256(self) -> list[str]:
        """Of each document's text, in hexadecimal."""
        return [hashlib.sha256(d.document.text.encode()).hexdigest() for d in self.documents]

    @cached_property
    def sha256(self) -> str:
        """Of all that decides what is asked: the tokens of the documents and the windows."""
        digest = hashlib.sha256()
        for document in self.documents:
            digest.update(len(document.ids).to_bytes(8, "little") + document.ids.astype("<i8").tobytes())
        for window in self.windows:
            digest.update(f"{window.document} {window.start} {window.first} {len(window.targets)} ".encode())
            digest.update(window.inputs[:1].astype("<i8").tobytes())
        return digest.hexdigest()
