"""P2: at matched sparsity the drop grows with the tier, beyond what equal losses would give."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from difficulty.judge.claims.context import Context, orderings
from difficulty.judge.claims.shared import (
    REGRESSION,
    both_scales,
    judged,
    one_scale,
    ordered,
    pooled_scales,
    too_few_tiers,
)
from difficulty.judge.draws import over_replicates
from difficulty.judge.estimates import envelope
from difficulty.judge.ordering import Level, Ordering, at_loss
from difficulty.judge.series import PRIMARY, Series
from difficulty.judge.verdicts import Claim, Evidence, Rules, as_dict, in_words
from difficulty.stats.bootstrap import cluster_sums
from difficulty.stats.logistic import interaction
from difficulty.stats.result import Estimate, Ints
from difficulty.stats.trend import jonckheere_terpstra, shuffled_slope

UNIT = "log-odds of extra loss a tier"
SCORE_UNIT = "accuracy of extra loss a tier"


def rule(rules: Rules) -> str:
    """The rule of P2 in words."""
    return (
        f"slope of the loss on the tier, averaged over usable levels; supported: p < {rules.alpha:g} and interval above 0 on "
        f"the latent scale (log-odds margin) and on the score's own, latent interval not wholly below {rules.delta_tier:g}, "
        f"slope above 0 at two thirds of the usable levels (pooled: in two thirds of the families too) and shown below 0 at "
        f"none; refuted: latent interval wholly below {rules.delta_tier:g} (the opposite, or equivalence); else inconclusive"
    )


def judge_interaction(
    context: Context, series: Series, n_shuffles: int, rng: np.random.Generator
) -> list[Claim]:
    """P2 for each family with two tiers that may take part, and pooled over them (families weigh the same)."""
    found = orderings(context, series)
    if not found:
        return []
    control = _control(context, series)
    evidence = [_pooled(context, series, found, control)]
    evidence += [_single(context, o, control.get(name), n_shuffles, rng) for name, o in found.items()]
    claims = judged(context, evidence, context.rules.delta_tier, SCORE_UNIT, rule(context.rules))
    return ordered(claims + too_few_tiers("P2", series.method, context, found))


def _control(context: Context, series: Series) -> dict[str, Ordering]:
    """Orderings under random pruning, to compare magnitude with at matched damage."""
    random = next((s for s in context.series if s.method == "random"), None)
    return orderings(context, random) if random is not None and series.method == PRIMARY else {}


def _single(
    context: Context, ordering: Ordering, control: Ordering | None, n_shuffles: int, rng: np.random.Generator
) -> Evidence:
    scope = context.scope(ordering.series.method, ordering.family)
    details: dict[str, Any] = {"levels": [_level(level) for level in ordering.levels]}
    if ordering.family in context.self_cut:
        return Evidence("P2", scope, UNIT, blocked=REGRESSION, details=details)
    if ordering.latent is None or ordering.observed is None:
        blocked = "no level is usable: where scores moved, fewer than two tiers were above chance."
        return Evidence("P2", scope, UNIT, blocked=blocked, details=details)
    own = context.groups()[ordering.family]
    details["scale"] = "margin" if context.draws.from_margin[own[0]] else "accuracy through probit and logit"
    if n_shuffles:
        details.update(_cross_checks(context, ordering, own, n_shuffles, rng))
    if control is not None:
        details["versus_random"] = _versus(context, own, [ordering], [control])
    against = _against(
        [level.slope.estimate > 0 for level in ordering.usable if level.slope], ordering.usable
    )
    scales = both_scales(context, own, ordering.latent, ordering.observed)
    return Evidence("P2", scope, UNIT, **scales, against=against, details=details)


def _against(positive: list[bool], levels: tuple[Level, ...]) -> str:
    if sum(positive) < 2 / 3 * len(positive):
        return f"the slope is above 0 at only {sum(positive)} of {len(positive)} usable levels."
    opposite = [
        f"{level.severity:g}" for level in levels if level.slope is not None and level.slope.ci_high < 0
    ]
    return f"the opposite is shown at level {', '.join(opposite)}." if opposite else ""


def _pooled(
    context: Context, series: Series, found: dict[str, Ordering], control: dict[str, Ordering]
) -> Evidence:
    scope = context.scope(series.method)
    slopes = {
        n: (o.latent, o.observed)
        for n, o in found.items()
        if o.latent is not None and o.observed is not None and n not in context.self_cut
    }
    if not slopes:
        cut = any(o.latent is not None for o in found.values())
        blocked = REGRESSION if cut else "in no family is a level usable."
        return Evidence("P2", scope, UNIT, blocked=blocked)
    judged = {n: found[n] for n in slopes}
    cells = [i for n in judged for i in context.groups()[n]]
    above = {n: float(latent[0, 0]) for n, (latent, _) in slopes.items()}
    agree = [value > 0 for value in above.values()]
    details: dict[str, Any] = {
        "families": above,
        "families_above_0": sum(agree),
        "families_left_out": sorted(set(context.draws.families) - set(judged)),
        "levels_used": {n: [level.severity for level in o.usable] for n, o in judged.items()},
    }
    if control:
        both = [n for n in judged if n in control]
        details["versus_random"] = _versus(
            context, cells, [judged[n] for n in both], [control[n] for n in both]
        )
    few = sum(agree) < 2 / 3 * len(agree)
    remark = (
        f"The slope is above 0 in {sum(agree)} of {len(agree)} families" + _opposite(context, judged) + "."
    )
    return Evidence(
        "P2", scope, UNIT, **pooled_scales(context, cells, slopes.values()),
        against=f"only {sum(agree)} of {len(agree)} families have a slope above 0." if few else "",
        remark=remark + _about_random(details.get("versus_random"), context.rules), details=details,
    )  # fmt: skip


def _opposite(context: Context, judged: dict[str, Ordering]) -> str:
    """Which families show the opposite of the pooled claim, as the end of a sentence."""
    found = []
    for name, ordering in judged.items():
        if ordering.latent is None:
            continue
        size = (ordering.n_items, ordering.n_clusters)
        if envelope(ordering.latent, size[1], size, context.rules).ci_high < 0:
            found.append(name)
    return f", and the opposite is shown in {', '.join(found)}" if found else ""


def _about_random(versus: dict[str, Any] | None, rules: Rules) -> str:
    if not versus or "estimate" not in versus:
        return ""
    found = Estimate(**{name: versus[name] for name in Estimate.__dataclass_fields__})
    more = "more" if found.ci_low > 0 else "less" if found.ci_high < 0 else "not shown to be more or less"
    return (
        f" At the same mean loss the slope is {more} than under random pruning: the difference is "
        f"{in_words(found, rules.confidence)} log-odds a tier."
    )


def _level(level: Level) -> dict[str, Any]:
    row: dict[str, Any] = {"level": level.severity, "usable": level.usable, "n_tiers": len(level.cells)}
    if level.why:
        row["why_not"] = level.why
    if level.slope is not None and level.observed is not None:
        row |= {"loss": level.loss, "latent": as_dict(level.slope), "observed": as_dict(level.observed)}
    return row


def _cross_checks(
    context: Context, ordering: Ordering, cells: tuple[int, ...], n_shuffles: int, rng: np.random.Generator
) -> dict[str, Any]:
    """The same question by other tests: shuffled tiers, Jonckheere-Terpstra, logistic regression."""
    draws, panel = context.draws, context.panel
    rows = np.concatenate([draws.cells[i].rows for i in cells])
    tiers = np.concatenate([np.full(draws.cells[i].n_items, draws.cells[i].tier) for i in cells])
    _, clusters = np.unique(np.concatenate([draws.cells[i].clusters for i in cells]), return_inverse=True)
    values = panel.margin if all(draws.from_margin[i] for i in cells) else panel.score
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
    right = np.stack([over_replicates(context.panel.score, rows, draws.conditions[k]) for k in at], axis=1)
    found = interaction(
        right.ravel(), np.tile(levels, len(rows)), np.repeat(tiers, len(at)).astype(float), np.repeat(clusters, len(at)),
        context.rules.confidence,
    )  # fmt: skip
    return None if found is None else {**as_dict(found), "unit": "log-odds per unit of level and tier"}


def _versus(
    context: Context, cells: Iterable[int], ours: list[Ordering], control: list[Ordering]
) -> dict[str, Any]:
    """Slope minus the slope that the control has at the same mean latent loss; above 0 = specific to this method."""
    differences = []
    for mine, other in zip(ours, control, strict=True):
        each = []
        for n, level in enumerate(mine.levels):
            same = at_loss(other, mine.losses[n], level.cells) if level.usable else None
            if same is not None:
                each.append(mine.slopes[n] - same)
        if each:
            differences.append(np.mean(each, axis=0))
    if not differences:
        return {"n_families": 0, "why": "the two methods have no mean loss in common."}
    found = one_scale(context, cells, np.mean(differences, axis=0))
    return {**as_dict(found), "unit": UNIT, "n_families": len(differences)}
