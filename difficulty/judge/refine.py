"""Which levels a claim lacks."""

from __future__ import annotations

from difficulty.judge.fit import FitResult


def levels_to_add(result: FitResult) -> dict[str, list[float]]:
    """Method -> the levels that halve the brackets in which P3 cannot resolve a critical level; empty where it can."""
    found: dict[str, list[float]] = {}
    for claim in result.claims:
        if claim.claim == "P3" and claim.scope.pooled:
            levels = [float(level) for level in claim.details.get("levels_to_add", ())]
            if levels:
                found[claim.method] = levels
    return found
