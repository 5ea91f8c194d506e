"""P5: after recovery the harder tiers stay further behind a dense model that was trained as long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from difficulty.judge.claims.context import Context, corrected, ordered
from difficulty.judge.claims.interaction import REGRESSION
from difficulty.judge.ordering import envelope, fewest_clusters, sample_size, sized, tier_slope
from difficulty.judge.series import PRIMARY, Condition
from difficulty.judge.verdicts import POOLED, Claim, Evidence, Rules, as_dict, judge, not_tested
from difficulty.runs.table import DENSE
from difficulty.stats.bootstrap import interval
from difficulty.stats.result import Estimate, Floats

UNIT = "log-odds of remaining gap a tier"
OBSERVED_UNIT = "accuracy of remaining gap a tier"
CONTROL = "dense_transfer"
RECOVERIES = ("sparse_transfer", "sparse_to_dense")  # the first one found gives the headline
FREEZING = "dense_freezing"  # nothing was pruned: a control, reported and not judged


@dataclass(frozen=True)
class Arm:
    """One way of recovery: `base` method, `mode`, and its data `fraction` ("" = all)."""

    base: str
    mode: str
    fraction: str

    @property
    def name(self) -> str:
        return f"{self.base}+{self.mode}" + (f"@{self.fraction}" if self.fraction else "")


def parse_arm(method: str) -> Arm | None:
    """`"magnitude+sparse_transfer@0.25"` taken apart; None for a method without training."""
    base, plus, rest = method.partition("+")
    mode, _, fraction = rest.partition("@")
    return Arm(base, mode, fraction) if plus else None


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
    arms: dict[str, list[int]] = {}
    for k, condition in enumerate(context.draws.conditions):
        arm = parse_arm(condition.method) if condition.kind == "recovered" else None
        if arm is not None and arm.base != DENSE:
            arms.setdefault(arm.name, []).append(k)
    if not arms:
        return [
            not_tested("P5", context.primary, "there are no recovered runs. Make some with junkdna recover.")
        ]
    claims: list[Claim] = []
    names = sorted(arms, key=_rank)
    for name in names:
        arm = parse_arm(name)
        assert arm is not None
        control = _find(context, f"{DENSE}+{CONTROL}" + (f"@{arm.fraction}" if arm.fraction else ""), 0.0)
        if control is None:
            reason = f"{name} has no dense model trained as long (method dense+{CONTROL}, level 0) to compare with."
            claims.append(not_tested("P5", name, reason))
        elif arm.mode != FREEZING:
            headline = not any(c.family == POOLED for c in claims)
            claims += _judge_arm(
                context, name, arms[name], control, POOLED if headline else f"{POOLED}/{name}"
            )
    return claims


def _rank(name: str) -> tuple[bool, int, bool, str]:
    arm = parse_arm(name)
    assert arm is not None
    mode = RECOVERIES.index(arm.mode) if arm.mode in RECOVERIES else len(RECOVERIES)
    return arm.base != PRIMARY, mode, bool(arm.fraction), name


def _find(context: Context, method: str, level: float) -> int | None:
    for k, condition in enumerate(context.draws.conditions):
        if condition.method == method and abs(condition.level - level) < 1e-9:
            return k
    return None


def _judge_arm(context: Context, name: str, at: list[int], control: int, label: str) -> list[Claim]:
    part = context.takes_part & ~context.ceiling
    groups = {n: tuple(i for i in context.draws.family(n) if part[i]) for n in context.draws.families}
    groups = {n: cells for n, cells in groups.items() if len(cells) >= 2}
    if not groups:
        return [not_tested("P5", name, "no family has two tiers that may take part.")]
    evidence = [_single(context, name, n, cells, at, control) for n, cells in groups.items()]
    judged = [n for n in groups if n not in context.self_cut]
    evidence.insert(0, _pooled(context, name, label, {n: groups[n] for n in judged}, at, control))
    words, delta = rule(context.rules), context.rules.delta_tier
    return ordered(
        [
            judge(e, p, context.rules, delta, OBSERVED_UNIT, words)
            for e, p in zip(evidence, corrected(evidence), strict=True)
        ]
    )


def _slopes(context: Context, cells: tuple[int, ...], at: list[int], control: int) -> tuple[Floats, Floats]:
    """Slope of the remaining gap on the tier, averaged over levels: latent (links, 1 + B) and observed (1 + B,)."""
    draws = context.draws
    latent = draws.latent[:, :, cells][..., [control]] - draws.latent[:, :, cells][..., at]
    score = draws.score[:, cells][..., [control]] - draws.score[:, cells][..., at]
    return tier_slope(draws, latent.mean(axis=-1), cells), tier_slope(draws, score.mean(axis=-1), cells)


def _single(
    context: Context, name: str, family: str, cells: tuple[int, ...], at: list[int], control: int
) -> Evidence:
    fewest, size = fewest_clusters(context.draws, cells), sample_size(context.draws, list(cells))
    latent, observed = _slopes(context, cells, at, control)
    details: dict[str, Any] = {"levels": _by_level(context, name, cells, at, control)}
    hardest = _hardest(context, [cells], at, control)
    details["hardest_tier_gap"] = as_dict(hardest)
    return Evidence(
        "P5", family, name, UNIT, envelope(latent, fewest, size, context.rules),
        sized(observed, fewest, size, context.rules),
        blocked=REGRESSION if family in context.self_cut else "",
        against="" if hardest.ci_low > 0 else "the hardest tier is not shown to be behind any more.", details=details,
    )  # fmt: skip


def _pooled(
    context: Context, name: str, label: str, groups: dict[str, tuple[int, ...]], at: list[int], control: int
) -> Evidence:
    if not groups:
        return Evidence("P5", label, name, UNIT, None, blocked=REGRESSION)
    slopes = [_slopes(context, cells, at, control) for cells in groups.values()]
    every = [i for cells in groups.values() for i in cells]
    fewest, size = fewest_clusters(context.draws, every), sample_size(context.draws, every)
    hardest = _hardest(context, list(groups.values()), at, control)
    details = {
        "families": {n: float(s[0][0, 0]) for n, s in zip(groups, slopes, strict=True)},
        "hardest_tier_gap": as_dict(hardest),
    }
    return Evidence(
        "P5", label, name, UNIT, envelope(np.mean([s[0] for s in slopes], axis=0), fewest, size, context.rules),
        sized(np.mean([s[1] for s in slopes], axis=0), fewest, size, context.rules),
        against="" if hardest.ci_low > 0 else "the hardest tiers are not shown to be behind any more.", details=details,
    )  # fmt: skip


def _hardest(context: Context, groups: list[tuple[int, ...]], at: list[int], control: int) -> Estimate:
    """Latent gap of the hardest tier that takes part, averaged over families and levels."""
    last = [cells[-1] for cells in groups]
    gap = context.draws.latent[0][:, last][..., [control]] - context.draws.latent[0][:, last][..., at]
    size = sample_size(context.draws, last)
    return sized(gap.mean(axis=(1, 2)), fewest_clusters(context.draws, last), size, context.rules)


def _by_level(
    context: Context, name: str, cells: tuple[int, ...], at: list[int], control: int
) -> list[dict[str, Any]]:
    """For each level and tier: gap before and after training, and the share of the first that is gone, with interval."""
    arm = parse_arm(name)
    assert arm is not None
    draws, rows = context.draws, []
    for k in at:
        condition: Condition = draws.conditions[k]
        before = _find(context, arm.base, condition.level)
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
