"""How the figures of the paper were made, and how our study was: what differs stands in the columns of one table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from junkdna_harness.study.against.known import setup_of
from junkdna_harness.study.against.ours import Ours
from junkdna_harness.study.against.points import Series

OURS = "ours"


def setups(ours: Ours, points: Iterable[Series]) -> tuple[tuple[str, ...], ...]:
    """(figure or "ours", model, pruning, training, metric, levels), ours first; empty cells where nobody says."""
    series = list(points)
    figures = dict.fromkeys(one.figure for one in series)
    return (_mine(ours), *(_theirs(name, [one for one in series if one.figure == name]) for name in figures))


def _theirs(figure: str, points: list[Series]) -> tuple[str, ...]:
    found = setup_of(figure)
    levels = sorted({level for one in points for level in one.levels})
    told = f"{levels[0]} to {levels[-1]}, {len(levels)}" if len(levels) > 1 else str(levels[0])
    if found is None:
        return figure, "not known", "", "", "", told
    return figure, found.model, found.method, found.training, found.metric, told


def _mine(ours: Ours) -> tuple[str, ...]:
    plan = ours.plan
    return (
        OURS,
        ours.name if len(ours.models) == 1 else f"{ours.name}, {len(ours.models)} trainings",
        f"{_listed(plan.get('methods'))}; each method's own scope",
        _training(plan),
        f"the task's own, over {len(ours.values):,} items of {len(ours.tasks)} tasks",
        "; ".join(filter(None, (_listed(plan.get("sparsity")), _listed(plan.get("patterns"))))),
    )


def _training(plan: Mapping[str, Any]) -> str:
    if not plan.get("arms"):
        return "none"
    parts = [
        f"{_listed(plan.get('steps'))} steps of {plan.get('batch_size')} on {plan.get('data')}",
        "each task by itself" if plan.get("per_task") else "all tasks at once",
        f"from {_listed(plan.get('recovery_levels'))}",
        f"learning rate {_listed(plan.get('lr'))}" if plan.get("lr") else "the default learning rate",
        f"seeds {_listed(plan.get('seeds'))}",
        "where a row says before training, none",
    ]
    return ", ".join(parts)


def _listed(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
