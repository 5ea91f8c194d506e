"""An awkward table: long model names, thirteen families, eight tiers, several models, and methods of many words."""

from __future__ import annotations

import numpy as np
import pandas as pd

from difficulty.runs.identity import Method, Run

MODELS = ("meta-llama/Llama-3.2-1B-Instruct-of-a-rather-long-name", "embedded", "org/other-7b")
FAMILIES = (
    "agreement", "reflexives", "determiners", "word_order", "past_tense", "hypernyms", "opposites", "sequences", "capitals",
    "copying", "pages_of_a_long_book", "retrieval", "names",
)  # fmt: skip
STATES = (
    ("dense", 0.0), ("magnitude", 0.3), ("magnitude", 0.5), ("magnitude", 0.7), ("wanda 4:8", 0.5), ("random", 0.3), ("random", 0.5),
)  # fmt: skip
TIERS, ITEMS = 8, 24


def awkward(models: tuple[str, ...] = MODELS, families: tuple[str, ...] = FAMILIES) -> pd.DataFrame:
    """A tidy table; harder tiers fall further, and each item keeps its luck in every state."""
    draws = np.random.default_rng(0)
    parts = []
    for model in models:
        for family in families:
            for tier in range(1, TIERS + 1):
                luck = draws.random(ITEMS)
                for method, level in STATES:
                    right = luck < 0.99 - 0.5 * max(0.0, level - 0.1) * (1 + tier / 8)
                    parts.append(_part(model, family, tier, method, level, right.astype(float)))
    return pd.concat(parts, ignore_index=True)


def _part(model: str, family: str, tier: int, method: str, level: float, value: np.ndarray) -> pd.DataFrame:
    items = [f"{family}-{tier}-{i}" for i in range(len(value))]
    run = str(Run(model, Method.parse(method), level, None))
    return pd.DataFrame(
        {
            "run": run, "model": model, "method": method, "level": level, "bits": np.nan, "replicate": 0,
            "task": f"difficulty_tiers_{family}_t{tier}", "family": family, "axis": "training_frequency", "tier": tier,
            "item_id": items, "cluster_id": items, "metric": "acc", "value": value, "n_symbols": 1, "chance": 0.25,
        }
    )  # fmt: skip
