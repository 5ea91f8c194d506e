"""From a tidy table to verdicts: `fit(table)` computes everything that reports show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from difficulty.errors import UsageError, did_you_mean
from difficulty.judge.budgets import BudgetCurve
from difficulty.judge.drawn import common_replicates
from difficulty.judge.guess import require_no_rivals
from difficulty.judge.judgement import N_RESAMPLES, Judgement, judge_panel
from difficulty.judge.panel import Panel, build_panel, one_axis
from difficulty.judge.series import conditions, series_of
from difficulty.judge.verdicts import CLAIMS, Claim, Hypothesis, Rules, hypothesis
from difficulty.runs.noise import NoiseFloor, mark
from difficulty.runs.provenance import cut_from
from difficulty.runs.read import Runs
from difficulty.runs.same import (
    different_settings,
    different_versions,
    require_same,
    tasks_without_prompts,
    versions_of,
)
from difficulty.runs.table import DENSE, MATCHED, some, validate
from difficulty.runs.trained import trained_runs


@dataclass(frozen=True)
class Settings:
    """How the fit was made. `n_drawn`: resamples drawn, which are more than `n_resamples` where p must resolve more families."""

    n_resamples: int
    n_drawn: int
    seed: int
    metric: str | None
    baseline: str | None
    allow_missing: bool
    claims: tuple[str, ...]
    margins: bool = True


@dataclass(frozen=True, repr=False)
class FitResult:
    """Verdicts and the numbers beneath them; printed, it shows the hypothesis and a line per claim.

    `claims`: headline first, then by method and family. `cells`: see
    `difficulty.judge.cells.COLUMNS`. `critical`: critical levels by tier. `excluded`: sentences on tiers that take no part.
    `warnings`: sentences for the reader. `guesses`: those of them that say that the dense run is a guess, on which all
    verdicts stand. `budgets`: what training gave back, by its number of steps.
    """

    model: str
    dense: str
    primary: str
    metrics: tuple[str, ...]
    claims: tuple[Claim, ...]
    cells: pd.DataFrame = field(repr=False)
    critical: pd.DataFrame = field(repr=False)
    excluded: tuple[str, ...]
    warnings: tuple[str, ...]
    rules: Rules
    settings: Settings
    n_rows: int
    n_items: int
    n_clusters: int
    guesses: tuple[str, ...] = ()
    budgets: tuple[BudgetCurve, ...] = field(default=(), repr=False)

    @property
    def hypothesis(self) -> Hypothesis:
        """The verdict on the whole, from P2 and P6."""
        return hypothesis(self.headline())

    def headline(self) -> dict[str, Claim]:
        """The pooled claim of the primary method, by name: P1 .. P6."""
        found: dict[str, Claim] = {}
        for claim in self.claims:
            if claim.scope.headline:
                found.setdefault(claim.claim, claim)
        return found

    def __repr__(self) -> str:
        asked = f"{self.model}, {self.n_items:,} items in {self.n_clusters:,} clusters"
        return "\n".join((asked, str(self.hypothesis), *map(str, self.headline().values())))


def fit(
    table: pd.DataFrame | Runs,
    runs: pd.DataFrame | None = None,
    *,
    rules: Rules | None = None,
    model: str | None = None,
    baseline: str | None = None,
    metric: str | None = None,
    families: Iterable[str] | None = None,
    claims: Iterable[str] | None = None,
    allow_missing: bool = False,
    allow_different_prompts: bool = False,
    margins: bool = True,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> FitResult:
    """Judge the claims on a tidy table (or on `read_runs(...)`), the same table and seed giving the same numbers.

    `runs` is the runs table, whose `effective_bits` and `matched` are used. `claims` limits the judgement, e.g. ("P1",).
    `margins=False` judges by accuracy alone.

    Raises:
        UsageError: the table cannot be judged; the sentence says why and what to do.

    Losses are in log-odds or as shares, as each claim says; the formulas and their sources are in docs/statistics.md.

    Examples:
        >>> from difficulty.simulate.draw import tidy
        >>> from difficulty.simulate.world import World
        >>> result = fit(tidy(World(), seed=0), claims=["P1"], n_resamples=100)
        >>> {claim.claim for claim in result.claims}
        {'P1'}
    """
    rules = rules or Rules()
    wanted = _wanted(claims)
    if n_resamples < 100:
        raise UsageError(
            f"n-resamples={n_resamples} is too few for intervals. Use 100 or more, 2000 by default."
        )
    warnings: list[str] = []
    settings = None
    noise: Mapping[str, NoiseFloor] = {}
    if isinstance(table, Runs):
        noise = table.noise
        asked = {run: table.settings(run) for run in table.names}
        settings = different_settings(asked, tasks_without_prompts(table.table))
        runs = table.runs if runs is None else runs
        warnings.extend(table.warnings)
        table = table.table
    table = _some_families(validate(table), families)
    panel = build_panel(table, model, baseline, metric, allow_missing, allow_different_prompts, margins)
    panel = _with_matched(panel, runs)
    guesses = require_no_rivals(panel, runs)
    versions = {run: v for run, v in versions_of(runs).items() if run in set(panel.runs["run"])}
    warnings.extend(require_same([different_versions(versions), settings], allow_different_prompts))
    known = _effective_bits(runs)
    _judgeable(panel, known, wanted)
    own = {
        family: ids[0]
        for family, ids in cut_from(one_axis(table[table["run"].isin(set(panel.runs["run"]))]), runs).items()
    }
    judged, found = judge_panel(
        panel, rules, known, wanted, n_resamples, seed, cut_from=own, trained=trained_runs(runs)
    )
    warnings.extend(panel.warnings)
    warnings.extend(_remarks(judged, known))
    return FitResult(
        model=panel.model,
        dense=str(panel.runs["run"].iloc[0]),
        primary=judged.primary,
        metrics=panel.metrics,
        claims=tuple(found),
        cells=judged.cells.assign(within_noise=mark(judged.cells, noise.get(panel.model), metric)),
        critical=judged.critical,
        excluded=judged.excluded,
        warnings=tuple(dict.fromkeys((*guesses, *warnings))),
        rules=rules,
        settings=Settings(
            n_resamples, judged.n_resamples, seed, metric, baseline, allow_missing, wanted, margins
        ),
        n_rows=panel.n_rows,
        n_items=len(panel.items),
        n_clusters=int(panel.items["cluster_id"].nunique()),
        guesses=guesses,
        budgets=judged.budgets,
    )


def _with_matched(panel: Panel, runs: pd.DataFrame | None) -> Panel:
    """The panel with what the runs table says of levels that were chosen by their loss."""
    if runs is None or MATCHED not in runs:
        return panel
    known = dict(zip(runs["run"].astype(str), runs[MATCHED].fillna(False).astype(bool), strict=True))
    said = panel.runs["run"].astype(str).map(known).fillna(False).astype(bool)
    return replace(panel, runs=panel.runs.assign(**{MATCHED: said}))


def _wanted(claims: Iterable[str] | None) -> tuple[str, ...]:
    if claims is None:
        return CLAIMS
    known = {name.casefold(): name for name in CLAIMS}
    names = list(dict.fromkeys(name.strip().casefold() for name in claims))
    if not names:
        raise UsageError(f"no claim is asked for. Claims: {', '.join(CLAIMS)}; all without --claims.")
    for name in names:
        if name not in known:
            raise UsageError(f"there is no claim {name.upper()!r}. Claims: {', '.join(CLAIMS)}.")
    return tuple(known[name] for name in names)


def _some_families(table: pd.DataFrame, families: Iterable[str] | None) -> pd.DataFrame:
    if families is None:
        return table
    present = sorted(table["family"].unique())
    names = list(families)
    if not names:
        raise UsageError(f"no family is asked for. Families: {', '.join(present)}; all without --family.")
    for name in names:
        if name not in present:
            raise UsageError(
                f"there is no family {name!r}.{did_you_mean(name, present)} Families: {', '.join(present)}."
            )
    return table[table["family"].isin(names)]


def _effective_bits(runs: pd.DataFrame | None) -> dict[str, float]:
    if runs is None or "effective_bits" not in runs:
        return {}
    bits = pd.to_numeric(runs["effective_bits"], errors="coerce")
    return {str(run): float(b) for run, b in zip(runs["run"], bits, strict=True) if np.isfinite(b)}


def _judgeable(panel: Panel, known: Mapping[str, float], wanted: tuple[str, ...]) -> None:
    """Refuse what no claim asked for could be judged on.

    Raises:
        UsageError: only dense runs, one level where several are needed, or one tier where tiers are compared.
    """
    found = conditions(panel.runs, known)
    series = series_of(found)
    if not series and not any(c.kind == "recovered" for c in found):
        raise UsageError(
            f"there is only the dense run of {panel.model!r}. Add runs of a pruned or quantized model to compare with it."
        )
    tiers = panel.items.groupby("family")["tier"].nunique()
    if tiers.max() < 2 and set(wanted) - {"P1"}:
        raise UsageError(
            f"every family has one tier ({some([str(name) for name in tiers.index])}), so that nothing can be compared by "
            "difficulty. Make tiers with junkdna tiers build, or judge the decline alone with --claims P1."
        )
    levels = [len(one.at) for one in series]
    if levels and max(levels) < 2 and set(wanted) & {"P1", "P3"}:
        raise UsageError(
            f"there is a single level beside dense ({series[0].method} {series[0].levels[0]:g}), and P1 and P3 need several. Add "
            "levels, or judge the others with --claims P2."
        )


def _remarks(judged: Judgement, known: Mapping[str, float]) -> list[str]:
    remarks = []
    for family, run in sorted(judged.cut_by.items()):
        remarks.append(
            f"the tiers of {family!r} {'were' if family in judged.setting.cut_from else 'seem to be'} cut from the scores of {run!r}, a "
            "run that is judged: P2 to P6 are not judged on them (regression to the mean)."
        )
    panel = judged.setting.panel
    dense_axes = sorted(
        set(panel.items.loc[panel.items["axis"].str.startswith("dense_"), "family"]) - set(judged.cut_by)
    )
    if dense_axes:
        remarks.append(
            f"the tiers of {', '.join(dense_axes)} come from a dense model's scores: unless they were cross-fitted or come from "
            "another model, luck in those scores passes for difficulty."
        )
    runs = panel.runs
    unknown = runs.loc[~runs["dense"] & (runs["method"] == DENSE), "run"]
    if len(unknown):
        remarks.append(
            f"{some(unknown)} say nothing of method and level and are left out. Evaluate pruned checkpoints with --model "
            "junkdna-pruned --model_args method=none,pretrained=..., which measures their sparsity."
        )
    quantized = [c for c in judged.setting.conditions if c.kind == "quantized"]
    if any(str(runs["run"].iloc[c.columns[0]]) not in known for c in quantized):
        remarks.append(
            "effective bits are not in the runs table: nominal bits are used for quantization, and 16 for each kept weight plus "
            "1 for the mask for pruning."
        )
    remarks.extend(_unequal(judged))
    return remarks


def _unequal(judged: Judgement) -> list[str]:
    """A sentence on each method whose levels have other replicates than one another."""
    found = []
    recovered = series_of(list(judged.setting.conditions), ("recovered",))
    for series in (*judged.setting.series, *recovered):
        own = [judged.setting.conditions[k] for k in series.at]
        if len({c.replicates for c in own}) > 1:
            common = common_replicates(own)
            counts = ", ".join(
                f"{level:g}: {len(c.columns)}" for level, c in zip(series.levels, own, strict=True)
            )
            found.append(
                f"the levels of {series.method} have unequal numbers of replicates ({counts}): means are over all of them, and the "
                + (
                    f"spread between replicates is that of the {common} which all levels have."
                    if common > 1
                    else "spread between replicates is unknown."
                )
            )
    return found
