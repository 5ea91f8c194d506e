"""Difficulty tiers and the statistics of what compression costs on them; needs neither torch nor lm_eval.

>>> from difficulty import read_runs, fit
>>> fit(read_runs("runs/embedded")).headline()  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from difficulty.cut.tiers import assign_tiers
    from difficulty.errors import UsageError
    from difficulty.judge.fit import FitResult, fit
    from difficulty.judge.verdicts import Rules
    from difficulty.runs.read import Runs, read_runs

__all__ = ["FitResult", "Rules", "Runs", "UsageError", "assign_tiers", "fit", "read_runs"]

_HOMES = {
    "FitResult": "difficulty.judge.fit",
    "Rules": "difficulty.judge.verdicts",
    "Runs": "difficulty.runs.read",
    "UsageError": "difficulty.errors",
    "assign_tiers": "difficulty.cut.tiers",
    "fit": "difficulty.judge.fit",
    "read_runs": "difficulty.runs.read",
}


def __getattr__(name: str) -> Any:
    """Loaded when first asked for: pandas and scipy take a second, and every start of the command imports us."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
