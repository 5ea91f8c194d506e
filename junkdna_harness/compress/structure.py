"""How much of a model went in whole parts, as its manifest has it; and the share of weights that are gone or zero."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def gone(structure: Mapping[str, Any] | None) -> float:
    """The share of the dense model's targeted weights that went with whole parts; 0 where none did."""
    found = (structure or {}).get("gone")
    return float(found) if isinstance(found, (int, float)) and 0 <= found < 1 else 0.0


def together(removed: float, zeros: float) -> float:
    """The share of weights that are gone or zero, where `removed` are gone and `zeros` of those that are left are zero.

    >>> together(0.5, 0.5)
    0.75
    """
    return removed + (1 - removed) * zeros


def join(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> dict[str, Any]:
    """The structure of a model of which parts went twice: shares and numbers of the dense model."""
    if not before:
        return dict(now)
    first = {name: before[name] for name in ("weights_targeted", "weights_all") if name in before}
    return {**now, **first, "gone": together(gone(before), gone(now)), "before": dict(before)}
