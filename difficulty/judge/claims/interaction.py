"""P2: at matched sparsity the drop grows with the tier, beyond what equal losses would give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from difficulty.judge.claims.context import Context
from difficulty.judge.claims.parts import Part, Pooled, mean_estimate
from difficulty.judge.draws import over_replicates
from difficulty.judge.effect import one_family
from difficulty.judge.ordering import Level, Ordering
from difficulty.judge.series import Series
from difficulty.judge.verdicts import Rules, as_dict
from difficulty.stats.bootstrap import cluster_sums
from difficulty.stats.logistic import interaction
from difficulty.stats.result import Floats, Ints
from difficulty.stats.trend import jonckheere_terpstra, shuffled_slope

UNIT = "log-odds of extra loss per tier"
NONE_USABLE = "in no family is a level usable."


def rule(rules: Rules) -> str:
    """The rule of P2 in words."""
    return (
        f"slope of the loss on the tier, averaged over usable levels; supported: p < {rules.alpha:g} and interval above 0 on every "
        "scale (T, S and A with margins; A, C and L without), slope above 0 at two thirds of the usable levels (pooled: in two "
        "thirds of the families) and shown below 0 at none, and interval above 0 without the level at which the slope is largest (from three levels on); refuted: interval wholly below "
        f"{rules.delta_tier:g} on every scale; else inconclusive"
    )


def of_family(context: Context, series: Series, n_shuffles: int, rng: np.random.Generator) -> Part | None:
    """What a family says on P2 under one method; None where fewer than two tiers may take part."""
    ordering = context.ordering(series)
    if ordering is None:
        return None
    own = context.ordered_cells
    details: dict[str, Any] = {"levels": [_level(level, context) for level in ordering.levels]}
    blocked, against = context.blocked, ""
    draws = {scale: ordering.mean[scale] for scale in context.draws.scales} if ordering.mean else {}
    extra: dict[str, Floats] = {}
    if not draws:
        above = any(len(level.cells) > 1 for level in ordering.levels)
        why = "a mean loss is shown at none" if above else "fewer than two tiers are above chance at each"
        blocked = blocked or f"no level is usable: {why}."
    else:
        first = context.draws.scales[0]
        extra["rest"], strongest = _without_strongest(ordering, first)
        sample = context.sample(own, series)
        rest = one_family(extra["rest"], sample, context.rules.confidence).these
        against = _against([level.slope[first] > 0 for level in ordering.usable], ordering.usable)
        if not against and rest.ci_low <= 0:
            against = f"without level {strongest:g} it is not shown, so that it hangs on one run."
        if n_shuffles and not blocked:
            details |= _cross_checks(context, ordering, own, n_shuffles, rng)
    beside = {scale: values for scale, values in ordering.mean.items() if scale not in draws}
    return Part(
        "P2", series.method, context.family, context.sample(own, series), context.clusters(own),
        draws, beside, extra, blocked=blocked, against=against, details=details,
    )  # fmt: skip


def _against(positive: list[bool], levels: tuple[Level, ...]) -> str:
    if sum(positive) < 2 / 3 * len(positive):
        return f"the slope is above 0 at only {sum(positive)} of {len(positive)} usable levels."
    opposite = [f"{level.severity:g}" for level in levels if level.bounds[1] < 0]
    return f"the opposite is shown at level {', '.join(opposite)}." if opposite else ""


def _without_strongest(ordering: Ordering, scale: str) -> tuple[Floats, float]:
    """The mean slope without the level at which it is largest, and that level; of fewer than three levels, the mean of all.

    Luck in one run, by whose scores the tiers were cut, shows at its level alone.
    """
    usable = [n for n, level in enumerate(ordering.levels) if level.usable]
    strongest = max(usable, key=lambda n: ordering.levels[n].slope[scale])
    rest = [n for n in usable if n != strongest] if len(usable) > 2 else usable
    found: Floats = ordering.slopes[scale][rest].mean(axis=0)
    return found, ordering.levels[strongest].severity


def pool(parts: Sequence[Part], rules: Rules) -> Pooled:
    """What is said beside the pooled slope: in how many families it lies above 0, and whether it hangs on one level."""
    above = [part.value > 0 for part in parts]
    few = sum(above) < 2 / 3 * len(above)
    words = f"The slope is above 0 in {sum(above)} of {len(above)} families"
    rest = mean_estimate(parts, "rest", rules.confidence).these
    against = f"only {sum(above)} of {len(above)} families have a slope above 0." if few else ""
    if not against and rest.ci_low <= 0:
        against = "without the level at which it is largest in each family it is not shown, so that it hangs on single runs."
    opposite = [
        part.family
        for part in parts
        if np.quantile(next(iter(part.draws.values()))[0, 1:], 1 - rules.alpha / 2) < 0
    ]
    ending = f", and the opposite is shown in {', '.join(opposite)}." if opposite else "."
    return Pooled(
        against=against,
        remark=words + ending if len(parts) > 1 else "",
        details={
            "families_above_0": sum(above),
            "without_strongest_level": as_dict(rest),
            "levels_used": {
                p.family: [row["level"] for row in p.details["levels"] if row["usable"]] for p in parts
            },
        },
    )


def _level(level: Level, context: Context) -> dict[str, Any]:
    row: dict[str, Any] = {"level": level.severity, "usable": level.usable, "n_tiers": len(level.cells)}
    if level.why:
        row["why_not"] = level.why
    if level.slope:
        first = context.draws.scales[0]
        row |= {
            "loss": level.loss[first],
            "slope": dict(level.slope),
            "low": level.bounds[0],
            "high": level.bounds[1],
        }
    return row


def _cross_checks(
    context: Context, ordering: Ordering, cells: tuple[int, ...], n_shuffles: int, rng: np.random.Generator
) -> dict[str, Any]:
    """The same question by other tests: shuffled tiers, Jonckheere-Terpstra, logistic regression."""
    draws, panel = context.draws, context.setting.panel
    rows = np.concatenate([draws.cells[i].rows for i in cells])
    tiers = np.concatenate([np.full(draws.cells[i].n_items, draws.cells[i].tier) for i in cells])
    _, clusters = np.unique(np.concatenate([draws.cells[i].clusters for i in cells]), return_inverse=True)
    values = panel.margin if draws.margins else panel.score
    dense = over_replicates(values, rows, draws.conditions[0])
    used = [over_replicates(values, rows, draws.conditions[level.at]) for level in ordering.usable]
    loss = dense - np.mean(used, axis=0)
    columns = np.column_stack([loss, np.ones(len(loss)), tiers, tiers**2])
    sums, sizes, tier_sums, tier_squares = cluster_sums(columns, clusters, int(clusters.max()) + 1).T
    checks: dict[str, Any] = {}
    if (tier_squares * sizes == tier_sums**2).all():  # no cluster crosses tiers
        labels = (tier_sums / sizes).astype(np.int64)
        checks["p_shuffled_tiers"] = shuffled_slope(sums, sizes, labels, n_shuffles, rng)[1]
        trend = jonckheere_terpstra(sums / sizes, labels)
        checks["jonckheere_z"], checks["jonckheere_p"] = trend.z, trend.p
    checks["logistic"] = _logistic(context, ordering, rows, tiers, clusters)
    return checks


def _logistic(
    context: Context, ordering: Ordering, rows: Ints, tiers: Ints, clusters: Ints
) -> dict[str, Any] | None:
    """Level x tier in a logistic regression of right answers on the dense and the usable levels."""
    draws = context.draws
    at = [0, *(level.at for level in ordering.usable)]
    levels = np.array([draws.conditions[k].severity for k in at])
    score = context.setting.panel.score
    right = np.stack([over_replicates(score, rows, draws.conditions[k]) for k in at], axis=1)
    found = interaction(
        right.ravel(), np.tile(levels, len(rows)), np.repeat(tiers, len(at)).astype(float), np.repeat(clusters, len(at)),
        context.rules.confidence,
    )  # fmt: skip
    return None if found is None else {**as_dict(found), "unit": "log-odds per unit of level and tier"}
