"""`difficulty.fit`, as a module and as the function: `from difficulty.fit import fit` is older than `from difficulty import fit`."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from difficulty.judge.fit import FitResult, fit

__all__ = ["FitResult", "fit"]


class _CallableModule(ModuleType):
    """Importing this module puts it in the place of the function of the same name, so it answers for it."""

    def __call__(self, *arguments: Any, **options: Any) -> FitResult:
        return fit(*arguments, **options)


sys.modules[__name__].__class__ = _CallableModule
