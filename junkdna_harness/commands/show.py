"""`junkdna show`: one run by family and tier, and what was done to the model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from junkdna_harness.commands.options import LABEL

if TYPE_CHECKING:
    import pandas as pd

    from difficulty.runs.read import Runs
    from junkdna_harness.presentation.lines import Line

CAPTION = "score: mean and 95 % interval, items of one cluster together; shares in %. above chance: of what chance leaves, in %."


def show(
    runs: Annotated[Path, typer.Argument(help="lm-eval output folder, a sweep's folder, or a tidy table.")],
    name: Annotated[str | None, typer.Option("--run", help="Which run, where there are several.")] = None,
    metric: Annotated[
        str | None, typer.Option(help="Metric to show; by default acc, else what the task has.")
    ] = None,
    label: Annotated[list[str] | None, LABEL] = None,
) -> None:
    """Print one run's score in every family and tier.

    The interval is clustered (95 %), and shares are in percent; "above chance" is (score - chance) / (1 - chance).
    """
    from difficulty.runs.clusters import share_clusters
    from difficulty.runs.metrics import choose
    from difficulty.runs.read import read_runs
    from difficulty.text import noise_legend
    from junkdna_harness.presentation.lines import show_lines, show_text

    read = read_runs(runs, labels=label or [])
    chosen = read.one(name)
    facts = read.runs[read.runs["run"] == chosen].iloc[0].to_dict()
    rows = share_clusters(read.table)[read.table["run"] == chosen]  # as report does, for the same intervals
    judged = choose(rows, metric)
    for line in describe(facts, read.manifests.get(chosen, {})):
        show_text(line)
    near = near_dense(read, chosen, judged.rows)
    show_lines([[], *_tiers(judged.rows, rows, near), []])
    show_text(CAPTION)
    if legend := noise_legend(any(near.values()), what="difference from dense"):
        show_text(legend)
    floor = read.noise.get(str(facts["model"]))
    for note in (*read.warnings, *([floor.sentence()] if floor else []), *judged.notes):
        show_text(f"note: {note}")


def describe(facts: Mapping[str, Any], manifest: Mapping[str, Any]) -> list[str]:
    """Lines on who the run is and what was done to its model."""
    from difficulty.runs.values import as_number

    shown = (
        *((name, facts[name], "") for name in ("run", "model", "method")),
        ("level", facts["level"], ".4g"), ("bits", facts["bits"], "g"), ("effective bits", facts["effective_bits"], ".4g"),
        *((name, _text(manifest.get(name)), "") for name in ("pattern", "scope", "seed")),
        ("sparsity of targets", as_number(manifest.get("sparsity_targeted")), ".4f"),
        ("sparsity of model", facts["sparsity_all"], ".4f"), ("weights", facts["weights_sha256"], ""),
        ("lm-eval", facts["lm_eval_version"], ""), ("known by", facts["known_by"], ""),
    )  # fmt: skip
    lines = [
        f"{label:<20} {value:{form}}" for label, value, form in shown if value is not None and value == value
    ]
    warnings = manifest.get("warnings")
    return lines + [f"{'note':<20} {warning}" for warning in (warnings if isinstance(warnings, list) else [])]


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def near_dense(read: Runs, run: str, judged: pd.DataFrame) -> dict[tuple[str, int, str], bool]:
    """(family, tier, metric) -> whether the run's difference from its dense run is within the noise floor, where it is known."""
    from difficulty.runs.metrics import scale_of, weights_of
    from difficulty.runs.table import DENSE
    from difficulty.stats import mean_interval

    model = str(judged["model"].iloc[0])
    noise = read.noise.get(model)
    if noise is None or (judged["method"] == DENSE).all():
        return {}
    dense = read.table[(read.table["model"] == model) & (read.table["method"] == DENSE)]
    found: dict[tuple[str, int, str], bool] = {}
    for (family, tier, metric), part in judged.groupby(["family", "tier", "metric"]):
        tasks = [str(task) for task in part["task"].unique()]
        other = dense[dense["task"].isin(tasks) & (dense["metric"] == metric)]
        floor = noise.over(tasks, str(metric))
        same = set(part["task"] + part["item_id"]) == set(other["task"] + other["item_id"])
        if floor is None or not same:
            continue
        means = [
            mean_interval(rows["value"].to_numpy(dtype=float), None, weights_of(rows), scale_of(rows)).mean
            for rows in (part, other)
        ]
        found[str(family), int(tier), str(metric)] = floor.within(means[0] - means[1])
    return found


def _tiers(
    judged: pd.DataFrame, rows: pd.DataFrame, near: Mapping[tuple[str, int, str], bool] | None = None
) -> list[Line]:
    """One row per family, tier and metric: tasks of one tier that are judged by other metrics are not averaged."""
    import numpy as np

    from difficulty.runs.direction import bounded
    from difficulty.runs.metrics import higher_is_better, scale_of, weights_of
    from difficulty.runs.table import MARGIN
    from difficulty.stats import above_chance, mean_interval
    from difficulty.text import score_text, score_with_bounds, with_noise_mark
    from junkdna_harness.presentation.table import Column, table

    columns = [Column("family"), Column("axis", "text"), Column("tier", right=True), Column("metric", "text")]
    columns += [Column("items", "number")]
    columns += [Column("score", "number", told=False), Column("chance", "number")]
    columns += [Column(name, "number", told=False) for name in ("above chance", "margin")]
    lines = []
    margins = rows[rows["metric"] == MARGIN].groupby(["family", "tier"])["value"].mean()
    # A metric that leaves [0, 1] in one tier is bounded in none.
    inside = judged["value"].between(0, 1).groupby(judged["metric"]).all()
    limits = {str(name): bounded(str(name)) if within else False for name, within in inside.items()}
    for (family, tier, metric), part in judged.groupby(["family", "tier", "metric"], sort=True):
        scale = scale_of(part)
        found = mean_interval(
            part["value"].to_numpy(dtype=float),
            part["cluster_id"].to_numpy(dtype=str),
            weights_of(part),
            scale,
            bounded=limits[str(metric)],
        )
        chance = float(part["chance"].mean())
        share = scale == "mean" and bool(part["value"].between(0, 1).all())
        share = share and higher_is_better(part) is not False  # where less is better, nothing is above chance
        above = score_text(float(above_chance(np.array(found.mean), np.array(chance))), True) if share else ""
        margin = margins.get((family, tier))
        marked = (near or {}).get((str(family), int(tier), str(metric)))
        percent = scale == "mean" and bool(inside[metric]) and limits[str(metric)] is not False
        lines.append([
            str(family), str(part["axis"].iloc[0]), str(tier), str(metric), f"{len(part):,}",
            with_noise_mark(score_with_bounds(found.mean, found.low, found.high, percent), marked),
            f"{100 * chance:.2f}" if share else "", above, "" if margin is None else f"{margin:+.2f}",
        ])  # fmt: skip
    return table(columns, lines)
