"""A module that is also a function: for packages that have the name of the one function most people want of them.

`from package import name` gives the function or the submodule of that name, whichever was imported last. Where the
submodule answers for the function, both are right.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


def make_callable(module: str, target: str) -> None:
    """Let calls of `module` go to `target`, written "package.module:function" and imported at the first call."""
    home, _, name = target.partition(":")

    class CallableModule(ModuleType):
        def __call__(self, *arguments: Any, **options: Any) -> Any:
            return getattr(import_module(home), name)(*arguments, **options)

    sys.modules[module].__class__ = CallableModule
