"""An awkward table: long model names, thirteen families, eight tiers, several models, and methods of two words."""

from __future__ import annotations

import numpy as np
import pandas as pd

from difficulty.runs.identity import Method, Run

MODELS = ("meta-llama/Llama-3.2-1B-Instruct-of-a-rather-long-name", "embedded")
FAMILIES = (
    "agreement", "reflexives", "determiners", "word_order", "past_tense", "hypernyms", "opposites", "sequences", "capitals",
    "copying", "pages_of_a_long_book", "retrieval", "names",
)  # fmt: skip
STATES = (
    ("dense", 0.0), ("magnitude", 0.3), ("magnitude", 0.5), ("magnitude", 0.7), ("wanda 4:8", 0.5), ("random", 0.5),
)  # fmt: skip
TIERS, ITEMS = 8, 10


def awkward() -> pd.DataFrame:
    """A tidy table; harder tiers fall further, and each item keeps its luck in every state."""
    grid = pd.MultiIndex.from_product(
        [range(len(MODELS)), range(len(FAMILIES)), range(1, TIERS + 1), range(ITEMS), range(len(STATES))],
        names=["m", "f", "tier", "i", "s"],
    )
    table = grid.to_frame(index=False)
    luck = np.repeat(np.random.default_rng(0).random(len(table) // len(STATES)), len(STATES))
    table["model"], table["family"] = np.array(MODELS)[table["m"]], np.array(FAMILIES)[table["f"]]
    table["method"] = np.array([method for method, _ in STATES])[table["s"]]
    table["level"] = np.array([level for _, level in STATES])[table["s"]]
    falls = 0.5 * (table["level"] - 0.1).clip(lower=0) * (1 + table["tier"] / 8)
    names = {
        (m, s): str(Run(model, Method.parse(method), level, None))
        for m, model in enumerate(MODELS)
        for s, (method, level) in enumerate(STATES)
    }
    table["run"] = [names[key] for key in zip(table["m"], table["s"], strict=True)]
    table["task"] = "difficulty_tiers_" + table["family"] + "_t" + table["tier"].astype(str)
    table["item_id"] = table["cluster_id"] = table["task"] + "-" + table["i"].astype(str)
    return table.assign(
        bits=np.nan, replicate=0, axis="training_frequency", metric="acc", value=(luck < 0.95 - falls).astype(float), n_symbols=1,
        chance=0.25,
    ).drop(columns=["m", "f", "i", "s"])  # fmt: skip
