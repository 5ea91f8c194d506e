"""A report: everything that is shown, computed once, from which each format takes its part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from difficulty.errors import UsageError
from difficulty.judge.fit import fit
from difficulty.judge.over_models import fit_models, of_model, own_dense_runs
from difficulty.runs.asked import AskedOnce, Documents, documents
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
from junkdna_harness.report.figures import Finisher
from junkdna_harness.report.forest import forest, over_families, over_models
from junkdna_harness.report.leaderboard import Leaderboard, leaderboards
from junkdna_harness.report.plots import ORDER, figures, figures_of_fit, shorten
from junkdna_harness.report.select import select

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from difficulty.judge.fit import FitResult
    from difficulty.judge.over_models import ModelsResult
    from junkdna_harness.report.figures import Plot

DEFAULT_BY = ("tier", "family")
_OVER_MODELS, _OF_FAMILIES = "forest_models", "forest_families"


@dataclass(frozen=True)
class Report:
    """What is reported. `fits`, `plots` and `documents` are empty unless they were asked for.

    `fits`: the verdicts on each model. `over`: those over models, None unless several can be judged. `folders`: those of the sweeps among the sources; `looked`: sentences on runs that were added to them after a look.
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
    over: ModelsResult | None = None

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
    with_plots: bool | Finisher = True,
    with_documents: bool = True,
    seed: int = 0,
    labels: Sequence[str] = (),
    allow_different_prompts: bool = False,
) -> Report:
    """The report of runs that were read (with `keep=asked`, to show documents), or that lie under some paths.

    `rules` select runs and tasks, `sort` orders the rows of the tables. `labels` is for paths. `seed` is that of the resamples behind verdicts and bands.
    `with_plots`: whether to draw, or what finishes the figures.

    Raises:
        UsageError: nothing to read, no dense run, mixed items, prompts or task versions, an unknown column or rule.
    """
    if isinstance(runs, Runs):
        read, sources = runs, tuple(dict.fromkeys(runs.sources.values()))
    else:
        read = read_runs(list(runs), labels=labels, keep=AskedOnce() if with_documents else None)
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
    boards = leaderboards(items, by, metric, bits, allow_different_prompts=allow, noise=read.noise, **order)
    finisher = with_plots if isinstance(with_plots, Finisher) else Finisher()
    not_drawn = _draw_scores(finisher, items, bits, metric, seed, allow) if with_plots else []
    warnings = [*read.warnings, *noted]
    shown = set(items["run"].unique())
    listed = read.runs[read.runs["run"].isin(shown)].reset_index(drop=True)
    selected = _selected(read, items, listed)
    over = _over(selected, metric, seed, allow, warnings) if with_fit else None
    fits = tuple(over.results.values()) if over else ()
    if with_fit and over is None:
        fits = tuple(_fits(selected, metric, seed, allow, warnings))
    warnings[:0] = [sentence for one in fits for sentence in one.guesses]
    warnings += not_drawn
    if with_plots:
        _draw_fits(finisher, items, fits, over)
    shown_documents = documents(items, read) if with_documents else Documents()
    manifests = {run: block for run, block in read.manifests.items() if run in shown and block}
    folders = tuple(folders_of(read.tasks.values()))
    return Report(
        items,
        listed,
        boards,
        fits,
        _in_order(finisher.plots(), list(_endings(items).values())),
        shown_documents,
        manifests,
        tuple(dict.fromkeys(warnings)),
        sources,
        metric,
        folders,
        tuple(sentence for folder in folders for sentence in added_after_look(folder)),
        over,
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


def _selected(read: Runs, items: pd.DataFrame, listed: pd.DataFrame) -> Runs:
    """The runs, tasks and items that are shown, with all that is known of them."""
    runs, tasks = set(listed["run"]), set(items["task"].unique())
    return replace(
        read,
        table=items,
        runs=listed,
        manifests={run: block for run, block in read.manifests.items() if run in runs},
        tasks={key: facts for key, facts in read.tasks.items() if key[0] in runs and key[1] in tasks},
        kept={},
        sources={run: source for run, source in read.sources.items() if run in runs},
    )


def _over(read: Runs, metric: str | None, seed: int, allow: bool, warnings: list[str]) -> ModelsResult | None:
    """The verdicts over models, with each one's; None where there is one, or where the warnings tell why there are none."""
    if not own_dense_runs(read.table):
        return None
    try:
        return fit_models(read, metric=metric, seed=seed, allow_different_prompts=allow)
    except UsageError as error:
        warnings.append(f"no verdicts over models: {error}")
        return None


def _fits(read: Runs, metric: str | None, seed: int, allow: bool, warnings: list[str]) -> list[FitResult]:
    """The verdicts on each model; one that cannot be judged is told in the warnings."""
    found = []
    for model in read.table["model"].unique():
        try:
            found.append(
                fit(of_model(read, str(model)), metric=metric, seed=seed, allow_different_prompts=allow)
            )
        except UsageError as error:
            warnings.append(f"no verdicts on {model}: {error}")
    return found


def _draw_scores(
    finisher: Finisher,
    items: pd.DataFrame,
    bits: dict[str, float],
    metric: str | None,
    seed: int,
    allow: bool,
) -> list[str]:
    """Draw the scores of each model; a sentence on each that has no plots."""
    missing = []
    for model, ending in _endings(items).items():
        part = items[items["model"] == model]
        if part["run"].nunique() < 2:
            missing.append(f"no plots of {model}: there is only its dense run.")
            continue
        try:
            found = figures(measure(part, bits, model, metric, seed, allow))
        except UsageError as error:
            missing.append(f"no plots of {model}: {error}")
            continue
        for name, figure in found:
            finisher.add(name + ending, figure)
    return missing


def _draw_fits(
    finisher: Finisher, items: pd.DataFrame, fits: Sequence[FitResult], over: ModelsResult | None
) -> None:
    """Draw the verdicts over models, and of each model with more than its dense run."""
    if over is not None and (figure := _forest_of_models(over)) is not None:
        finisher.add(_OVER_MODELS, figure)
    endings = _endings(items)
    for fit_of in fits:
        if items.loc[items["model"] == fit_of.model, "run"].nunique() < 2:
            continue
        for name, figure in figures_of_fit(fit_of):
            finisher.add(name + endings[fit_of.model], figure)
        if (figure := _forest_of_families(fit_of)) is not None:
            finisher.add(_OF_FAMILIES + endings[fit_of.model], figure)


def _endings(items: pd.DataFrame) -> dict[str, str]:
    """Model -> what its plots' names end in: its number, where there are several models."""
    models = [str(name) for name in items["model"].unique()]
    return {model: f"_{number}" if len(models) > 1 else "" for number, model in enumerate(models, 1)}


def _in_order(plots: Mapping[str, Plot], endings: Sequence[str]) -> tuple[Plot, ...]:
    """Over models first, then model by model, each in the order of `ORDER`."""
    names = [_OVER_MODELS, *(name + ending for ending in endings for name in (*ORDER, _OF_FAMILIES))]
    return tuple(plots[name] for name in names if name in plots)


def _forest_of_models(over: ModelsResult) -> Figure | None:
    heading = f"Effects on {over.title} and their mean, intervals 95 %"
    heading += ", from the smallest model to the largest" if len(set(over.sizes.values())) > 1 else ""
    return forest(over_models(over), heading)


def _forest_of_families(fit: FitResult) -> Figure | None:
    heading = f"Effects in each family and their mean, intervals 95 %: {shorten(fit.model, 60)}, {fit.n_items:,} items"
    return forest(over_families(fit), heading)
