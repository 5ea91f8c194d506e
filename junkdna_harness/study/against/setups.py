"""What differs between how a figure of the paper was made and how our study was, in one line per figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from junkdna_harness.study.against.known import setup_of
from junkdna_harness.study.against.ours import Ours
from junkdna_harness.study.against.points import Series


def setups(ours: Ours, points: Iterable[Series]) -> dict[str, str]:
    """Figure -> its line."""
    figures = dict.fromkeys(series.figure for series in points)
    return {figure: _line(figure, ours.plan, ours) for figure in figures}


def _line(figure: str, plan: Mapping[str, Any], ours: Ours) -> str:
    theirs = setup_of(figure)
    mine = {
        "model": ours.name if len(ours.models) == 1 else f"{ours.name}, {len(ours.models)} trainings",
        "method": f"{_listed(plan.get('methods'))} per matrix" if plan.get("methods") else "not told",
        "training": _training(plan),
        "metric": f"the likeliest option, over {len(ours.values):,} items of {len(ours.tasks)} tasks",
        "levels": ", ".join(filter(None, (str(plan.get("sparsity") or ""), str(plan.get("patterns") or "")))),
    }
    if theirs is None:
        return (
            f"not known how the paper's was made; ours: {'; '.join(f'{k} {v}' for k, v in mine.items() if v)}"
        )
    pairs = [(name, getattr(theirs, name), mine[name]) for name in ("model", "method", "training", "metric")]
    return "; ".join(f"{name}: {a}, ours {b}" for name, a, b in pairs) + f"; levels: ours {mine['levels']}"


def _training(plan: Mapping[str, Any]) -> str:
    if not plan.get("arms"):
        return "none"
    steps, rate, seeds = _listed(plan.get("steps")), _listed(plan.get("lr")), plan.get("seeds")
    from_levels = _listed(plan.get("recovery_levels"))
    each = "each task by itself" if plan.get("per_task") else "all tasks at once"
    parts = [
        f"{steps} steps of {plan.get('batch_size')} on {plan.get('data')}, {each}",
        f"from {from_levels}",
    ]
    parts += [f"learning rate {rate}"] if rate else ["the default learning rate"]
    parts += [f"{len(seeds)} seed{'s' * (len(seeds) != 1)}"] if isinstance(seeds, list) else []
    return ", ".join(parts)


def _listed(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
