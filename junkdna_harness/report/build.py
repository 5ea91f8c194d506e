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
from difficulty.runs.table import DENSE, MATCHED
from junkdna_harness.report.divergence import Divergence, divergences_in, is_divergence, read_divergences
from junkdna_harness.report.drawing import Drawing
from junkdna_harness.report.figures import Finisher
from junkdna_harness.report.leaderboard import Leaderboard, leaderboards
from junkdna_harness.report.options import Options
from junkdna_harness.report.select import select

if TYPE_CHECKING:
    import pandas as pd

    from difficulty.judge.fit import FitResult
    from difficulty.judge.over_models import ModelsResult
    from junkdna_harness.report.figures import Plot

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
    options: Options
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
    `with_plots`: whether to draw, or what finishes the figures. A path may be what `junkdna fidelity --json` wrote, which is drawn.

    Raises:
        UsageError: nothing to read, no dense run, mixed items, prompts or task versions, an unknown column or rule.
    """
    options = Options(tuple(sort), tuple(rules), tuple(labels), metric, seed, allow_different_prompts)
    read, sources, divergences = _read(runs, options, with_documents)
    settings = different_settings(
        {run: read.settings(run) for run in read.names}, tasks_without_prompts(read.table)
    )
    noted = require_same([different_versions(versions_of(read.runs)), settings], allow_different_prompts)
    bits = _known_bits(read)
    items = select(_with_bits(read.table, bits), rules)
    _require_dense(items)
    order = {"sort": list(sort)} if sort else {}
    boards = leaderboards(
        items, by, metric, bits, allow_different_prompts=allow_different_prompts, noise=read.noise, **order
    )
    finisher = with_plots if isinstance(with_plots, Finisher) else Finisher()
    drawing = Drawing(finisher, items) if with_plots else None
    warnings = [*read.warnings, *noted]
    not_drawn = drawing.scores(bits, _matched(read), options) if drawing else []
    selected = _selected(read, items)
    over, fits = _judged(selected, options, warnings) if with_fit else (None, ())
    warnings[:0] = [sentence for one in fits for sentence in one.guesses]
    warnings += not_drawn
    if drawing:
        drawing.fits(fits, over)
        drawing.divergences(divergences)
    shown = set(selected.names)
    folders = tuple(folders_of(read.tasks.values()))
    return Report(
        items,
        selected.runs,
        boards,
        fits,
        drawing.plots() if drawing else (),
        documents(items, read) if with_documents else Documents(),
        {run: block for run, block in read.manifests.items() if run in shown and block},
        tuple(dict.fromkeys(warnings)),
        sources,
        options,
        folders,
        tuple(sentence for folder in folders for sentence in added_after_look(folder)),
        over,
    )


def _read(
    runs: Runs | Sequence[str | Path], options: Options, with_documents: bool
) -> tuple[Runs, tuple[str, ...], list[Divergence]]:
    """What was evaluated, where it lies, and the divergences on a text that lie there too or were named."""
    if isinstance(runs, Runs):
        return runs, tuple(dict.fromkeys(runs.sources.values())), []
    named = [path for path in map(Path, runs) if is_divergence(path)]
    others = [path for path in runs if Path(path) not in named]
    read = read_runs(others, labels=options.labels, keep=AskedOnce() if with_documents else None)
    beside = [file for path in map(Path, others) if path.is_dir() for file in divergences_in(path)]
    return read, tuple(map(str, runs)), [one for file in [*beside, *named] for one in read_divergences(file)]


def _known_bits(read: Runs) -> dict[str, float]:
    return {
        str(r): float(b)
        for r, b in zip(read.runs["run"], read.runs["effective_bits"], strict=True)
        if b is not None and b == b
    }


def _matched(read: Runs) -> list[str]:
    """The runs whose level was chosen by its loss."""
    if MATCHED not in read.runs:
        return []
    return [
        str(run) for run, chosen in zip(read.runs["run"], read.runs[MATCHED], strict=True) if chosen is True
    ]


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


def _selected(read: Runs, items: pd.DataFrame) -> Runs:
    """The runs, tasks and items that are shown, with all that is known of them."""
    runs, tasks = set(items["run"].unique()), set(items["task"].unique())
    return replace(
        read,
        table=items,
        runs=read.runs[read.runs["run"].isin(runs)].reset_index(drop=True),
        manifests={run: block for run, block in read.manifests.items() if run in runs},
        tasks={key: facts for key, facts in read.tasks.items() if key[0] in runs and key[1] in tasks},
        kept={},
        sources={run: source for run, source in read.sources.items() if run in runs},
    )


def _judged(
    read: Runs, options: Options, warnings: list[str]
) -> tuple[ModelsResult | None, tuple[FitResult, ...]]:
    """The verdicts over models, where there are any, and on each; the warnings tell why some are missing."""
    asked = options.metric, options.seed, options.allow_different_prompts
    over = _over(read, *asked, warnings)
    return (over, tuple(over.results.values())) if over else (None, tuple(_fits(read, *asked, warnings)))


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
