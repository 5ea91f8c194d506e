"""Tidy tables with a known truth, small enough for fast tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from difficulty.runs.table import run_name


def table(
    extra: float = 0.0,
    *,
    families: str = "ab",
    tiers: int = 3,
    items: int = 60,
    levels: Sequence[float] = (0.2, 0.4, 0.6, 0.8),
    methods: Mapping[str, float] | None = None,
    margins: bool = True,
    chance: float = 0.0,
    step: float = 0.6,
    easy: float = 2.9,
    noise: float = 0.4,
    seed: int = 0,
) -> pd.DataFrame:
    """Loss 2.5 * level * (1 + extra * (tier - mean tier)) times the method's factor; dense easiness easy - step * tier."""
    g = np.random.default_rng(seed)
    parts = []
    base: dict[tuple[str, int], np.ndarray] = {
        (f, t): g.normal(easy - step * t, 1, items) for f in families for t in range(1, tiers + 1)
    }
    runs = [("dense", 0.0, 0.0)]
    runs += [(m, level, factor) for m, factor in (methods or {"magnitude": 1.0}).items() for level in levels]
    for method, level, factor in runs:
        for (family, tier), easy in base.items():
            lost = 2.5 * level * factor * (1 + extra * (tier - (tiers + 1) / 2))
            margin = easy - lost + (g.normal(0, noise, items) if level and noise else 0.0)
            parts += _rows(method, level, np.nan, family, tier, margin, margins, chance)
    return pd.concat(parts, ignore_index=True)


def _rows(
    method: str,
    level: float,
    bits: float,
    family: str,
    tier: int,
    margin: np.ndarray,
    margins: bool,
    chance: float,
) -> list[pd.DataFrame]:
    ids = [f"{family}{tier}_{i}" for i in range(len(margin))]
    frame = pd.DataFrame(
        {
            "run": run_name("m", method, level, bits), "model": "m", "method": method, "level": level, "bits": bits,
            "replicate": 0, "task": f"{family}_t{tier}", "family": family, "axis": "x", "tier": tier, "item_id": ids,
            "cluster_id": ids, "metric": "acc", "value": (margin > 0).astype(float), "n_symbols": 1, "chance": chance,
        }
    )  # fmt: skip
    return [frame, frame.assign(metric="margin", value=margin)] if margins else [frame]


def quantized(base: pd.DataFrame, bits: Mapping[float, Sequence[float]], seed: int = 9) -> pd.DataFrame:
    """`base` with runs of method "rtn": for each number of bits, the latent loss of tier 1, 2, ..."""
    g = np.random.default_rng(seed)
    dense = base[(base["method"] == "dense") & (base["metric"] == "margin")]
    parts = [base]
    for b, losses in bits.items():
        margin = dense["value"] - np.array(losses)[dense["tier"] - 1] + g.normal(0, 0.2, len(dense))
        run = dense.assign(
            run=run_name("m", "rtn", None, b), method="rtn", level=np.nan, bits=b, value=margin
        )
        parts += [run, run.assign(metric="acc", value=(margin > 0).astype(float))]
    return pd.concat(parts, ignore_index=True)


def recovered(base: pd.DataFrame, gaps: Sequence[float], level: float = 0.6, seed: int = 10) -> pd.DataFrame:
    """`base` with a dense model trained on and a recovered model that stays behind it by `gaps` in tier 1, 2, ..."""
    g = np.random.default_rng(seed)
    dense = base[(base["method"] == "dense") & (base["metric"] == "margin")]
    parts = [base]
    for method, at, behind in (
        ("dense+dense_transfer", 0.0, np.zeros(len(gaps))),
        ("magnitude+sparse_transfer", level, np.array(gaps)),
    ):
        margin = dense["value"] + 0.3 - behind[dense["tier"] - 1] + g.normal(0, 0.2, len(dense))
        run = dense.assign(run=run_name("m", method, at, None), method=method, level=at, value=margin)
        parts += [run, run.assign(metric="acc", value=(margin > 0).astype(float))]
    return pd.concat(parts, ignore_index=True)
