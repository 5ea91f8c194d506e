"""What recovery trains on: the graded suite's own generator, a task's training split, or a file."""

from __future__ import annotations

import functools
import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from difficulty.errors import UsageError
from difficulty.graded import FAMILIES, TIERS, draw_training_item
from difficulty.graded.families.memory import BY_SHARE, TRAINING_SHARE
from difficulty.json_files import parsed, read_text
from junkdna_harness.harness.training import Example, examples_and_rows, refuse_untrainable

GRADED, TASK = "graded", "task:"
GRADED_POOL = 40_000  # graded examples to draw from
TEXT_SUFFIXES = (".txt", ".jsonl")


@dataclass(frozen=True)
class TrainingData:
    """Examples, where they came from, and a sha256 of them all. `rows` says of a task which rows it trains on, where it says so."""

    examples: tuple[Example, ...]
    source: str
    sha256: str
    rows: str | None = None

    def __len__(self) -> int:
        return len(self.examples)


def load_data(
    name: str, fraction: float = 1.0, seed: int = 0, include_path: str | None = None, seen: int = GRADED_POOL
) -> TrainingData:
    """The share `fraction` of the training data `name`: 'graded', 'task:NAME', or a .txt or .jsonl file.

    Subsets are nested: with the same `seed`, a smaller share is part of a larger one. The graded suite's generator has
    no end: of it, `seen` examples are the whole, as many as a training comes to see.

    Raises:
        UsageError: nothing there, no training split, or an empty subset.
    """
    rows = None
    if name == GRADED:
        examples: Sequence[Example] = graded_examples(max(GRADED_POOL, seen), seed)
    elif name.startswith(TASK):
        examples, rows = examples_and_rows(name.removeprefix(TASK), include_path)
    elif Path(name).suffix in TEXT_SUFFIXES:
        examples = file_examples(Path(name))
    else:
        raise UsageError(_unknown(name))
    kept = nested_subset(len(examples), fraction, seed, name, seen if name == GRADED else None)
    chosen = tuple(examples[i] for i in kept)
    digest = hashlib.sha256()
    for example in chosen:
        digest.update(json.dumps([example.prompt, example.answer, example.end]).encode())
    return TrainingData(chosen, name, digest.hexdigest(), rows)


def check_data(name: str, include_path: str | None = None) -> None:
    """Look whether the training data `name` are there: a file is read, a task's data are loaded.

    Raises:
        UsageError: as `load_data`.
    """
    if name.startswith(TASK):
        refuse_untrainable(name.removeprefix(TASK), include_path)
    elif Path(name).suffix in TEXT_SUFFIXES:
        file_examples(Path(name))
    elif name != GRADED:
        raise UsageError(_unknown(name))


def _unknown(name: str) -> str:
    return (
        f"data={name!r} is unknown. Write graded, task:NAME (an lm-eval task with a training split), or the path of "
        "a .txt or .jsonl file."
    )


def nested_subset(
    n: int, fraction: float, seed: int, name: str = "the data", whole: int | None = None
) -> list[int]:
    """Which of `n` examples belong to the share `fraction`: the first ones of a permutation drawn from `seed`.

    It is a share of the first `whole` ones, where given.

    Raises:
        UsageError: the share is empty.
    """
    whole = n if whole is None else whole
    count = int(whole * fraction + 1e-9)
    if count < 1:
        raise UsageError(
            f"fraction={fraction:g} of the {whole} examples of data={name!r} is an empty subset. Give a larger fraction."
        )
    order = list(range(n))
    random.Random(f"subset/{seed}").shuffle(order)
    return order[:count]


@functools.lru_cache(maxsize=2)
def graded_examples(n: int, seed: int) -> tuple[Example, ...]:
    """`n` training items of the graded suite, families evenly, facts and ciphers as frequent as in its training.

    They are kept, for a study trains one model after another on the same ones.
    """
    rng = random.Random(f"recover/{seed}")
    shares = [float(TRAINING_SHARE[tier]) for tier in TIERS]
    found = []
    for i in range(n):
        family = list(FAMILIES)[i % len(FAMILIES)]
        tier = rng.choices(TIERS, shares)[0] if family in BY_SHARE else rng.choice(TIERS)
        item = draw_training_item(family, tier, rng)
        found.append(Example(item.prompt, item.answer, "\n"))
    return tuple(found)


def file_examples(path: Path) -> list[Example]:
    """Examples of a file: .txt, paragraphs divided by empty lines; .jsonl, rows with 'text', or 'prompt' and 'answer'.

    Raises:
        UsageError: no file, a broken row (its number is named), or nothing in it.
    """
    if not path.is_file():
        raise UsageError(f"there is no file {str(path)!r} to train on.")
    content = read_text(path, "the file", "Give a text or jsonl file in UTF-8.")
    if path.suffix == ".txt":
        found = [Example("", part.strip()) for part in content.split("\n\n") if part.strip()]
    else:
        rows = [(n, line) for n, line in enumerate(content.split("\n"), start=1) if line.strip()]
        found = [_row(path, n, line) for n, line in rows]
    if not found:
        raise UsageError(f"{str(path)!r} is empty. Give a file with text.")
    return found


def _row(path: Path, number: int, line: str) -> Example:
    try:
        row = parsed(line)
    except ValueError as error:
        raise UsageError(f"line {number} of {str(path)!r} is no JSON: {error}.") from error
    if isinstance(row, dict) and isinstance(row.get("text"), str) and row["text"]:
        return Example("", row["text"])
    if (
        isinstance(row, dict)
        and isinstance(row.get("prompt"), str)
        and isinstance(row.get("answer"), str)
        and row["answer"]
    ):
        return Example(row["prompt"], row["answer"])
    raise UsageError(f"line {number} of {str(path)!r} has neither 'text' nor 'prompt' and 'answer'.")
