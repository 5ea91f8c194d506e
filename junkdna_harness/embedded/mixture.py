"""What a training step sees: examples drawn by family and tier, packed into rows.

Families and tiers that the model still gets wrong are drawn more often, except where the training frequency is
itself the axis (facts, ciphers): there the tiers keep their shares of 8 : 4 : 2 : 1.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from difficulty.graded import FAMILIES, TIERS, Item, draw_training_item
from difficulty.graded.families.memory import BY_SHARE, TRAINING_SHARE
from junkdna_harness.embedded.tokenizer import Encoder

FLOOR = 0.08  # a solved family or tier is still rehearsed
FORGET = 0.9  # of the running error, a step
LONG = 4  # rows for long examples are so many times as long
PROMPT_SHARE = 0.05  # of a prompt's tokens carry loss, beside those that look back
PROMPT_WEIGHT = 0.5  # of a token's loss, outside of what is asked
ANSWER_WEIGHT = 4.0  # of a whole answer, at most: long answers are not worth more than hard ones
ARGMAX = -1  # as a rival: any other token


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
        if family in BY_SHARE:
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
class Example:
    """One text as tokens: `rivals` are (token, other): the model is wrong where it prefers the other at that token."""

    key: str
    ids: list[int]
    answer: range
    rivals: list[tuple[int, int]]


def as_example(key: str, item: Item, encode: Encoder) -> Example:
    """The prompt, its answer and the end of the line; every token of a written answer has to be the likeliest, an option
    only likelier than the others."""
    prompt, answer = encode(item.prompt), encode(item.answer)
    ids = [*prompt, *answer, *encode("\n")]
    where = range(len(prompt), len(prompt) + len(answer))
    rivals = [(position, ARGMAX) for position in where]
    if item.choices:
        others = [encode(choice) for choice in item.choices if choice != item.answer]
        rivals = [rival for other in others for rival in _first_difference(ids, len(prompt), other)]
    return Example(key, ids, where, rivals)


def repeated(ids: list[int]) -> NDArray[np.int64]:
    """Where a token follows the one that it followed before: what can be known by looking back."""
    seen: set[tuple[int, int]] = set()
    found = []
    for position, pair in enumerate(zip(ids, ids[1:], strict=False), start=1):
        if pair in seen:
            found.append(position)
        seen.add(pair)
    return np.array(found, np.int64)


def _draw(mixture: Mixture, rng: random.Random, encode: Encoder) -> Example:
    family, tier = mixture.draw(rng)
    return as_example(f"{family}/{tier}", draw_training_item(family, tier, rng), encode)


def _first_difference(ids: list[int], start: int, other: list[int]) -> list[tuple[int, int]]:
    for position, token in enumerate(other, start=start):
        if position < len(ids) and ids[position] != token:
            return [(position, token)]
    return []


@dataclass(frozen=True)
class Batch:
    """`tokens`, `example` and `weight`: (rows, length); `example` numbers the examples of a row, 0 is padding; `weight` is
    that of the loss for this token.

    `keys[row][example - 1]` is the "family/tier" of that example. A line of `rivals` is (row, column, other token).
    """

    tokens: NDArray[np.int64]
    example: NDArray[np.int64]
    weight: NDArray[np.float32]
    keys: list[list[str]]
    rivals: NDArray[np.int64]


def pack(mixture: Mixture, rng: random.Random, encode: Encoder, rows: int, length: int) -> list[Batch]:
    """Whole examples, first fit, in `rows` rows of `length` tokens; for examples that are longer, some rows are joined.

    Raises:
        ValueError: an example is longer than joined rows.
    """
    filled: dict[int, list[list[Example]]] = {length: [], length * LONG: []}
    room: dict[int, list[int]] = {length: [], length * LONG: []}
    left, misfits = rows, 0
    while misfits < 8:
        example = _draw(mixture, rng, encode)
        size = next((size for size in filled if len(example.ids) <= size), None)
        if size is None:
            raise ValueError(
                f"an example of {example.key} has {len(example.ids)} tokens, a row at most {length * LONG}"
            )
        row = next((r for r, free in enumerate(room[size]) if len(example.ids) <= free), None)
        if row is None and left < size // length:
            misfits += 1
            continue
        if row is None:
            left -= size // length
            row = len(filled[size])
            filled[size].append([])
            room[size].append(size)
        filled[size][row].append(example)
        room[size][row] -= len(example.ids)
    return [_batch(rows_of, size, rng, encode.eos) for size, rows_of in filled.items() if rows_of]


def _batch(rows: list[list[Example]], length: int, rng: random.Random, eos: int) -> Batch:
    tokens = np.full((len(rows), length), eos, np.int64)
    numbers = np.zeros((len(rows), length), np.int64)
    weight = np.zeros((len(rows), length), np.float32)
    rivals: list[tuple[int, int, int]] = []
    chosen = np.random.default_rng(rng.getrandbits(32)).random((len(rows), length)) < PROMPT_SHARE
    for row, examples in enumerate(rows):
        end = 0
        for number, example in enumerate(examples, start=1):
            start, end = end, end + len(example.ids)
            tokens[row, start:end] = example.ids
            numbers[row, start:end] = number
            weight[row, start:end] = PROMPT_WEIGHT * chosen[row, start:end]
            weight[row, start + repeated(example.ids)] = PROMPT_WEIGHT
            weight[row, start] = 0.0  # nothing comes before it
            weight[row, end - 1] = PROMPT_WEIGHT
            answer = slice(start + example.answer.start, start + example.answer.stop)
            weight[row, answer] = min(1.0, ANSWER_WEIGHT / len(example.answer))
            rivals += [(row, start + position, other) for position, other in example.rivals]
        if end < length:  # what follows the last one is the end of the text
            numbers[row, end] = len(examples)
            weight[row, end] = PROMPT_WEIGHT
    keys = [[example.key for example in examples] for examples in rows]
    return Batch(tokens, numbers, weight, keys, np.array(rivals, np.int64).reshape(-1, 3))
