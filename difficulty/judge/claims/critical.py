"""P3: the critical sparsity, up to which the loss stays small, falls with the tier."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from difficulty.judge.claims.context import Context
from difficulty.judge.claims.shared import (
    REGRESSION,
    both_scales,
    judged,
    ordered,
    pooled_scales,
    too_few_tiers,
)
from difficulty.judge.estimates import tier_slope
from difficulty.judge.series import Series
from difficulty.judge.verdicts import Claim, Evidence, Rules
from difficulty.stats.bootstrap import interval
from difficulty.stats.isotonic import crossing, isotonic
from difficulty.stats.result import Floats

UNIT = "fall of the critical level a tier (latent)"
SCORE_UNIT = "fall of the critical level a tier (score)"


@dataclass(frozen=True)
class Critical:
    """Critical levels of the cells of one family. `latent` (n_links, 1 + B, n_cells), `observed` (1 + B, n_cells)."""

    cells: tuple[int, ...]
    latent: Floats = field(repr=False)
    observed: Floats = field(repr=False)
    censored: tuple[bool, ...]  # latent loss never passes its mark within the levels
    by_interval: tuple[float, ...]  # highest level up to which the score loss is shown to be below delta


def rule(rules: Rules) -> str:
    """The rule of P3 in words."""
    return (
        f"critical level: where the isotonic fit of the loss passes {rules.delta:g} of accuracy (observed) and "
        f"{rules.delta_latent:g} log-odds (latent), by interpolation; fall = minus its slope on the tier; supported: "
        f"p < {rules.alpha:g}, both falls above 0, the latent interval not wholly below {rules.delta_level:g}; refuted: latent "
        f"interval wholly below {rules.delta_level:g}, with every tier passing its mark; else inconclusive"
    )


def critical_levels(context: Context, series: Series, cells: tuple[int, ...]) -> Critical:
    """The critical level of each cell under one method."""
    draws, rules = context.draws, context.rules
    levels = np.array([0.0, *series.levels])
    at = [0, *series.at]
    score = draws.score[:, cells][:, :, :1] - draws.score[:, cells][:, :, at]
    latent = draws.latent[:, :, cells][..., :1] - draws.latent[:, :, cells][..., at]
    observed = crossing(levels, isotonic(score), rules.delta)
    curves = isotonic(latent)
    shown = []
    for position, i in enumerate(cells):
        # one-sided test at alpha, so the interval leaves out alpha on either side
        high = interval(score[:, position], draws.cells[i].n_clusters, 1 - 2 * rules.alpha)[1]
        small = np.logical_and.accumulate(high < rules.delta)
        shown.append(float(levels[small.sum() - 1]) if small[0] else 0.0)
    censored = tuple(bool(v) for v in (curves[0, 0, :, -1] <= rules.delta_latent))
    return Critical(cells, crossing(levels, curves, rules.delta_latent), observed, censored, tuple(shown))


def judge_critical(context: Context, series: Series) -> list[Claim]:
    """P3 for each family with two tiers that may take part, and pooled."""
    groups = context.groups()
    if not groups:
        return []
    found = {name: critical_levels(context, series, cells) for name, cells in groups.items()}
    evidence = [_pooled(context, series, found)]
    evidence += [_single(context, series, name, critical) for name, critical in found.items()]
    claims = judged(context, evidence, context.rules.delta_level, SCORE_UNIT, rule(context.rules))
    return ordered(
        [_not_by_censoring(claim) for claim in claims] + too_few_tiers("P3", series.method, context, groups)
    )


def _falls(context: Context, critical: Critical) -> tuple[Floats, Floats]:
    slope = tier_slope(context.draws, critical.latent, critical.cells)
    return -slope, -tier_slope(context.draws, critical.observed, critical.cells)


def _single(context: Context, series: Series, family: str, critical: Critical) -> Evidence:
    blocked = REGRESSION if family in context.self_cut else ""
    if all(critical.censored):
        blocked = f"no tier loses {context.rules.delta_latent:g} log-odds within the levels."
    tiers = [
        {
            "tier": context.draws.cells[i].tier,
            "observed": float(critical.observed[0, n]),
            "latent": float(critical.latent[0, 0, n]),
            "latent_censored": critical.censored[n],
            "shown_below_delta_up_to": critical.by_interval[n],
        }
        for n, i in enumerate(critical.cells)
    ]
    details: dict[str, Any] = {"tiers": tiers, "n_censored": sum(critical.censored)}
    scales = both_scales(context, critical.cells, *_falls(context, critical))
    scope = context.scope(series.method, family)
    return Evidence("P3", scope, UNIT, **scales, blocked=blocked, details=details)


def _pooled(context: Context, series: Series, found: dict[str, Critical]) -> Evidence:
    scope = context.scope(series.method)
    usable = {n: c for n, c in found.items() if n not in context.self_cut and not all(c.censored)}
    if not usable:
        blocked = (
            REGRESSION if context.self_cut else "in no family does a tier pass its mark within the levels."
        )
        return Evidence("P3", scope, UNIT, blocked=blocked)
    falls = [_falls(context, critical) for critical in usable.values()]
    cells = [i for critical in usable.values() for i in critical.cells]
    above = [float(latent[0, 0]) > 0 for latent, _ in falls]
    few = sum(above) < 2 / 3 * len(above)
    details = {
        "families": {n: float(latent[0, 0]) for n, (latent, _) in zip(usable, falls, strict=True)},
        "families_left_out": sorted(set(context.draws.families) - set(usable)),
        "n_censored": sum(sum(critical.censored) for critical in usable.values()),
    }
    return Evidence(
        "P3", scope, UNIT, **pooled_scales(context, cells, falls),
        against=f"only {sum(above)} of {len(above)} families have a fall above 0." if few else "",
        details=details,
    )  # fmt: skip


def _not_by_censoring(claim: Claim) -> Claim:
    """A tier that never passes its mark hides how far apart the tiers are: that cannot refute."""
    n = int(claim.details.get("n_censored", 0))
    if claim.verdict != "refuted" or n == 0 or (claim.ci_high is not None and claim.ci_high < 0):
        return claim
    reason = f"{n} tiers never pass their mark within the levels, so that the fall is only known to be small up to there."
    return replace(claim, verdict="inconclusive", reason=reason)
