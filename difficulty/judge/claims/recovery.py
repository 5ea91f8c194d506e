"""P5: after recovery the harder tiers stay further behind a dense model that was trained as long.

Every arm, adapter, share of the data, number of steps and learning rate is a way of recovery, judged by itself: what is not
recovered is not recovered by this much training. How the slope goes along as training does is in `difficulty.judge.budgets`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from difficulty.judge.claims.context import Context, Setting
from difficulty.judge.claims.parts import Part, Pooled, Question, mean_estimate, verdicts
from difficulty.judge.controls import (
    Control,
    control_method,
    control_of,
    recovered_from_pruned,
    trained_otherwise,
    untrained,
)
from difficulty.judge.effect import one_family
from difficulty.judge.ordering import lost, tier_slope
from difficulty.judge.series import PRIMARY
from difficulty.judge.verdicts import Claim, Rules, Scope, as_dict, not_tested
from difficulty.runs.identity import (
    DENSE,
    DENSE_FREEZING,
    LOCAL_RECONSTRUCTION,
    SPARSE_TO_DENSE,
    SPARSE_TRANSFER,
    Method,
)
from difficulty.stats.bootstrap import interval
from difficulty.stats.result import Floats

UNIT = "log-odds of remaining gap per tier"
NONE_USABLE = "at no level are two tiers above chance after training."
# The first one found gives the headline.
JUDGED_ARMS = (SPARSE_TRANSFER, SPARSE_TO_DENSE, DENSE_FREEZING, LOCAL_RECONSTRUCTION)


@dataclass(frozen=True)
class Way:
    """One way of recovery: its conditions (by level) and the dense model trained as long, if there is one, else `why` not.

    `why` follows on "has no dense model trained as long". `budget`: the steps of each of its trainings, empty where they are not known of all.
    """

    method: str
    at: tuple[int, ...]
    control: Control | None
    budget: tuple[int, ...] = ()
    why: str = ""

    @property
    def steps(self) -> int | None:
        """The steps of all its trainings together."""
        return sum(self.budget) if self.budget else None


def rule(rules: Rules) -> str:
    """The rule of P5 in words."""
    return (
        "gap = dense model trained as long minus recovered model, slope on the tier averaged over levels, tiers at chance left out; "
        f"supported: p < {rules.alpha:g} and interval above 0 on every scale, and the hardest tier still behind; refuted: interval "
        f"wholly below {rules.delta_tier:g} on every scale; else inconclusive"
    )


def ways_of(setting: Setting) -> list[Way]:
    """The ways of recovery that were evaluated, the one that the headline is about first."""
    ways: dict[str, list[int]] = {}
    for k, condition in enumerate(setting.conditions):
        if recovered_from_pruned(condition):
            ways.setdefault(condition.method, []).append(k)
    conditions = setting.conditions
    budgets = {name: budget_of(setting, at) for name, at in ways.items()}
    ranked = sorted(ways, key=lambda name: _rank(conditions[ways[name][0]].done, budgets[name], name))
    return [Way(name, tuple(ways[name]), *_control(setting, ways[name], budgets[name])) for name in ranked]


def budget_of(setting: Setting, at: Sequence[int]) -> tuple[int, ...]:
    """The steps of each training of some conditions, by their names or what their manifests say; empty where it is not known."""
    said = set()
    for k in at:
        condition = setting.conditions[k]
        named = [recovery.steps for recovery in condition.done.recoveries]
        for run in setting.runs_of(k):
            facts = [one.get("steps") for one in setting.trained.get(run, ())][-len(named) :]
            facts = [None] * (len(named) - len(facts)) + facts
            said.add(tuple(one if one is not None else fact for one, fact in zip(named, facts, strict=True)))
    budget = said.pop() if len(said) == 1 else ()
    return tuple(steps for steps in budget if isinstance(steps, int)) if None not in budget else ()


def _control(
    setting: Setting, at: Sequence[int], budget: tuple[int, ...]
) -> tuple[Control | None, tuple[int, ...], str]:
    """The dense model trained as long, the budget, and why there is no such model.

    It is said where it was trained once beside several trainings of the pruned model, or with another adapter.
    """
    conditions = setting.conditions
    done = conditions[at[0]].done
    found = control_of(conditions, done)
    if found is None:
        return None, budget, f"(method {control_method(done)}, level 0) to compare with"
    recovered = [run for k in at for run in setting.runs_of(k)]
    why, remark = trained_otherwise(setting.trained, recovered, setting.runs_of(found.at))
    if why:
        return None, budget, f"to compare with: {why}"
    once = ""
    own = min(len(conditions[k].columns) for k in at)
    if conditions[found.at].done.recovered and len(conditions[found.at].columns) == 1 and own > 1:
        once = "The dense model was trained once, so that the luck of its training is not in the interval."
    words = " ".join(filter(None, (found.remark, remark, once)))
    return replace(found, remark=words), budget, ""


def _rank(done: Method, budget: tuple[int, ...], name: str) -> tuple[object, ...]:
    """What the headline is about: magnitude first, then sparse training, one training before several, the most steps, the highest
    rate, no adapter, all of the data."""
    last = done.recoveries[-1]
    arm = JUDGED_ARMS.index(last.arm) if last.arm in JUDGED_ARMS else len(JUDGED_ARMS)
    adapter = any(r.adapter is not None for r in done.recoveries)
    rate, share = max(r.lr or 0.0 for r in done.recoveries), min(r.share for r in done.recoveries)
    return done.before.base != PRIMARY, arm, len(done.recoveries), -sum(budget), -rate, adapter, -share, name


def budget_words(way: Way, done: Method) -> str:
    """How long was trained, e.g. `100 steps then 400 steps`; "" where it is not known."""
    return " then ".join(
        f"{steps:,} steps" + (" for each block" if recovery.arm == LOCAL_RECONSTRUCTION else "")
        for steps, recovery in zip(way.budget, done.recoveries, strict=False)
    )


def of_family(context: Context, way: Way) -> Part | None:
    """What a family says on P5 for one way of recovery; None without a control, or with fewer than two tiers that take part."""
    if not context.ordered_cells or way.control is None:
        return None
    draws, extra = {}, {}
    every = context.ordered_cells
    control = way.control.at
    slopes, levels = gap_slopes(context, [(k, control) for k in way.at], beside=True)
    details: dict[str, Any] = {"levels": _by_level(context, way)}
    against = ""
    sample = context.sample(every)
    if levels:
        draws = {scale: slopes.pop(scale) for scale in context.draws.scales}
        first = context.draws.scales[0]
        extra["hardest"] = np.mean(
            [lost(context.draws, first, cells[-1:], k, control)[..., 0] for (k, _), cells in levels], axis=0
        )
        hardest = one_family(extra["hardest"], sample, context.rules.confidence).deciding
        details["hardest_tier_gap"] = as_dict(hardest)
        against = "" if hardest.ci_low > 0 else "the hardest tier is not shown to be behind any more."
    return Part(
        "P5", way.method, context.family, sample, context.clusters(every), draws, slopes, extra,
        blocked=context.blocked, against=against, remark=way.control.remark, details=details,
    )  # fmt: skip


def gap_slopes(
    context: Context,
    pairs: Sequence[tuple[int, int]],
    cells: Sequence[tuple[int, ...]] | None = None,
    beside: bool = False,
) -> tuple[dict[str, Floats], list[tuple[tuple[int, int], tuple[int, ...]]]]:
    """The slope on the tier of the gap between a recovered model and its control, averaged over `pairs` of them, one per level.

    By scale, those shown `beside` too, (1 + K, 1 + B); with the pairs that have two tiers above chance (or of `cells`), and these
    tiers. Nothing where no pair has.
    """
    among = cells or [above_chance(context, *pair) for pair in pairs]
    levels = [(pair, own) for pair, own in zip(pairs, among, strict=True) if len(own) > 1]
    draws = context.draws
    scales = [s for s in draws.values if s != "retention"] if beside else list(draws.scales)
    if not levels:
        return {}, []
    each = {
        scale: [tier_slope(draws, lost(draws, scale, own, k, c), own) for (k, c), own in levels]
        for scale in scales
    }
    return {scale: np.mean(found, axis=0) for scale, found in each.items()}, levels


def above_chance(context: Context, *at: int) -> tuple[int, ...]:
    """The tiers that take part and are above chance in all of some conditions: after recovery, in the control."""
    return tuple(i for i in context.ordered_cells if not context.floor[i, list(at)].any())


def judge_recovery(setting: Setting, parts: Sequence[Part], for_this: dict[str, str]) -> list[Claim]:
    """P5 for each way of recovery, or why it cannot be tested."""
    ways = ways_of(setting)
    if not ways:
        frozen = any(c.kind == "recovered" and c.done.before.base != DENSE for c in setting.conditions)
        reason = (
            "the only recovered runs are controls in which nothing was pruned."
            if frozen
            else "there are no recovered runs. Make some with junkdna recover."
        )
        return [not_tested("P5", setting.primary, reason)]
    claims = [_without_control(way) for way in ways if way.control is None]
    judged = [
        way.method for way in ways if way.control is not None and any(p.method == way.method for p in parts)
    ]
    claims += [
        not_tested("P5", way.method, "no family has two tiers that may take part.")
        for way in ways
        if way.control is not None and way.method not in judged
    ]
    claims = [replace(c, scope=Scope(c.method, headline=n == 0 and not judged)) for n, c in enumerate(claims)]
    if not judged:
        return claims
    rules = setting.rules
    question = Question("P5", UNIT, rule(rules), rules.delta_tier, rules, judged[0], for_this, NONE_USABLE)
    found = verdicts(question, parts, lambda usable: _pool(usable, rules))
    words = {way.method: budget_words(way, setting.conditions[way.at[0]].done) for way in ways}
    steps = {way.method: way.steps for way in ways}
    return [*(after_training(claim, words[claim.method], steps[claim.method]) for claim in found), *claims]


def after_training(claim: Claim, words: str, steps: int | None = None) -> Claim:
    """The claim with what it holds for: this much training, in `words`."""
    if not words:
        return claim
    so_far = (
        "Not recovered by this much training" if claim.verdict == "supported" else "After this much training"
    )
    known = {"steps": steps, "trained": words} if steps is not None else {}
    return replace(claim, reason=f"{claim.reason} {so_far}: {words}.", details={**claim.details, **known})


def _without_control(way: Way) -> Claim:
    return not_tested("P5", way.method, f"{way.method} has no dense model trained as long {way.why}.")


def _pool(parts: Sequence[Part], rules: Rules) -> Pooled:
    hardest = mean_estimate(parts, "hardest", rules.confidence).deciding
    return Pooled(
        against="" if hardest.ci_low > 0 else "the hardest tiers are not shown to be behind any more.",
        remark=parts[0].remark,
        details={"hardest_tier_gap": as_dict(hardest)},
    )


def _by_level(context: Context, way: Way) -> list[dict[str, Any]]:
    """For each level and tier: gap before and after training, and the share of the first that is gone, with interval."""
    draws, rows = context.draws, []
    first = draws.scales[0]
    assert way.control is not None
    for k in way.at:
        condition = draws.conditions[k]
        before = untrained(draws.conditions, condition)
        for i in context.ordered_cells:
            row: dict[str, Any] = {
                "level": condition.level, "tier": draws.cells[i].tier, "at_floor": bool(context.floor[i, k]),
            }  # fmt: skip
            after_gap = lost(draws, first, (i,), k, way.control.at)[0, :, 0]
            row["gap_after"] = float(after_gap[0])
            if before is not None:
                before_gap = lost(draws, first, (i,), before)[0, :, 0]
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
