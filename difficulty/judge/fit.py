"""From a tidy table to verdicts: `fit(table)` computes everything that reports show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from difficulty.errors import UsageError, did_you_mean
from difficulty.judge.cells import cell_table, critical_table
from difficulty.judge.claims.context import Context, make_context
from difficulty.judge.claims.critical import judge_critical
from difficulty.judge.claims.interaction import judge_interaction
from difficulty.judge.claims.memory import judge_memory
from difficulty.judge.claims.monotone import judge_monotone
from difficulty.judge.claims.recovery import judge_recovery
from difficulty.judge.draws import draw
from difficulty.judge.guess import require_no_rivals
from difficulty.judge.panel import Panel, build_panel
from difficulty.judge.series import Series, conditions
from difficulty.judge.verdicts import CLAIMS, Claim, Rules, not_tested
from difficulty.runs.read import Runs
from difficulty.runs.same import (
    different_settings,
    different_versions,
    require_same,
    tasks_without_prompts,
    versions_of,
)
from difficulty.runs.table import DENSE, some, validate

N_RESAMPLES = 2000


@dataclass(frozen=True)
class Settings:
    """How the fit was made."""

    n_resamples: int
    seed: int
    metric: str | None
    baseline: str | None
    allow_missing: bool
    claims: tuple[str, ...]


@dataclass(frozen=True)
class FitResult:
    """Verdicts and the numbers beneath them.

    `claims`: headline first, then by method and family. `cells`: see `difficulty.judge.cells.COLUMNS`. `critical`: critical
    levels by tier. `excluded`: sentences on tiers that take no part. `warnings`: sentences for the reader. `guesses`: those of
    them that say that the dense run is a guess, on which all verdicts stand.
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

    def headline(self) -> dict[str, Claim]:
        """The pooled claim of the primary method, by name: P1 .. P5."""
        found: dict[str, Claim] = {}
        for claim in self.claims:
            if claim.scope.headline:
                found.setdefault(claim.claim, claim)
        return found


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
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> FitResult:
    """Judge the claims on a tidy table (or on `read_runs(...)`), the same table and seed giving the same numbers.

    `runs` is the runs table, whose `effective_bits` are used. `claims` limits the judgement, e.g. ("P1",).

    Raises:
        UsageError: the table cannot be judged; the sentence says why and what to do.
    """
    rules = rules or Rules()
    wanted = _wanted(claims)
    if n_resamples < 100:
        raise UsageError(
            f"n-resamples={n_resamples} is too few for intervals. Use 100 or more, 2000 by default."
        )
    warnings: list[str] = []
    settings = None
    if isinstance(table, Runs):
        asked = {run: table.settings(run) for run in table.names}
        settings = different_settings(asked, tasks_without_prompts(table.table))
        runs = table.runs if runs is None else runs
        warnings.extend(table.warnings)
        table = table.table
    table = _some_families(validate(table), families)
    panel = build_panel(table, model, baseline, metric, allow_missing, allow_different_prompts)
    guesses = require_no_rivals(panel, runs)
    versions = {run: v for run, v in versions_of(runs).items() if run in set(panel.runs["run"])}
    warnings.extend(require_same([different_versions(versions), settings], allow_different_prompts))
    known = _effective_bits(runs)
    context, judged = judge_panel(panel, rules, known, wanted, n_resamples, seed)
    warnings.extend(panel.warnings)
    warnings.extend(_remarks(context, known))
    return FitResult(
        model=panel.model,
        dense=str(panel.runs["run"].iloc[0]),
        primary=context.primary,
        metrics=panel.metrics,
        claims=tuple(judged),
        cells=cell_table(context),
        critical=critical_table(context),
        excluded=tuple(_excluded(context)),
        warnings=tuple(dict.fromkeys((*guesses, *warnings))),
        rules=rules,
        settings=Settings(n_resamples, seed, metric, baseline, allow_missing, wanted),
        n_rows=panel.n_rows,
        n_items=len(panel.items),
        n_clusters=int(panel.items["cluster_id"].nunique()),
        guesses=guesses,
    )


def judge_panel(
    panel: Panel,
    rules: Rules,
    effective_bits: Mapping[str, float],
    claims: tuple[str, ...] = CLAIMS,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
    cross_checks: bool = True,
) -> tuple[Context, list[Claim]]:
    """The claims on a panel, and what they were computed from; for simulations that make panels and no tables.

    Raises:
        UsageError: no claim could be judged.
    """
    rng = np.random.default_rng(seed)
    found = conditions(panel.runs, effective_bits)
    context = make_context(panel, draw(panel, found, n_resamples, rng), rules)
    _judgeable(context, claims)
    return context, _judge(context, claims, n_resamples if cross_checks else 0, rng)


def _wanted(claims: Iterable[str] | None) -> tuple[str, ...]:
    if claims is None:
        return CLAIMS
    names = tuple(dict.fromkeys(name.strip().upper() for name in claims))
    for name in names:
        if name not in CLAIMS:
            raise UsageError(f"there is no claim {name!r}. Claims: {', '.join(CLAIMS)}.")
    return names


