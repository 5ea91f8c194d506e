"""The embedded models: small Llamas trained on the graded suite, so that everything works offline.

There are three, which differ in the seed of their training alone. The suite and the models are chosen by dense accuracy
alone, never by how they behave when pruned.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from difficulty.errors import UsageError
from difficulty.graded import FAMILIES, SKILLS, TIERS, draw_training_item
from difficulty.runs.checkpoint import EMBEDDED, EMBEDDED_NAMES

__all__ = [
    "EMBEDDED",
    "EMBEDDED_NAMES",
    "SEED_MARK",
    "SUITE",
    "SUITE_MARK",
    "calibration_text",
    "is_embedded",
    "knows_the_suite",
    "model_path",
]

SUITE_MARK = "junkdna_suite"  # in config.json: this model was trained on the graded suite, of this edition
SUITE = 2  # the edition in plain English
SEED_MARK = "junkdna_training_seed"  # in config.json: the seed that a model was trained with


def is_embedded(name: object) -> bool:
    """True for the names of the embedded models, with their number or without."""
    return name in EMBEDDED_NAMES


def model_path(name: str = EMBEDDED) -> Path:
    """The folder with an embedded model's `config.json`, `model.safetensors` and tokenizer.

    Raises:
        UsageError: there is no such model.
    """
    if not is_embedded(name):
        first, *others = EMBEDDED_NAMES[1:]
        raise UsageError(
            f"{name!r} is no embedded model. Write {EMBEDDED!r} (the same as {first!r}), {' or '.join(map(repr, others))}."
        )
    number = name.partition(":")[2] or "0"
    return Path(__file__).parent / "models" / number


def calibration_text(n_chars: int, seed: int = 0) -> str:
    """At least `n_chars` characters of the embedded models' own training text, one example per line."""
    rng = random.Random(f"calibration/{seed}")
    lines: list[str] = []
    length = 0
    while length < n_chars:
        item = draw_training_item(rng.choice(list(FAMILIES)), rng.choice(TIERS), rng)
        lines.append(f"{item.prompt}{item.answer}\n")
        length += len(lines[-1])
    return "".join(lines)


def skills_texts(n_chars: int, seed: int = 0) -> list[str]:
    """Training items of the families in plain English, `n_chars` characters or more in all: what any model can read."""
    rng = random.Random(f"calibration/graded/{seed}")
    texts: list[str] = []
    length = 0
    while length < n_chars:
        item = draw_training_item(rng.choice(SKILLS).name, rng.choice(TIERS), rng)
        texts.append(item.prompt + item.answer)
        length += len(texts[-1])
    return texts


def knows_the_suite(pretrained: object) -> bool:
    """True for the embedded models (also when not named), and for checkpoints made from them."""
    if pretrained is None or is_embedded(pretrained):
        return True
    config = Path(str(pretrained)) / "config.json"
    return config.is_file() and json.loads(config.read_text()).get(SUITE_MARK) == SUITE
