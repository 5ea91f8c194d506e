"""P5: after recovery the harder tiers stay further behind a dense model that was trained as long."""

from __future__ import annotations

from typing import Any

import numpy as np

from difficulty.judge.claims.context import Context
from difficulty.judge.claims.shared import REGRESSION, both_scales, judged, one_scale, pooled_scales
from difficulty.judge.controls import (
    Control,
    control_method,
    control_of,
    recovered_from_pruned,
    untrained,
)
from difficulty.judge.estimates import tier_slope
from difficulty.judge.series import PRIMARY
from difficulty.judge.verdicts import Claim, Evidence, Rules, Scope, as_dict, not_tested
from difficulty.runs.identity import DENSE, SPARSE_TO_DENSE, SPARSE_TRANSFER, Method
from difficulty.stats.bootstrap import interval
from difficulty.stats.result import Estimate, Floats

UNIT = "log-odds of remaining gap a tier"
SCORE_UNIT = "accuracy of remaining gap a tier"
JUDGED_ARMS = (SPARSE_TRANSFER, SPARSE_TO_DENSE)  # the first one found gives the headline


def rule(rules: Rules) -> str:
    """The rule of P5 in words."""
    return (
        "gap = dense model trained as long minus recovered model, slope on the tier averaged over levels; supported: "
        f"p < {rules.alpha:g} and interval above 0 on the latent scale and on the score's own, latent interval not wholly below "
        f"{rules.delta_tier:g}, and the hardest tier still behind; refuted: latent interval wholly below {rules.delta_tier:g}; "
        "else inconclusive"
    )


def judge_recovery(context: Context) -> list[Claim]:
    """P5 for each way of recovery, or why it cannot be tested."""
    conditions = context.draws.conditions
    ways: dict[str, list[int]] = {}
    for k, condition in enumerate(conditions):
        if recovered_from_pruned(condition):
            ways.setdefault(condition.method, []).append(k)
    if not ways:
        frozen = any(c.kind == "recovered" and c.done.before.base != DENSE for c in conditions)
        reason = (
            "the only recovered runs are controls in which nothing was pruned."
            if frozen
            else "there are no recovered runs. Make some with junkdna recover."
        )
        return [not_tested("P5", context.primary, reason)]
    claims: list[Claim] = []
    for name in sorted(ways, key=lambda name: _rank(conditions[ways[name][0]].done, name)):
        done = conditions[ways[name][0]].done
        control = control_of(conditions, done)
        if control is None:
            reason = f"{name} has no dense model trained as long (method {control_method(done)}, level 0) to compare with."
            claims.append(not_tested("P5", name, reason))
        else:
            headline = not any(claim.scope.headline for claim in claims)
            claims += _judge_way(context, Scope(name, headline=headline), ways[name], control)
    return claims


def _rank(done: Method, name: str) -> tuple[bool, int, int, bool, bool, str]:
    """Magnitude first, then sparse training, one training before several, no adapter, all of the data."""
    last = done.recoveries[-1]
    arm = JUDGED_ARMS.index(last.arm) if last.arm in JUDGED_ARMS else len(JUDGED_ARMS)
    several = len(done.recoveries)
    adapter = any(r.adapter is not None for r in done.recoveries)
    share = any(r.share < 1 for r in done.recoveries)
    return done.before.base != PRIMARY, arm, several, adapter, share, name


def _judge_way(context: Context, scope: Scope, at: list[int], control: Control) -> list[Claim]:
    groups = context.groups()
    if not groups:
        return [not_tested("P5", scope.method, "no family has two tiers that may take part.")]
    usable = {n: cells for n, cells in groups.items() if n not in context.self_cut}
    evidence = [_pooled(context, scope, usable, at, control)]
    evidence += [_single(context, Scope(scope.method, n), cells, at, control) for n, cells in groups.items()]
    return judged(context, evidence, context.rules.delta_tier, SCORE_UNIT, rule(context.rules))


