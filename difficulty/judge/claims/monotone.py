"""P1: scores fall monotonically as sparsity grows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from difficulty.judge.claims.context import Context
from difficulty.judge.claims.shared import each_judged, one_scale
from difficulty.judge.draws import over_replicates
from difficulty.judge.estimates import fewest_clusters
from difficulty.judge.series import Series
from difficulty.judge.verdicts import Claim, Evidence, Rules, Scope, claim_of
from difficulty.stats.bootstrap import cluster_sums, interval
from difficulty.stats.isotonic import isotonic
from difficulty.stats.result import Floats
from difficulty.stats.trend import Trend, kendall_tau, page

UNIT = "accuracy lost from dense to the highest level"


def rule(rules: Rules) -> str:
    """The rule of P1 in words."""
    return (
        f"supported: p < {rules.alpha:g} (Page's trend over clusters), the loss from dense to the highest level is above 0 "
        f"and not shown to be below {rules.delta:g}, no rise between neighbouring levels is shown to exceed "
        f"{rules.delta_rise:g} and the largest rise seen is below {rules.delta:g}; refuted: a rise is shown to exceed "
        f"{rules.delta_rise:g}, or the whole loss is shown to be below {rules.delta:g}; else inconclusive"
    )


def judge_monotone(context: Context, series: Series) -> list[Claim]:
    """P1 for each family with a tier above chance, and pooled (families weigh the same)."""
    groups = context.groups(ceiling_too=True, at_least=1)
    if not groups:
        return []
    curves = {name: _curve(context, series, cells) for name, cells in groups.items()}
    every = [i for cells in groups.values() for i in cells]
    pooled = np.mean(list(curves.values()), axis=0)
    evidence = [_evidence(context, series, context.scope(series.method), every, pooled)]
    evidence += [
        _evidence(context, series, context.scope(series.method, name), cells, curves[name])
        for name, cells in groups.items()
    ]
    return each_judged(evidence, lambda e, p: _verdict(e, p, context.rules))


def _curve(context: Context, series: Series, cells: Iterable[int]) -> Floats:
    """Mean score over tiers at dense and at each level, (1 + B, 1 + n_levels)."""
    at = [0, *series.at]
    mean: Floats = context.draws.score[:, list(cells)][:, :, at].mean(axis=1)
    return mean


def _evidence(
    context: Context, series: Series, scope: Scope, cells: Sequence[int], curve: Floats
) -> Evidence:
    rules = context.rules
    fewest = fewest_clusters(context.draws, tuple(cells))
    drop = one_scale(context, cells, curve[:, 0] - curve[:, -1])
    rises = np.diff(curve, axis=1)
    lows, _ = interval(rises, fewest, 1 - rules.alpha / rises.shape[1])
    worst = int(np.argmax(rises[0]))
    trend = page_over_clusters(context, series, cells)
    levels = (0.0, *series.levels)
    details = {
        "levels": list(levels),
        "scores": curve[0].tolist(),
        "isotonic": isotonic(curve[0], increasing=False).tolist(),
        "kendall_tau": kendall_tau(np.array(levels), curve[0]),
        "page_z": trend.z,
        "page_p": trend.p,
        "largest_rise": float(rises[0, worst]),
        "largest_rise_from": levels[worst],
        "largest_rise_to": levels[worst + 1],
        "rise_shown_above": float(lows.max()),
    }
    # A fall must be shown by the trend over levels and by the loss from end to end, so the larger p counts.
    score = replace(drop, p=max(trend.p, drop.p))
    return Evidence("P1", scope, UNIT, score=score, decides="score", details=details)


def page_over_clusters(context: Context, series: Series, cells: Sequence[int]) -> Trend:
    """Page's test with clusters as rows and dense and all levels as columns; z < 0 = scores fall."""
    draws = context.draws
    rows = np.concatenate([draws.cells[i].rows for i in cells])
    _, clusters = np.unique(np.concatenate([draws.cells[i].clusters for i in cells]), return_inverse=True)
    at = (0, *series.at)
    values = np.stack([over_replicates(context.panel.score, rows, draws.conditions[k]) for k in at], axis=1)
    sums = cluster_sums(values, clusters, int(clusters.max()) + 1)
    return page(sums / np.bincount(clusters)[:, None])


def _verdict(evidence: Evidence, p_holm: float, rules: Rules) -> Claim:
    drop, found = evidence.score, evidence.details
    assert drop is not None
    words = rule(rules)
    step = f"from level {found['largest_rise_from']:g} to {found['largest_rise_to']:g}"
    if found["rise_shown_above"] > rules.delta_rise:
        return claim_of(
            evidence, p_holm, "refuted", words, f"the score rises {step} by {found['largest_rise']:.3f}."
        )
    if drop.ci_high < rules.delta:
        return claim_of(
            evidence, p_holm, "refuted", words, f"the whole loss is shown to be below {rules.delta:g}."
        )
    if drop.ci_low <= 0 or found["page_z"] >= 0:
        return claim_of(evidence, p_holm, "inconclusive", words, "a loss is not shown.")
    if found["largest_rise"] >= rules.delta:
        return claim_of(
            evidence,
            p_holm,
            "inconclusive",
            words,
            f"the score rises {step} by {found['largest_rise']:.3f}, which may be noise.",
        )
    if not p_holm < rules.alpha:
        return claim_of(
            evidence,
            p_holm,
            "inconclusive",
            words,
            "it does not survive the correction for several families.",
        )
    return claim_of(evidence, p_holm, "supported", words, "scores fall from level to level.")
