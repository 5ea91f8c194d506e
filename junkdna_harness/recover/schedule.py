"""From examples to token rows, in an order fixed before training: all arms see the same batches."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from difficulty.errors import UsageError
from junkdna_harness.harness.training import Example
from junkdna_harness.texts.limit import longest_text

IGNORED = -100  # of transformers: a label that carries no loss
BUCKET = 16  # batches that are sorted by length together, so that a batch holds rows of about one length
DEFAULT_MAX_LENGTH = 512  # the paper's for RoBERTa-Large

Row = dict[str, list[int]]


def tokenize(examples: Sequence[Example], tokenizer: Any, max_length: int) -> tuple[list[Row], int]:
    """`input_ids` and `labels` of each example; the prompt carries no loss. Too long texts are cut into several rows.

    A prompt that leaves no room for the answer is cut at its beginning; the number is of those that were.

    Raises:
        UsageError: an example gives no token that can be learned.
    """
    rows: list[Row] = []
    shortened = 0
    for example in examples:
        end = (tokenizer.eos_token or "") if example.end == "eos" else example.end
        if not example.prompt:
            rows += _text_rows(tokenizer(example.answer + end)["input_ids"], max_length)
            continue
        # As lm-eval does: blanks at the prompt's end belong to the answer, and both are encoded as one text.
        prompt = example.prompt.rstrip()
        answer = example.prompt[len(prompt) :] + example.answer + end
        ids, cut = tokenizer(prompt + answer)["input_ids"], len(tokenizer(prompt)["input_ids"])
        shortened += len(ids) > max_length
        ids, cut = ids[-max_length:], max(cut - max(len(ids) - max_length, 0), 0)
        if cut < len(ids):
            rows.append({"input_ids": ids, "labels": [IGNORED] * cut + ids[cut:]})
    if not rows:
        raise UsageError("no example gives a token that could be learned. Check the data and max_length.")
    return rows, shortened


def _text_rows(ids: list[int], max_length: int) -> list[Row]:
    pieces = [ids[start : start + max_length] for start in range(0, len(ids), max_length)]
    return [{"input_ids": piece, "labels": list(piece)} for piece in pieces if len(piece) > 1]


def longest(model: Any, asked: int | None) -> int:
    """Tokens per row may have: as asked, else 512 or what the model can read.

    Raises:
        UsageError: more is asked for than the model can read.
    """
    limit = longest_text(model.config)
    if asked is not None and limit is not None and asked > limit:
        raise UsageError(
            f"max_length={asked} is more than the model's {limit} positions. Give at most {limit}."
        )
    return int(asked or min(DEFAULT_MAX_LENGTH, limit or DEFAULT_MAX_LENGTH))


def batches(rows: Sequence[Row], count: int, size: int, seed: int) -> list[int]:
    """Indices of `rows` for `count` batches of `size`, one after the other: epochs of new permutations.

    Rows of about one length come together to save padding; the order of the batches is random again.
    """
    rng = random.Random(f"order/{seed}")
    order: list[int] = []
    while len(order) < count * size:
        epoch = list(range(len(rows)))
        rng.shuffle(epoch)
        order += epoch
    order = order[: count * size]
    whole = len(rows) // size  # batches of an epoch; sorting across epochs would put a row twice into a batch
    window = max(1, min(BUCKET, whole)) * size
    scheduled: list[int] = []
    for start in range(0, len(order), window):
        bucket = sorted(order[start : start + window], key=lambda i: len(rows[i]["input_ids"]))
        parts = [bucket[i : i + size] for i in range(0, len(bucket), size)]
        rng.shuffle(parts)
        scheduled += [i for part in parts for i in part]
    return scheduled