def _slopes(context: Context, cells: tuple[int, ...], at: list[int], control: int) -> tuple[Floats, Floats]:
    """Slope of the remaining gap on the tier, averaged over levels: latent (links, 1 + B) and observed (1 + B,)."""
    draws = context.draws
    latent = draws.latent[:, :, cells][..., [control]] - draws.latent[:, :, cells][..., at]
    score = draws.score[:, cells][..., [control]] - draws.score[:, cells][..., at]
    return tier_slope(draws, latent.mean(axis=-1), cells), tier_slope(draws, score.mean(axis=-1), cells)


def _single(
    context: Context, scope: Scope, cells: tuple[int, ...], at: list[int], control: Control
) -> Evidence:
    hardest = _hardest(context, [cells], at, control.at)
    details = {"levels": _by_level(context, cells, at, control.at), "hardest_tier_gap": as_dict(hardest)}
    return Evidence(
        "P5", scope, UNIT, **both_scales(context, cells, *_slopes(context, cells, at, control.at)),
        blocked=REGRESSION if scope.family in context.self_cut else "",
        against="" if hardest.ci_low > 0 else "the hardest tier is not shown to be behind any more.",
        remark=control.remark, details=details,
    )  # fmt: skip


def _pooled(
    context: Context, scope: Scope, groups: dict[str, tuple[int, ...]], at: list[int], control: Control
) -> Evidence:
    if not groups:
        return Evidence("P5", scope, UNIT, blocked=REGRESSION)
    slopes = [_slopes(context, cells, at, control.at) for cells in groups.values()]
    hardest = _hardest(context, list(groups.values()), at, control.at)
    details = {
        "families": {n: float(s[0][0, 0]) for n, s in zip(groups, slopes, strict=True)},
        "hardest_tier_gap": as_dict(hardest),
    }
    return Evidence(
        "P5", scope, UNIT, **pooled_scales(context, [i for cells in groups.values() for i in cells], slopes),
        against="" if hardest.ci_low > 0 else "the hardest tiers are not shown to be behind any more.",
        remark=control.remark, details=details,
    )  # fmt: skip


def _hardest(context: Context, groups: list[tuple[int, ...]], at: list[int], control: int) -> Estimate:
    """Latent gap of the hardest tier that takes part, averaged over families and levels."""
    last = [cells[-1] for cells in groups]
    gap = context.draws.latent[0][:, last][..., [control]] - context.draws.latent[0][:, last][..., at]
    return one_scale(context, last, gap.mean(axis=(1, 2)))


def _by_level(context: Context, cells: tuple[int, ...], at: list[int], control: int) -> list[dict[str, Any]]:
    """For each level and tier: gap before and after training, and the share of the first that is gone, with interval."""
    draws, rows = context.draws, []
    for k in at:
        condition = draws.conditions[k]
        before = untrained(draws.conditions, condition)
        for i in cells:
            row: dict[str, Any] = {"level": condition.level, "tier": draws.cells[i].tier}
            after_gap = draws.latent[0, :, i, control] - draws.latent[0, :, i, k]
            row["gap_after"] = float(after_gap[0])
            if before is not None:
                before_gap = draws.latent[0, :, i, 0] - draws.latent[0, :, i, before]
                row["gap_before"] = float(before_gap[0])
                row |= _recovered(before_gap, after_gap, draws.cells[i].n_clusters, context.rules)
            rows.append(row)
    return rows


def _recovered(before: Floats, after: Floats, n_clusters: int, rules: Rules) -> dict[str, Any]:
    """1 - gap after / gap before; nothing where the gap before is not shown to be above 0."""
    if interval(before, n_clusters, rules.confidence)[0] <= 0:
        return {"recovered": None, "recovered_low": None, "recovered_high": None}
    share = 1 - after / np.where(before > 0, before, np.nan)
    share = np.where(np.isnan(share), share[0], share)
    low, high = interval(share, n_clusters, rules.confidence)
    return {"recovered": float(share[0]), "recovered_low": float(low), "recovered_high": float(high)}
