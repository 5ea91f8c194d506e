"""A report: everything that is shown, computed once, from which each format takes its part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from difficulty.errors import UsageError
from difficulty.judge.fit import fit
from difficulty.judge.over_models import fit_models, of_model, own_dense_runs
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
from junkdna_harness.report.forest import forest, over_families, over_models
from junkdna_harness.report.leaderboard import Leaderboard, leaderboard
from junkdna_harness.report.plots import plots, shorten
from junkdna_harness.report.select import select

if TYPE_CHECKING:
    import pandas as pd

    from difficulty.judge.fit import FitResult
    from difficulty.judge.over_models import ModelsResult
    from junkdna_harness.report.plots import Plot

DEFAULT_BY = ("tier", "family")


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
    shown = set(items["run"].unique())
    listed = read.runs[read.runs["run"].isin(shown)].reset_index(drop=True)
    selected = _selected(read, items, listed)
    over = _over(selected, metric, seed, allow, warnings) if with_fit else None
    fits = tuple(over.results.values()) if over else ()
    if with_fit and over is None:
        fits = tuple(_fits(selected, metric, seed, allow, warnings))
    warnings[:0] = [sentence for one in fits for sentence in one.guesses]
    pictures = tuple(_plots(items, bits, metric, seed, allow, fits, over, warnings)) if with_plots else ()
    shown_documents = documents(items, read) if with_documents else Documents({}, {})
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


def _plots(
    items: pd.DataFrame,
    bits: dict[str, float],
    metric: str | None,
    seed: int,
    allow: bool,
    fits: Sequence[FitResult],
    over: ModelsResult | None,
    warnings: list[str],
) -> list[Plot]:
    """The plots over models first, then those of each; where there are several models, their number is in the names."""
    models = [str(name) for name in items["model"].unique()]
    made = [] if over is None else _forest_of_models(over)
    for number, model in enumerate(models, 1):
        part = items[items["model"] == model]
        own: list[Plot] = []
        if part["run"].nunique() < 2:
            warnings.append(f"no plots of {model}: there is only its dense run.")
            continue
        judged = next((f for f in fits if f.model == model), None)
        try:
            own += plots(measure(part, bits, model, metric, seed, allow), judged)
        except UsageError as error:
            warnings.append(f"no plots of {model}: {error}")
        if judged is not None:
            own += _forest_of_families(judged)
        made += own if len(models) == 1 else [replace(one, name=f"{one.name}_{number}") for one in own]
    return made


def _forest_of_models(over: ModelsResult) -> list[Plot]:
    heading = f"Effects on {over.title} and their mean, intervals 95 %"
    heading += ", from the smallest model to the largest" if len(set(over.sizes.values())) > 1 else ""
    found = forest(over_models(over), heading, "forest_models")
    return [] if found is None else [found]


def _forest_of_families(fit: FitResult) -> list[Plot]:
    heading = f"Effects in each family and their mean, intervals 95 %: {shorten(fit.model, 60)}, {fit.n_items:,} items"
    found = forest(over_families(fit), heading, "forest_families")
    return [] if found is None else [found]
