"""What a task is judged by, where it logs several metrics or filters: one rule for every command, and it is printed.

The rule: the metric that was asked for, else the first of `PREFERRED` that the task has, else its first. Where a metric was
logged under several filters, the first filter counts: lm-eval logs them in the task's own order, the strictest first in its
tasks (gsm8k: strict-match before flexible-extract).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from difficulty.errors import UsageError, did_you_mean
from difficulty.runs.direction import NO_SCORE, declared, direction, same_metric, scale
from difficulty.runs.table import HIGHER_IS_BETTER, MARGIN, SCALE, WEIGHT, some
from difficulty.stats.mean import Scale

# Shares of right answers first; perplexities, which are no shares, last.
PREFERRED = (
    "acc", "exact_match", "acc_norm", "em", "f1", "contains", "mcc",
    "word_perplexity", "byte_perplexity", "bits_per_byte", "perplexity",
)  # fmt: skip


@dataclass(frozen=True)
class Chosen:
    """`rows`: the table's rows of the chosen metric per task. `metrics`: task -> metric. `notes`: what was chosen among several."""

    rows: pd.DataFrame = field(repr=False)
    metrics: Mapping[str, str]
    notes: tuple[str, ...] = ()


def choose(table: pd.DataFrame, metric: str | None = None) -> Chosen:
    """The rows of one metric per task, the same in all runs. Tasks without `metric` are left out, with a note.

    Raises:
        UsageError: no task has `metric`, there is nothing but margins, or runs have different metrics for a task.
    """
    if len(table) == 0:
        raise UsageError(
            "the runs hold no items. Evaluate with --log_samples, so that there is something to report."
        )
    named = table["metric"].str.partition(",")[0]
    scored = table[(named != NO_SCORE) & ((named != MARGIN) | (metric == MARGIN))]
    scored = scored if len(scored) else table[named != NO_SCORE]
    unscored = sorted(set(table["task"].unique()) - set(scored["task"].unique()))
    if not len(scored):
        raise UsageError(
            f"the runs hold answers without scores ({some(unscored)}), as --predict_only leaves them. Evaluate without that option."
        )
    present = _present(scored)
    metrics: dict[str, str] = {}
    notes: list[str] = []
    without: list[str] = []
    for task, by_run in present.items():
        first = next(iter(by_run.values()))
        chosen = choose_one(first, metric)
        if chosen is None:
            without.append(task)
            continue
        lacking = [run for run, names in by_run.items() if chosen not in names]
        if lacking:
            raise UsageError(
                f"runs have different metrics for task {task!r}: {some(lacking)} lack{'s' * (len(lacking) == 1)} {chosen!r}. "
                "Evaluate them with the same metric, or choose one that all have with --metric."
            )
        metrics[task] = chosen
    if not metrics:
        raise UsageError(_nothing(present, metric))
    if unscored:
        notes.append(f"left out, as they hold answers without scores (--predict_only): {some(unscored)}.")
    if without:
        notes.append(f"left out, without a metric {metric!r}: {some(without)}.")
    notes += several(scored, metrics)
    return Chosen(scored[scored["metric"] == scored["task"].map(metrics)], metrics, tuple(notes))


def choose_one(present: Sequence[str], metric: str | None = None) -> str | None:
    """The one of `present` (in the order logged) that the rule takes; None where `metric` was asked for and is not there."""
    present = [name for name in present if base(name) != NO_SCORE]
    if metric is not None:
        return metric if metric in present else next((n for n in present if base(n) == metric), None)
    for name in PREFERRED:
        for found in present:
            if base(found) == name:
                return found
    return present[0] if present else None


def base(metric: str) -> str:
    """A metric's name without the filter: `exact_match` of `exact_match,strict-match`."""
    return metric.partition(",")[0]


def scale_of(rows: pd.DataFrame) -> Scale:
    """How the items of one metric are put together: what the table says, else what name and weights say."""
    if SCALE in rows:
        said = rows[SCALE].dropna().unique()
        if len(said) == 1:
            return cast(Scale, str(said[0]))
    return scale(str(rows["metric"].iloc[0]), WEIGHT in rows and bool(rows[WEIGHT].notna().any()))


def weights_of(rows: pd.DataFrame) -> NDArray[np.float64] | None:
    """The weight of each row, shape (n_rows,); None where none is given."""
    if WEIGHT not in rows or rows[WEIGHT].isna().all():
        return None
    return np.asarray(rows[WEIGHT].fillna(1.0), dtype=float)


def higher_is_better(
    rows: pd.DataFrame, higher: Sequence[str] = (), lower: Sequence[str] = ()
) -> bool | None:
    """Whether more is better for the rows of one metric: as `higher` or `lower` name it, else as the table says, else by name.

    None where nobody says. Where two runs say opposite things, nobody does.
    """
    metric = str(rows["metric"].iloc[0])
    for names, value in ((higher, True), (lower, False)):
        if any(same_metric(metric, name) for name in names):
            return value
    if HIGHER_IS_BETTER in rows:
        said = declared(rows[HIGHER_IS_BETTER].unique())
        if said:
            return said.pop() if len(said) == 1 else None
    return False if scale_of(rows) != "mean" else direction(metric)


def are_log_likelihoods(rows: pd.DataFrame) -> bool:
    """Whether what is called a perplexity is none: it has no weights, and values of 0 or less, which no perplexity has."""
    weighted = WEIGHT in rows and bool(rows[WEIGHT].notna().any())
    named = scale(str(rows["metric"].iloc[0]), True) == "perplexity"
    return named and not weighted and scale_of(rows) == "mean" and bool((rows["value"] <= 0).any())


def _present(table: pd.DataFrame) -> dict[str, dict[str, list[str]]]:
    """Task -> run -> its metrics in the order logged."""
    found: dict[str, dict[str, list[str]]] = {}
    for run, task, metric in table[["run", "task", "metric"]].drop_duplicates().itertuples(index=False):
        found.setdefault(str(task), {}).setdefault(str(run), []).append(str(metric))
    return found


def _nothing(present: Mapping[str, Mapping[str, Sequence[str]]], metric: str | None) -> str:
    known = sorted({name for by_run in present.values() for names in by_run.values() for name in names})
    return f"no task has a metric {metric!r}.{did_you_mean(str(metric), known)} There is: {some(known)}."


def several(table: pd.DataFrame, metrics: Mapping[str, str]) -> list[str]:
    """A sentence for every choice among several metrics, the same choice in many tasks told once. `metrics`: task -> chosen."""
    present = _present(table)
    alike: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for task, chosen in metrics.items():
        others = tuple(name for name in next(iter(present.get(task, {}).values()), []) if name != chosen)
        if others:
            alike.setdefault((chosen, others), []).append(task)
    return [
        f"{some(tasks, 3)}: judged by {chosen}; also logged: {some(others)} (--metric chooses)."
        for (chosen, others), tasks in alike.items()
    ]
