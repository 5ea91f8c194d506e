"""A report: everything that is shown, computed once, from which each format takes its part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from difficulty.errors import UsageError
from difficulty.judge.fit import fit
from difficulty.runs.looks import added_after_look, folders_of
from difficulty.runs.read import Runs, read_runs
from difficulty.runs.same import (
    different_settings,
    different_versions,
    require_same,
    tasks_without_prompts,
    versions_of,
)
from difficulty.runs.table import DENSE
from junkdna_harness.report.curves import measure
from junkdna_harness.report.documents import Documents, asked, documents
from junkdna_harness.report.leaderboard import Leaderboard, leaderboard
from junkdna_harness.report.plots import plots
from junkdna_harness.report.select import select

if TYPE_CHECKING:
    import pandas as pd

    from difficulty.judge.fit import FitResult
    from junkdna_harness.report.plots import Plot

DEFAULT_BY = ("tier", "family")


@dataclass(frozen=True)
class Report:
    """What is reported. `fits`, `plots` and `documents` are empty unless they were asked for.

    `folders`: those of the sweeps among the sources; `looked`: sentences on runs that were added to them after a look.
    """

    items: pd.DataFrame = field(repr=False)
    runs: pd.DataFrame = field(repr=False)
    boards: tuple[Leaderboard, ...]
    fits: tuple[FitResult, ...]
    plots: tuple[Plot, ...] = field(repr=False)
    documents: Documents = field(repr=False)
    manifests: Mapping[str, Mapping[str, Any]] = field(repr=False)
    warnings: tuple[str, ...]
    sources: tuple[str, ...]
    metric: str | None
    folders: tuple[Path, ...] = ()
    looked: tuple[str, ...] = ()

    @property
    def models(self) -> list[str]:
        """The models, in the order of the runs."""
        return [str(name) for name in self.items["model"].unique()]


def build(
    runs: Runs | Sequence[str | Path],
    by: Sequence[str] = DEFAULT_BY,
    metric: str | None = None,
    sort: Sequence[str] = (),
    rules: Sequence[str] = (),
    with_fit: bool = True,
    with_plots: bool = True,
    with_documents: bool = True,
    seed: int = 0,
    labels: Sequence[str] = (),
    allow_different_prompts: bool = False,
) -> Report:
    """The report of runs that were read (with `keep=asked`, to show documents), or that lie under some paths.

    `rules` select runs and tasks, `sort` orders the rows of the tables. `labels` is for paths. `seed` is that of the resamples behind verdicts and bands.

    Raises:
        UsageError: nothing to read, no dense run, mixed items, prompts or task versions, an unknown column or rule.
    """
    if isinstance(runs, Runs):
        read, sources = runs, tuple(dict.fromkeys(runs.sources.values()))
    else:
        read = read_runs(list(runs), labels=labels, keep=asked if with_documents else None)
        sources = tuple(str(path) for path in runs)
    allow = allow_different_prompts
    settings = different_settings(
        {run: read.settings(run) for run in read.names}, tasks_without_prompts(read.table)
    )
    noted = require_same([different_versions(versions_of(read.runs)), settings], allow)
    bits = {
        str(r): float(b)
        for r, b in zip(read.runs["run"], read.runs["effective_bits"], strict=True)
        if b is not None and b == b
    }
    table = _with_bits(read.table, bits)
    items = select(table, rules)
    _require_dense(items)
    order = {"sort": list(sort)} if sort else {}
    boards = tuple(
        leaderboard(items, one, metric, bits, allow_different_prompts=allow, noise=read.noise, **order)
        for one in by
    )
    warnings = [*read.warnings, *noted]
    fits = tuple(_fits(items, read, metric, seed, allow, warnings)) if with_fit else ()
    warnings[:0] = [sentence for one in fits for sentence in one.guesses]
    pictures = tuple(_plots(items, bits, metric, seed, allow, fits, warnings)) if with_plots else ()
    shown_documents = documents(items, read) if with_documents else Documents({}, {})
    shown = set(items["run"].unique())
    listed = read.runs[read.runs["run"].isin(shown)].reset_index(drop=True)
    manifests = {run: block for run, block in read.manifests.items() if run in shown and block}
    folders = tuple(folders_of(read.tasks.values()))
    return Report(
        items,
        listed,
        boards,
        fits,
        pictures,
        shown_documents,
        manifests,
        tuple(dict.fromkeys(warnings)),
        sources,
        metric,
        folders,
        tuple(sentence for folder in folders for sentence in added_after_look(folder)),
    )


def _with_bits(table: pd.DataFrame, bits: dict[str, float]) -> pd.DataFrame:
    return table.assign(effective_bits=table["run"].map(bits)) if bits else table


def _require_dense(items: pd.DataFrame) -> None:
    without = sorted(
        set(items["model"].unique()) - set(items.loc[items["method"] == DENSE, "model"].unique())
    )
    if without:
        raise UsageError(
            f"there is no dense run of {without[0]!r}, which the others are compared with. "
            "Evaluate it with sparsity=0 and give its folder too."
        )


def _fits(
    items: pd.DataFrame, read: Runs, metric: str | None, seed: int, allow: bool, warnings: list[str]
) -> list[FitResult]:
    """The verdicts on each model; one that cannot be judged is told in the warnings."""
    found = []
    for model in items["model"].unique():
        try:
            found.append(
                fit(
                    items[items["model"] == model],
                    runs=read.runs,
                    metric=metric,
                    seed=seed,
                    allow_different_prompts=allow,
                )
            )
        except UsageError as error:
            warnings.append(f"no verdicts on {model}: {error}")
    return found


def _plots(
    items: pd.DataFrame,
    bits: dict[str, float],
    metric: str | None,
    seed: int,
    allow: bool,
    fits: Sequence[FitResult],
    warnings: list[str],
) -> list[Plot]:
    made = []
    for model in items["model"].unique():
        part = items[items["model"] == model]
        if part["run"].nunique() < 2:
            warnings.append(f"no plots of {model}: there is only its dense run.")
            continue
        try:
            made += plots(
                measure(part, bits, str(model), metric, seed, allow),
                next((f for f in fits if f.model == model), None),
            )
        except UsageError as error:
            warnings.append(f"no plots of {model}: {error}")
    return made
