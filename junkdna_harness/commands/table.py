"""`junkdna table`: evaluation outputs as one tidy table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from junkdna_harness.commands.options import LABEL
from junkdna_harness.presentation.console import say


def table(
    runs: Annotated[
        list[Path],
        typer.Argument(help="lm-eval output folders, a sweep's folder, or tidy tables (.parquet, .csv)."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write: .parquet or .csv.")],
    label: Annotated[list[str] | None, LABEL] = None,
) -> None:
    """Write one row per item, run and metric, for pandas or DuckDB.

    Columns: run, model, method, level, bits, replicate, task, family, axis, tier, item_id, cluster_id, metric, value,
    n_symbols, chance; others follow where they were logged: higher_is_better, and for perplexities weight and scale
    (value: nats per word or byte). Rows of a second evaluation of the dense weights are true in the column noise_floor;
    n_weights counts the weights of a run's model.
    """
    from difficulty.files import check_writable
    from difficulty.runs.read import read_runs
    from difficulty.runs.table import write_table
    from junkdna_harness.presentation.lines import show_text

    check_writable(output)
    read = read_runs(runs, labels=label or [])
    write_table(read.tidy(), output)
    for warning in (*read.warnings, *(floor.sentence() for floor in read.noise.values())):
        show_text(f"note: {warning}", stderr=True)
    n_runs, n_items = len(read.runs), read.table[["task", "item_id"]].drop_duplicates().shape[0]
    say(f"{output}: {len(read.table):,} rows, {n_runs} runs, {n_items:,} items")
