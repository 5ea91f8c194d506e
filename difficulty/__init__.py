"""Difficulty tiers and the statistics of what compression costs on them; needs neither torch nor lm_eval.

* `read_runs("runs/embedded")` reads lm-eval's logs, sweeps and tidy tables into `Runs`.
* `fit(runs, rules=Rules(...))` judges the claims, and returns a `FitResult`, which prints the verdicts.
* `assign_tiers(scores)` cuts items into tiers of difficulty.
* `UsageError` is what a user's mistake raises, with one sentence.

Examples:
    >>> from difficulty import assign_tiers
    >>> assign_tiers([0.1, 0.2, 0.7, 0.9], bins=2, min_items=2).tier_of
    {'0': 1, '1': 1, '2': 2, '3': 2}
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
    return sorted({*globals(), *__all__})
