"""Tidy tables with a dense run, a compressed one, and a second evaluation of the dense weights."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

FIRST = (1, 1, 1, 1, 1, 1, 0, 0)  # 6 of 8


def rows(
    method: str, values: Sequence[float], task: str = "sums_t1", *, level: float = 0.0, metric: str = "acc", again: bool = False,
    tier: int = 1, family: str = "sums", model: str = "m",
) -> pd.DataFrame:  # fmt: skip
    """One task of one run; items are numbered."""
    table = pd.DataFrame(
        {
            "model": model, "method": method, "level": level, "tier": tier, "task": task, "family": family,
            "item_id": [f"{task}-{i}" for i in range(len(values))], "metric": metric, "value": [float(v) for v in values],
        }
    )  # fmt: skip
    return table.assign(noise_floor=again)


def noisy(
    second: Sequence[float] = (1, 1, 1, 1, 1, 0, 1, 0), compressed: Sequence[float] = (1, 1, 1, 1, 0, 0, 1, 0)
) -> pd.DataFrame:
    """Two items flip in the second evaluation, in both directions: its mean is the first's."""
    return pd.concat(
        [rows("dense", FIRST), rows("dense", second, again=True), rows("magnitude", compressed, level=0.5)],
        ignore_index=True,
    )
