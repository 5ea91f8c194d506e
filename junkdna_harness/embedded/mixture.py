"""What a training step sees: examples drawn by family and tier, packed into rows.

Families and tiers that the model still gets wrong are drawn more often, except where the training frequency is
itself the axis (facts, ciphers): there the tiers keep their shares of 8 : 4 : 2 : 1.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from difficulty.graded import FAMILIES, TIERS, draw_training_item
from difficulty.graded.facts import TRAINING_SHARE
from junkdna_harness.embedded.tokenizer import encode

FIXED_SHARES = ("facts_closed", "cipher")
FLOOR = 0.08  # a solved family or tier is still rehearsed
FORGET = 0.9  # of the running error, a step


@dataclass
class Mixture:
    """Running error by (family, tier); decides how often each is drawn."""

    error: dict[str, float] = field(
        default_factory=lambda: {f"{f}/{t}": 1.0 for f in FAMILIES for t in TIERS}
    )

    def draw(self, rng: random.Random) -> tuple[str, int]:
        """The family and tier of the next example."""
        names = list(FAMILIES)
        family = rng.choices(names, [FLOOR + self._family_error(name) for name in names])[0]
        if family in FIXED_SHARES:
            weights = [float(TRAINING_SHARE[tier]) for tier in TIERS]
        else:
            weights = [FLOOR + self.error[f"{family}/{tier}"] for tier in TIERS]
        return family, rng.choices(TIERS, weights)[0]

    def update(self, wrong: dict[str, list[int]]) -> None:
        """Fold in the examples of one step: `wrong[key]` holds 1 for each one missed."""
        for key, outcomes in wrong.items():
            mean = sum(outcomes) / len(outcomes)
            self.error[key] = FORGET * self.error[key] + (1 - FORGET) * mean

    def _family_error(self, family: str) -> float:
        errors = [self.error[f"{family}/{tier}"] for tier in TIERS]
        return 0.5 * max(errors) + 0.5 * sum(errors) / len(errors)


@dataclass(frozen=True)
class Batch:
    """`tokens`, `example` and `is_answer`: (rows, length); `example` numbers the examples of a row, 0 is padding.

    `keys[row][example - 1]` is the "family/tier" of that example.
    """

    tokens: NDArray[np.int64]
    example: NDArray[np.int64]
    is_answer: NDArray[np.bool_]
    keys: list[list[str]]


def pack(mixture: Mixture, rng: random.Random, rows: int, length: int) -> Batch:
    """`rows` rows of `length` characters filled with whole examples, first fit."""
    tokens = np.zeros((rows, length), np.int64)
    example = np.zeros((rows, length), np.int64)
    is_answer = np.zeros((rows, length), np.bool_)
    keys: list[list[str]] = [[] for _ in range(rows)]
    used = [0] * rows
    misfits = 0
    while misfits < 2 * rows:
        family, tier = mixture.draw(rng)
        item = draw_training_item(family, tier, rng)
        ids = encode(f"{item.prompt}{item.answer}\n")
        row = next((r for r in range(rows) if used[r] + len(ids) <= length), None)
        if row is None:
            misfits += 1
            continue
        start, end = used[row], used[row] + len(ids)
        keys[row].append(f"{family}/{tier}")
        tokens[row, start:end] = ids
        example[row, start:end] = len(keys[row])
        is_answer[row, end - len(item.answer) - 1 : end] = True
        used[row] = end
    return Batch(tokens, example, is_answer, keys)
