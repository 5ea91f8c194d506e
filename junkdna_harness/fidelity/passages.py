"""The passages on which the compressed model differs most from the dense one, with what each would have said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from junkdna_harness.fidelity.passes import Scored
from junkdna_harness.texts.windows import TokenizedDocument

BEFORE, AFTER = 24, 6  # tokens of text that are shown around a token
SHOWN = 3  # of each model's likeliest tokens


@dataclass(frozen=True)
class Passage:
    """A token with its surroundings: text `before`, the `token` itself, text `after`; the likeliest tokens of both models."""

    source: str
    document: int
    place: int
    kl: float
    loss_dense: float
    loss: float
    before: str
    token: str
    after: str
    dense_says: Sequence[str]
    this_says: Sequence[str]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def worst_passages(
    scored: Scored, documents: Sequence[TokenizedDocument], tokenizer: Any, n: int
) -> list[Passage]:
    """The `n` tokens with the largest KL, the largest first; of tokens that would show each other, the worst one alone."""
    found: list[Passage] = []
    shown: set[tuple[int, int]] = set()
    tokens = scored.tokens
    for row in tokens["kl"].to_numpy().argsort(kind="stable")[::-1]:
        if len(found) == n:
            break
        at = tokens.iloc[int(row)]
        number, place = int(at["document"]), int(at["place"])
        if (number, place) in shown:
            continue
        shown |= {(number, i) for i in range(place - BEFORE, place + BEFORE)}
        ids = documents[number].ids
        found.append(
            Passage(
                str(at["source"]), documents[number].document.number, place, float(at["kl"]), float(at["loss_dense"]),
                float(at["loss"]), tokenizer.decode(ids[max(0, place - BEFORE) : place]), tokenizer.decode(ids[place : place + 1]),
                tokenizer.decode(ids[place + 1 : place + 1 + AFTER]),
                [tokenizer.decode([int(t)]) for t in scored.top_dense[row, :SHOWN]],
                [tokenizer.decode([int(t)]) for t in scored.top[row, :SHOWN]],
            )
        )  # fmt: skip
    return found
