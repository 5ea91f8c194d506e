"""How long `fit` takes on 100,000 sample rows, against a bootstrap that loops over resamples in pandas; memory of larger tables.

python benchmarks/fit_speed.py [--no-memory]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from difficulty.judge.draws import draw_scores
from difficulty.judge.fit import fit
from difficulty.judge.panel import build_panel
from difficulty.judge.series import conditions
from difficulty.runs.table import run_name, validate

FAMILIES, TIERS, ITEMS, RESAMPLES = 5, 4, 250, 2000
LEVELS = np.round(np.arange(0.1, 1.0, 0.1), 1)
LOOP_RESAMPLES = 40
MOST_SECONDS, MOST_GB, LEAST_RATIO = 10, 4, 20
# name -> items, families, tiers, runs; each item has an accuracy and a margin in each run
LARGE = {
    "100 families x 10 tiers, 60 runs": (5000, 100, 10, 60),
    "500 families x 5 tiers, an item each, 200 runs": (2500, 500, 5, 200),
}


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
    wide = wide.sort_index().sort_index(axis=1).reset_index(level=["family", "tier"])
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


def large_table(n_items: int, families: int, tiers: int, runs: int) -> pd.DataFrame:
    """Items dealt out to the cells in turn, dense and evenly spaced sparsities."""
    g = np.random.default_rng(0)
    items = np.arange(n_items)
    tier = items // families % tiers + 1
    easy = g.normal(1.5, 1, n_items) - 0.05 * tier
    frame = pd.DataFrame(
        {
            "model": "m", "family": [f"f{f}" for f in items % families], "tier": tier, "item_id": [f"i{i}" for i in items],
        }
    )  # fmt: skip
    parts = []
    for run in range(runs):
        level = run / runs
        margin = easy - 2 * level + 0.3 * g.normal(size=n_items)
        named = frame.assign(method="magnitude" if run else "dense", level=level)
        parts.append(named.assign(metric="margin", value=margin))
        parts.append(named.assign(metric="acc", value=(margin > 0).astype(float)))
    return pd.concat(parts, ignore_index=True)


def measured(path: Path) -> dict[str, float]:
    """Seconds and peak memory (GB) of `fit` of a table, in this process."""
    start = time.perf_counter(), time.process_time()
    result = fit(pd.read_parquet(path), n_resamples=RESAMPLES)
    return {
        "wall": time.perf_counter() - start[0],
        "cpu": time.process_time() - start[1],
        "gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        "rows": result.n_rows,
        "cells": len(result.cells),
        "resamples": result.settings.n_drawn,
    }


def memory_rows() -> list[tuple[str, dict[str, float]]]:
    """Each large table, fitted in a process of its own."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name, size in LARGE.items():
            path = Path(folder) / "table.parquet"
            large_table(*size).to_parquet(path)
            done = subprocess.run(
                [sys.executable, __file__, "--measure", str(path)], check=True, capture_output=True, text=True
            )
            found.append((name, json.loads(done.stdout.splitlines()[-1])))
    return found


def memory_text(rows: list[tuple[str, dict[str, float]]]) -> str:
    head = "\n| table | rows | cells x runs | resamples | CPU, s | peak memory, GB |\n|---|---:|---:|---:|---:|---:|\n"
    return head + "".join(
        f"| {name} | {m['rows']:,} | {m['cells']:,} | {m['resamples']:,} | {m['cpu']:.0f} | {m['gb']:.1f} |\n"
        for name, m in rows
    )


def speed() -> tuple[str, bool]:
    """The table of times, and whether they are as wanted."""
    table = validate(sample_table())
    clock = (time.perf_counter, time.process_time)
    start = [c() for c in clock]
    result = fit(table, n_resamples=RESAMPLES)
    whole = [c() - s for c, s in zip(clock, start, strict=True)]
    panel = build_panel(table)
    found = conditions(panel.runs, {})
    start = [c() for c in clock]
    draws = draw_scores(panel, found, RESAMPLES, np.random.default_rng(0))
    ours = [c() - s for c, s in zip(clock, start, strict=True)]
    start = [c() for c in clock]
    loop = pandas_loop(table, LOOP_RESAMPLES)
    per = [(c() - s) / LOOP_RESAMPLES * RESAMPLES for c, s in zip(clock, start, strict=True)]
    # the two must estimate the same thing: errors of cell means agree
    spread = draws.score[1:].std(axis=0).mean() / loop[:, :, ::2].std(axis=0).mean()
    text = (
        "### Speed of `junkdna fit`\n\n`python benchmarks/fit_speed.py`\n\n"
        f"{len(table):,} rows, {result.n_items:,} items in {result.n_clusters:,} clusters, {RESAMPLES:,} resamples, one thread; "
        f"{os.cpu_count()} cores with a load of {os.getloadavg()[0]:.1f} from other work.\n\n"
        "| | wall, s | CPU, s |\n|---|---:|---:|\n"
        f"| all claims and tables (`fit`) | {whole[0]:.2f} | {whole[1]:.2f} |\n"
        f"| the bootstrap of all cell means alone | {ours[0]:.2f} | {ours[1]:.2f} |\n"
        f"| the same bootstrap, a pandas loop ({LOOP_RESAMPLES} resamples timed, scaled) | {per[0]:.0f} | {per[1]:.0f} |\n"
        f"\nThe loop takes {per[1] / ours[1]:.0f} times the CPU time of ours, and {per[1] / whole[1]:.0f} times that of the whole fit. "
        f"Ratio of the two bootstraps' standard errors: {spread:.2f}.\n"
    )
    return text, per[1] / ours[1] >= LEAST_RATIO and whole[1] < MOST_SECONDS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path)
    parser.add_argument(
        "--no-memory", action="store_true", help="leave out the large tables, which take minutes"
    )
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measured(arguments.measure)))
        return 0
    text, good = speed()
    if not arguments.no_memory:
        rows = memory_rows()
        text += memory_text(rows)
        good = good and all(m["gb"] < MOST_GB for _, m in rows)
    print(text)
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(text, encoding="utf-8")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
