"""Local rows of one split, parted into training and test rows where the folder brings no training rows of its own.

A tier's YAML says how: `split: {texts: [sentence], label: label, train: 0.6, seed: 0}`. Rows that share one of the `texts`, as words
and without regard to case, marks and spaces, are on one side together, so that nothing that is asked was trained on. The shares hold
within each label, as far as such rows can be parted. Which rows go where depends on the texts and the seed, not on the order of the
file.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from scipy import sparse

from difficulty.errors import UsageError, did_you_mean

TRAIN = "train"
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Split:
    """How rows are parted. `texts` are the columns that are read, `label` the column whose values are spread evenly, None for none."""

    texts: tuple[str, ...]
    train: float
    seed: int = 0
    label: str | None = None

    @staticmethod
    def from_config(given: Mapping[str, Any]) -> Split:
        """What a tier's `split` says.

        Raises:
            UsageError: a key is unknown or missing, or the share is none.
        """
        known = [f.name for f in fields(Split)]
        for key in given:
            if key not in known:
                raise UsageError(
                    f"`split` of a tier has no key {key!r}; it has {', '.join(known)}.{did_you_mean(key, known)}"
                )
        share, texts = given.get("train"), given.get("texts")
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share < 1:
            raise UsageError(
                f"`split` of a tier has train: {share!r}. Give the share of the rows that are trained on, between 0 and 1."
            )
        if not isinstance(texts, (list, tuple)) or not texts:
            raise UsageError(
                f"`split` of a tier has texts: {texts!r}. List the columns of text, e.g. [sentence]."
            )
        seed = given.get("seed", 0)
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise UsageError(f"`split` of a tier has seed: {seed!r}. Give a whole number.")
        return Split(tuple(map(str, texts)), float(share), seed, given.get("label"))

    def of(self, rows: Sequence[Mapping[str, Any]], where: str) -> tuple[list[int], list[int]]:
        """The numbers of the training rows and of the test rows, each in the order of `rows`.

        Raises:
            UsageError: a column is missing, or one side would be empty; `where` names the rows.
        """
        for column in (*self.texts, *([] if self.label is None else [self.label])):
            if any(column not in row for row in rows):
                raise UsageError(
                    f"{where} has a row without {column!r}, by which `split` parts it. Give every row that column."
                )
        parts = self._linked(rows)
        labels = ["" if self.label is None else str(row[self.label]) for row in rows]
        left = {label: round(self.train * n) for label, n in Counter(labels).items()}
        train: list[int] = []
        for part in sorted(parts, key=lambda part: self._draw(rows, part)):
            needed = Counter(labels[i] for i in part)
            if all(left[label] >= n for label, n in needed.items()):
                train += part
                for label, n in needed.items():
                    left[label] -= n
        train.sort()
        chosen = set(train)
        test = [i for i in range(len(rows)) if i not in chosen]
        if not train or not test:
            raise UsageError(
                f"{where} has {len(rows)} rows, which cannot be parted into training and test rows with train: {self.train:g}. "
                "Give more rows, or a training file beside it."
            )
        return train, test

    def said(self, split: str, n_train: int, n_test: int) -> str:
        """What was done, in words."""
        return f"{split} rows split by seed {self.seed}: {n_train:,} train, {n_test:,} test"

    def _linked(self, rows: Sequence[Mapping[str, Any]]) -> list[list[int]]:
        """The rows in parts that share no text: the connected parts of the graph of rows and their texts."""
        numbers: dict[str, int] = {}
        edges = [
            (i, len(rows) + numbers.setdefault(normalised(str(row[column])), len(numbers)))
            for i, row in enumerate(rows)
            for column in self.texts
        ]
        size = len(rows) + len(numbers)
        ends = np.asarray(edges, dtype=np.intp).reshape(-1, 2).T
        graph = sparse.coo_matrix((np.ones(len(edges)), ends), shape=(size, size))
        found: dict[int, list[int]] = {}
        for i, part in enumerate(sparse.csgraph.connected_components(graph, directed=False)[1][: len(rows)]):
            found.setdefault(int(part), []).append(i)
        return list(found.values())

    def _draw(self, rows: Sequence[Mapping[str, Any]], part: Sequence[int]) -> str:
        """The lot of rows that belong together: a hash of the seed and their texts."""
        texts = sorted("\n".join(normalised(str(rows[i][column])) for column in self.texts) for i in part)
        return hashlib.sha256("\n\n".join([f"split/{self.seed}", *texts]).encode()).hexdigest()


def normalised(text: str) -> str:
    """The words of a text in small letters; the text itself where it has none."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(_WORD.findall(plain)) or plain.strip()
