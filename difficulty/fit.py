"""`difficulty.fit`, as a module and as the function: `from difficulty.fit import fit` is older than `from difficulty import fit`."""

from __future__ import annotations

from difficulty.callable_module import make_callable
from difficulty.judge.fit import FitResult, fit

__all__ = ["FitResult", "fit"]

make_callable(__name__, "difficulty.judge.fit:fit")
