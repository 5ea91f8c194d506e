"""Recovery by budget in rows and sentences, without a format: terminal, page, CSV and JSON are made from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from difficulty.judge.budgets import Budget, BudgetCurve, Change, TierGap
from difficulty.judge.verdicts import Rules, as_dict
from difficulty.runs.csv_cells import safe_csv
from difficulty.stats.result import Estimate
from difficulty.text import estimate_text, p_words

COLUMNS = (
    "method", "levels", "steps", "until", "tier", "what", "scale", "estimate", "ci_low", "ci_high", "p", "p_holm", "says",
    "score", "control_score", "families", "at_chance",
)  # fmt: skip


def budgets_list(curves: Sequence[BudgetCurve]) -> list[dict[str, Any]]:
    """The curves as JSON types."""
    return [
        {
            "method": curve.method, "levels": list(curve.levels),
            "budgets": [_budget(budget) for budget in curve.budgets],
            "changes": [_change(change) for change in curve.changes], "note": curve.note,
        }
        for curve in curves
    ]  # fmt: skip


def _budget(budget: Budget) -> dict[str, Any]:
    return {
        "steps": budget.steps, "method": budget.method, "families": budget.families, "why_not": budget.why,
        "slope": {scale: effect.as_dict() for scale, effect in budget.slope.items()},
        "tiers": [
            {
                "tier": t.tier, "score": t.score, "control_score": t.control, "points": as_dict(t.points.deciding), "gap": as_dict(t.gap.deciding),
                "families": t.families, "at_chance": t.at_chance,
            }
            for t in budget.tiers
        ],
    }  # fmt: skip


def _change(change: Change) -> dict[str, Any]:
    return {
        "start": change.start, "end": change.end, "says": change.direction, "p_holm": change.p_holm, "about": change.about,
        "families": change.families, "scales": {scale: effect.as_dict() for scale, effect in change.effects.items()},
    }  # fmt: skip


def budgets_table(found: Mapping[str, Sequence[BudgetCurve]]) -> pd.DataFrame:
    """A row per number: `what` is the `slope` after `steps`, the `gap` (log-odds) or `points` (the metric) of a `tier`, or the
    `change` of the slope between `steps` and `until`. `found`: name of a model -> its curves; a column `model` where there are several.
    """
    rows = []
    for model, curves in found.items():
        named = {"model": model} if len(found) > 1 else {}
        rows += [{**named, **row} for curve in curves for row in _rows(curve)]
    return pd.DataFrame(rows, columns=[*(["model"] if len(found) > 1 else []), *COLUMNS])


def budgets_csv(found: Mapping[str, Sequence[BudgetCurve]]) -> str:
    """`budgets_table` as CSV text."""
    return safe_csv(budgets_table(found))


def _rows(curve: BudgetCurve) -> list[dict[str, Any]]:
    base = {"method": curve.method, "levels": " ".join(f"{level:g}" for level in curve.levels)}
    rows: list[dict[str, Any]] = []
    for budget in curve.budgets:
        own = {**base, "steps": budget.steps}
        for scale, effect in budget.slope.items():
            rows.append(
                {
                    **own,
                    "what": "slope",
                    "scale": scale,
                    "families": budget.families,
                    **_numbers(effect.deciding),
                }
            )
        for tier in budget.tiers:
            own_tier = {
                **own, "tier": tier.tier, "score": tier.score, "control_score": tier.control, "families": tier.families,
                "at_chance": tier.at_chance,
            }  # fmt: skip
            rows.append({**own_tier, "what": "gap", **_numbers(tier.gap.deciding)})
            rows.append({**own_tier, "what": "points", "scale": "score", **_numbers(tier.points.deciding)})
    for change in curve.changes:
        own = {
            **base,
            "steps": change.start,
            "until": change.end,
            "what": "change",
            "families": change.families,
        }
        said = {"p_holm": change.p_holm, "says": change.direction}
        for scale, effect in change.effects.items():
            rows.append({**own, "scale": scale, **_numbers(effect.deciding), **said})
    return rows


def _numbers(found: Estimate) -> dict[str, float]:
    return {"estimate": found.estimate, "ci_low": found.ci_low, "ci_high": found.ci_high, "p": found.p}


def tiers_of(curves: Sequence[BudgetCurve]) -> list[int]:
    """All tiers of some curves, sorted."""
    return sorted({tier.tier for curve in curves for budget in curve.budgets for tier in budget.tiers})


def tier_at(budget: Budget, number: int) -> TierGap | None:
    """One tier of a budget."""
    return next((tier for tier in budget.tiers if tier.tier == number), None)


def tier_text(tier: TierGap | None) -> tuple[str, str]:
    """The score in percent, and in points how far it lies behind (`?`: at chance in some families).

    >>> from difficulty.judge.effect import Effect
    >>> half = Effect(Estimate(0.125, 0.1, 0.15, 0.01, 100, 100))
    >>> tier_text(TierGap(1, 0.5, 0.625, half, half, 3, 0))
    ('50.0', '12.5 behind')
    """
    if tier is None:
        return "", ""
    behind = f"{100 * (tier.control - tier.score):.1f} behind"
    return f"{100 * tier.score:.1f}", behind + ("?" if tier.at_chance else "")


def steps_text(steps: int) -> str:
    """A number of steps, e.g. `before` for none."""
    return f"{steps:,}" if steps else "before"


def sentences(curve: BudgetCurve, rules: Rules) -> list[str]:
    """What is to be said of a curve: how its slope changed, and what was left out of it."""
    said = [*(change_sentence(change, rules) for change in curve.changes), *filter(None, [curve.note])]
    return [f"{curve.method}: {sentence}" for sentence in said]


def change_sentence(change: Change, rules: Rules) -> str:
    """What is known of how the slope changed, in one sentence; never more than the interval says."""
    start = f"{change.start:,} steps" if change.start else "before training"
    between = f"from {start} to {change.end:,} steps"
    main = change.main
    if main is None:
        return f"{between} nothing can be said of the slope: no two tiers are above chance at both."
    numbers = ", ".join(
        (estimate_text(main.estimate, main.ci_low, main.ci_high), f"{p_words(change.p_holm)} (Holm)")
    )
    said = {
        "falls": "the slope falls",
        "rises": "the slope rises",
        "stays": f"the slope stays what it is (a change of {rules.delta_tier:g} is excluded on every scale)",
        "cannot be told": "it cannot be told whether the slope falls or rises",
    }[change.direction]
    if change.direction == "cannot be told" and not main.ci_low <= 0 <= main.ci_high:
        shown = all(e.high < 0 for e in change.effects.values()) or all(
            e.low > 0 for e in change.effects.values()
        )
        said += (
            " (it does not survive the correction for several tests)"
            if shown
            else " (it is not shown on every scale)"
        )
    where = f", in {change.about}" if change.about else ""
    return f"{between} {said}: {numbers}{where}."
