"""Tidy tables with a known truth, made without a model: two families of four tiers that fall with sparsity."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd

COLUMNS = [
    "run",
    "model",
    "method",
    "level",
    "bits",
    "replicate",
    "task",
    "family",
    "axis",
    "tier",
    "item_id",
    "cluster_id",
    "metric",
    "value",
    "n_symbols",
    "chance",
]


def item_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def tidy(
    families: tuple[str, ...] = ("addition", "options"),
    tiers: int = 4,
    n_items: int = 120,
    levels: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8),
    methods: tuple[str, ...] = ("magnitude",),
    bits: tuple[float, ...] = (),
    model: str = "tiny",
    seed: int = 0,
) -> pd.DataFrame:
    """A sweep: latent ability falls with the level, faster on harder tiers; `options` is multiple choice."""
    rng = np.random.default_rng(seed)
    runs: list[tuple[str, float | None, float | None]] = [("dense", 0.0, None)]
    runs += [(method, level, None) for method in methods for level in levels if level > 0]
    runs += [("rtn", None, b) for b in bits]
    rows = []
    for family in families:
        chance = 0.25 if family == "options" else 0.0
        for tier in range(1, tiers + 1):
            ability = rng.normal(4.0 - 0.5 * tier, 1.0, n_items)
            ids = [item_hash(f"{family}/{tier}/{i}") for i in range(n_items)]
            for method, level, b in runs:
                damage = (
                    0.0
                    if method == "dense"
                    else 6 * level**2 * (1 + 0.3 * tier)
                    if level is not None
                    else 12 / b**2
                )
                margin = ability - damage + (0 if method == "dense" else rng.normal(0, 0.3, n_items))
                guessed = rng.random(n_items) < chance
                right = (margin > 0) | ((margin < -2) & guessed)
                name = f"{model}-{method}-{level if b is None else f'{b:g}bit'}"
                base = (name, model, method, level, b, 0, f"{family}_t{tier}", family, "size", tier)
                for i in range(n_items):
                    rows.append((*base, ids[i], ids[i], "acc", float(right[i]), 1, chance))
                    rows.append((*base, ids[i], ids[i], "margin", float(margin[i]), 1, chance))
    return pd.DataFrame(rows, columns=COLUMNS).astype({"level": float, "bits": float})


def one_run(
    values: dict[tuple[str, int], np.ndarray],
    name: str = "run",
    metric: str = "acc",
    method: str = "dense",
    level: float = 0.0,
) -> pd.DataFrame:
    """One run whose items score what is given for each (family, tier)."""
    rows = [
        (
            name,
            "m",
            method,
            level,
            None,
            0,
            f"{family}_t{tier}",
            family,
            "size",
            tier,
            item_hash(f"{family}{tier}{i}"),
            item_hash(f"{family}{tier}{i}"),
            metric,
            float(v),
            1,
            0.0,
        )
        for (family, tier), array in values.items()
        for i, v in enumerate(array)
    ]
    return pd.DataFrame(rows, columns=COLUMNS).astype({"level": float, "bits": float})