def _some_families(table: pd.DataFrame, families: Iterable[str] | None) -> pd.DataFrame:
    if families is None:
        return table
    present = sorted(table["family"].unique())
    names = list(families)
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


def _judgeable(context: Context, wanted: tuple[str, ...]) -> None:
    """Refuse what no claim asked for could be judged on.

    Raises:
        UsageError: only dense runs, one level where several are needed, or one tier where tiers are compared.
    """
    if not context.series and not any(c.kind == "recovered" for c in context.draws.conditions):
        raise UsageError(
            f"there is only the dense run of {context.panel.model!r}. Add runs of a pruned or quantized model to compare with it."
        )
    tiers: dict[str, int] = {}
    for cell in context.draws.cells:
        tiers[cell.family] = tiers.get(cell.family, 0) + 1
    if max(tiers.values()) < 2 and set(wanted) - {"P1"}:
        raise UsageError(
            f"every family has one tier ({', '.join(tiers)}), so that nothing can be compared by difficulty. Make tiers with "
            "junkdna tiers build, or judge the decline alone with --claims P1."
        )
    levels = [len(series.at) for series in context.series]
    if levels and max(levels) < 2 and set(wanted) & {"P1", "P3"}:
        level = context.series[0].levels[0]
        raise UsageError(
            f"there is a single level beside dense ({context.series[0].method} {level:g}), and P1 and P3 need several. Add "
            "levels, or judge the others with --claims P2."
        )


def _judge(
    context: Context, wanted: tuple[str, ...], n_shuffles: int, rng: np.random.Generator
) -> list[Claim]:
    judged: list[Claim] = []
    for series in context.series:
        several = len(series.at) > 1
        if "P1" in wanted and several:
            judged += judge_monotone(context, series)
        if "P2" in wanted:
            judged += judge_interaction(context, series, n_shuffles, rng)
        if "P3" in wanted and several:
            judged += judge_critical(context, series)
        if "P4" in wanted and series.kind == "pruned":
            judged += _memory(context, series)
    if "P5" in wanted:
        judged += judge_recovery(context)
    there = {claim.claim for claim in judged if claim.scope.headline}
    judged += [not_tested(name, context.primary, _why_not(context)) for name in wanted if name not in there]
    return sorted(judged, key=lambda c: (c.claim, not c.scope.headline))


def _memory(context: Context, series: Series) -> list[Claim]:
    """P4 of the primary method; of others only where there is something to compare with."""
    claims = judge_memory(context, series)
    return claims if series.method == context.primary else [c for c in claims if c.verdict != "not tested"]


def _why_not(context: Context) -> str:
    if not context.takes_part.any():
        return "in no tier is the dense model shown to be above chance."
    if not any(series.kind == "pruned" for series in context.series):
        return "there are no pruned runs."
    return "too few levels, or no family has two tiers in which the dense model is above chance."


def _excluded(context: Context) -> list[str]:
    sentences = []
    for i, cell in enumerate(context.draws.cells):
        score = context.draws.score[0, i, 0]
        if not context.takes_part[i]:
            sentences.append(
                f"{cell.family} tier {cell.tier} takes no part: the dense score {score:.3f} is not shown to be above chance "
                f"({cell.chance:.3f}) on {cell.n_items} items."
            )
        elif context.ceiling[i]:
            sentences.append(
                f"{cell.family} tier {cell.tier} takes no part in P2 to P5: the dense score {score:.3f} is at the ceiling and no "
                "margins were logged, so that its latent position is unknown."
            )
    return sentences


def _remarks(context: Context, known: Mapping[str, float]) -> list[str]:
    remarks = []
    for family in sorted(context.self_cut):
        remarks.append(
            f"the tiers of {family!r} seem to be cut from the scores of the very dense run that is judged: P2, P3 and P5 are "
            "not judged on them (regression to the mean)."
        )
    dense_axes = sorted(
        {c.family for c in context.draws.cells if c.axis.startswith("dense_")} - context.self_cut
    )
    if dense_axes:
        remarks.append(
            f"the tiers of {', '.join(dense_axes)} come from a dense model's scores: unless they were cross-fitted or come from "
            "another model, luck in those scores passes for difficulty."
        )
    runs = context.panel.runs
    unknown = runs.loc[~runs["dense"] & (runs["method"] == DENSE), "run"]
    if len(unknown):
        remarks.append(
            f"{some(unknown)} say nothing of method and level and are left out. Evaluate pruned checkpoints with --model "
            "junkdna-pruned --model_args method=none,pretrained=..., which measures their sparsity."
        )
    quantized = [c for c in context.draws.conditions if c.kind == "quantized"]
    if any(str(runs["run"].iloc[c.columns[0]]) not in known for c in quantized):
        remarks.append(
            "effective bits are not in the runs table: nominal bits are used for quantization, and 16 for each kept weight plus "
            "1 for the mask for pruning."
        )
    return remarks
