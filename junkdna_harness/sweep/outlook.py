"""What later rounds of a sweep may come to, and what they found, in the words of a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from junkdna_harness.sweep.later import Later
from junkdna_harness.sweep.plan import Plan
from junkdna_harness.sweep.search import MOST_TRIED


def outlook(plan: Plan) -> tuple[int, list[str]]:
    """The most runs that later rounds add to a plan, and sentences on what they do."""
    later, most, said = plan.later, 0, []
    if later is None:
        return 0, []
    if later.refine is not None:
        draws = Counter((c.model, c.method) for c in later.templates if c.method not in later.controls)
        most += later.most_levels * max(draws.values()) * len(plan.models)
        said.append(
            f"then, where {later.refine} cannot resolve a level, levels between: at most {later.most_levels} for each model"
        )
    if later.controls:
        more = later.most_levels if later.refine is not None else 0
        most += _most_matched(plan, later, more)
        said.append(
            f"then, for each level of {later.primary}, the sparsities of {', '.join(later.controls)} with the same loss on the "
            f"calibration half: at most {MOST_TRIED} evaluations for each, shared where they can be"
        )
    return most, [*said, f"later rounds: at most {most} more runs"]


def _most_matched(plan: Plan, later: Later, more: int = 0) -> int:
    """The most runs that matching adds to a plan, whose primary method may get `more` levels: every target sought in vain."""
    runs = 0
    for model in range(len(plan.models)):
        cells = [c for c in plan.cells if c.model == model and c.kind == "prune" and c.pattern is None]
        levels = len({c.level for c in cells if c.method == later.primary})
        draws = len([c for c in later.templates if c.model == model and c.method in later.controls])
        runs += MOST_TRIED * (levels + more) * draws
    return runs


def matched_rows(matches: Iterable[Mapping[str, Any]]) -> Sequence[tuple[str, ...]]:
    """Rows for a table: the control, its level, its loss, and the level and loss that it was matched to."""
    return [
        (
            str(match["method"]), f"{match['level']:.10g}", f"{match['loss']:.3f}",
            f"{match['matched_to']['method']} {match['matched_to']['level']:.10g}", f"{match['target_loss']:.3f}",
        )
        for match in matches
        if match["reached"]
    ]  # fmt: skip
