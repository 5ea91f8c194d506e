"""The embedded model: a small Llama trained on the graded suite, so that everything works offline.

The suite and the model are chosen by dense accuracy alone, never by how they behave when pruned.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from difficulty.graded import FAMILIES, draw_training_item

EMBEDDED = "embedded"


def model_path() -> Path:
    """The folder with the embedded model's `config.json`, `model.safetensors` and tokenizer."""
    return Path(__file__).parent / "model"


def calibration_text(n_chars: int, seed: int = 0) -> str:
    """At least `n_chars` characters of the embedded model's own training text, one example a line."""
    rng = random.Random(f"calibration/{seed}")
    lines: list[str] = []
    length = 0
    while length < n_chars:
        family = rng.choice(list(FAMILIES))
        item = draw_training_item(family, rng.randint(1, 4), rng)
        lines.append(f"{item.prompt}{item.answer}\n")
        length += len(lines[-1])
    return "".join(lines)


SUITE_MARK = "junkdna_suite"  # in config.json: this model was trained on the graded suite
SEED_MARK = "junkdna_training_seed"


def knows_the_suite(pretrained: object) -> bool:
    """True for the embedded model (also when not named), and for checkpoints made from it."""
    if pretrained is None or pretrained == EMBEDDED:
        return True
    config = Path(str(pretrained)) / "config.json"
    return config.is_file() and SUITE_MARK in json.loads(config.read_text())
