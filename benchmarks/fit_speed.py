"""How long `fit` takes on 100,000 sample rows, against a bootstrap that loops over resamples in pandas.

python benchmarks/fit_speed.py
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from difficulty.judge.draws import draw
from difficulty.judge.fit import fit
from difficulty.judge.panel import build_panel
from difficulty.judge.series import conditions
from difficulty.runs.table import run_name, validate

FAMILIES, TIERS, ITEMS, RESAMPLES = 5, 4, 250, 2000
LEVELS = np.round(np.arange(0.1, 1.0, 0.1), 1)


def sample_table() -> pd.DataFrame:
    """100,000 rows: 5,000 items in 1,000 clusters, dense and nine sparsities, accuracy and margin."""
    g = np.random.default_rng(0)
    parts = []
    for family in range(FAMILIES):
        for tier in range(1, TIERS + 1):
            easy = g.normal(3.2 - 0.6 * tier, 1, ITEMS)
            ids = [f"f{family}t{tier}i{i}" for i in range(ITEMS)]
            clusters = [f"f{family}t{tier}c{i // 5}" for i in range(ITEMS)]
            for level in (0.0, *LEVELS):
                method = "magnitude" if level else "dense"
                margin = easy - 2.5 * level * (1 + 0.2 * (tier - 2.5)) + g.normal(0, 0.4, ITEMS)
                frame = pd.DataFrame(
                    {
                        "run": run_name("m", method, level, None), "model": "m", "method": method, "level": level,
                        "family": f"f{family}", "tier": tier, "item_id": ids, "cluster_id": clusters,
                        "metric": "margin", "value": margin,
                    }
                )  # fmt: skip
                parts += [frame, frame.assign(metric="acc", value=(margin > 0).astype(float))]
    return pd.concat(parts, ignore_index=True)


def pandas_loop(table: pd.DataFrame, resamples: int) -> np.ndarray:
    """Cell means in each resample, as one would write it in pandas: draw clusters, take their rows, group, average."""
    g = np.random.default_rng(0)
    wide = table.pivot_table(
        index=["family", "tier", "cluster_id", "item_id"], columns=["run", "metric"], values="value"
    )
    wide = wide.sort_index(axis=1).reset_index(level=["family", "tier"])
    by_cluster = {
        name: np.flatnonzero(wide.index.get_level_values(0) == name)
        for name in wide.index.get_level_values(0).unique()
    }
    strata = (
        wide.reset_index()
        .groupby([("family", ""), ("tier", "")])[[("cluster_id", "")]]
        .agg(lambda c: list(c.unique()))
    )
    means = []
    for _ in range(resamples):
        chosen = []
        for names in strata.iloc[:, 0]:
            chosen += [by_cluster[names[i]] for i in g.integers(0, len(names), len(names))]
        means.append(wide.iloc[np.concatenate(chosen)].groupby(["family", "tier"]).mean().to_numpy())
    return np.stack(means)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path)
    parser.add_argument("--loop-resamples", type=int, default=40)
    arguments = parser.parse_args()
    table = validate(sample_table())
    clock = (time.perf_counter, time.process_time)
    start = [c() for c in clock]
    result = fit(table, n_resamples=RESAMPLES)
    whole = [c() - s for c, s in zip(clock, start, strict=True)]
    panel = build_panel(table)
    found = conditions(panel.runs, {})
    start = [c() for c in clock]
    draws = draw(panel, found, RESAMPLES, np.random.default_rng(0))
    ours = [c() - s for c, s in zip(clock, start, strict=True)]
    start = [c() for c in clock]
    loop = pandas_loop(table, arguments.loop_resamples)
    per = [(c() - s) / arguments.loop_resamples * RESAMPLES for c, s in zip(clock, start, strict=True)]
    # the two must estimate the same thing: errors of cell means agree
    spread = draws.score[1:].std(axis=0).mean() / loop[:, :, ::2].std(axis=0).mean()
    text = (
        "### Speed of `junkdna fit`\n\n`python benchmarks/fit_speed.py`\n\n"
        f"{len(table):,} rows, {result.n_items:,} items in {result.n_clusters:,} clusters, {RESAMPLES:,} resamples, one thread; "
        f"{os.cpu_count()} cores with a load of {os.getloadavg()[0]:.1f} from other work.\n\n"
        "| | wall, s | CPU, s |\n|---|---:|---:|\n"
        f"| all claims and tables (`fit`) | {whole[0]:.2f} | {whole[1]:.2f} |\n"
        f"| the bootstrap of all cell means alone | {ours[0]:.2f} | {ours[1]:.2f} |\n"
        f"| the same bootstrap, a pandas loop ({arguments.loop_resamples} resamples timed, scaled) | {per[0]:.0f} | {per[1]:.0f} |\n"
        f"\nThe loop takes {per[1] / ours[1]:.0f} times the CPU time of ours, and {per[1] / whole[1]:.0f} times that of the whole fit. "
        f"Ratio of the two bootstraps' standard errors: {spread:.2f}.\n"
    )
    print(text)
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(text, encoding="utf-8")
    return 0 if per[1] / ours[1] >= 20 and whole[1] < 10 else 1


if __name__ == "__main__":
    sys.exit(main())
