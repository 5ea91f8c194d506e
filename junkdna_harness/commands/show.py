"""`junkdna show`: one run by family and tier, and what was done to the model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table


def show(
    run: Annotated[Path, typer.Argument(help="lm-eval output folder, a sweep's folder, or a tidy table.")],
    name: Annotated[str | None, typer.Option("--run", help="Which run, where there are several.")] = None,
    metric: Annotated[
        str | None, typer.Option(help="Metric to show; by default acc, else exact_match.")
    ] = None,
) -> None:
    """Print a run's score in every family and tier, with method, level and measured sparsity.

    The interval is clustered (95 %); "above chance" is (score - chance) / (1 - chance).
    """
    from rich.console import Console

    from difficulty.errors import UsageError, did_you_mean
    from difficulty.runs.read import read_runs
    from difficulty.runs.table import some

    read = read_runs(run)
    names = [str(n) for n in read.runs["run"]]
    if name is None and len(names) > 1:
        raise UsageError(f"{str(run)!r} holds {len(names)} runs ({some(names)}). Choose one with --run.")
    chosen = names[0] if name is None else name
    if chosen not in names:
        raise UsageError(f"there is no run {chosen!r}.{did_you_mean(chosen, names)} Runs: {some(names)}.")
    facts = read.runs[read.runs["run"] == chosen].iloc[0].to_dict()
    rows = read.table[read.table["run"] == chosen]
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    for line in describe(facts, read.manifests.get(chosen, {})):
        console.print(line, highlight=False, markup=False)
    console.print(_tiers(rows, metric))


def describe(facts: dict[str, Any], manifest: dict[str, Any]) -> list[str]:
    """Lines on who the run is and what was done to its model."""
    lines = [f"run      {facts['run']}", f"model    {facts['model']}", f"method   {facts['method']}"]
    shown = (
        ("level", facts["level"], ".4g"), ("bits", facts["bits"], "g"), ("effective bits", facts["effective_bits"], ".4g"),
        ("pattern", manifest.get("pattern"), ""), ("scope", manifest.get("scope"), ""), ("seed", manifest.get("seed"), ""),
        ("sparsity of targets", manifest.get("sparsity_targeted"), ".4f"),
        ("sparsity of model", facts["sparsity_all"], ".4f"), ("weights", facts["weights_sha256"], ""),
        ("lm-eval", facts["lm_eval_version"], ""),
    )  # fmt: skip
    lines += [
        f"{label:<8} {value:{form}}" for label, value, form in shown if value is not None and value == value
    ]
    return lines + [f"note     {warning}" for warning in manifest.get("warnings") or []]


def _tiers(rows: pd.DataFrame, metric: str | None) -> Table:
    import numpy as np
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from difficulty.judge.panel import choose_metric
    from difficulty.stats import above_chance, clustered_error

    table = Table(box=box.SIMPLE_HEAD)
    for column in ("family", "axis", "tier", "metric"):
        table.add_column(column)
    for column in ("items", "score", "95 %", "chance", "above chance", "margin"):
        table.add_column(column, justify="right")
    for (family, tier), part in rows.groupby(["family", "tier"], sort=True):
        chosen = choose_metric(
            str(family), [str(m) for m in part["metric"].unique() if m != "margin"], metric
        )
        scored = part[part["metric"] == chosen]
        values = scored["value"].to_numpy(dtype=float)
        half = 1.96 * clustered_error(values, scored["cluster_id"].to_numpy(dtype=str))[0]
        chance = float(scored["chance"].mean())
        margins = part.loc[part["metric"] == "margin", "value"]
        table.add_row(
            escape(str(family)), escape(str(scored["axis"].iloc[0])), str(tier), escape(chosen), f"{len(values):,}",
            f"{values.mean():.4f}", "" if np.isnan(half) else f"±{half:.4f}", f"{chance:.3f}",
            f"{above_chance(values.mean(), np.array(chance)):.4f}", f"{margins.mean():+.2f}" if len(margins) else "",
        )  # fmt: skip
    return table
