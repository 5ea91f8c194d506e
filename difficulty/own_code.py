"""Code of a user's own, which an option names as `module:function`: found, looked at, and said, before it is run or called."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from difficulty.errors import UsageError

_said: set[str] = set()
_CACHED = type(functools.lru_cache(len))  # functions below functools.cache and lru_cache


def own_module(name: str, given: str) -> ModuleType:
    """The module `name`, which `given` (an option with its value, for sentences) asks for; which file that is, is said once on stderr.

    Raises:
        UsageError: it is one of Python's own, there are two of that name, or it cannot be imported.
    """
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names:
        raise UsageError(f"{given}: {top!r} is a module of Python itself. Give your own file another name.")
    file = _file_of(name, given)
    here = _here_by_dash_m() if file is not None and _within(Path(file), Path.cwd()) else None
    if here and (other := _elsewhere(top, here)):
        raise UsageError(
            f"{given}: {top!r} names two modules, one in this folder and {other}. Give your own file another name."
        )
    try:
        module = importlib.import_module(name)
    except Exception as error:  # whatever a module of one's own raises
        raise UsageError(
            f"{given}: module {name!r} could not be imported ({error}).{_beside(name)}"
        ) from error
    _say(given, name, file, here is not None)
    return module


def own_function(given: str, option: str, takes: Sequence[str]) -> Callable[..., Any]:
    """The function that `given`, a `module:function`, names.

    Raises:
        UsageError: the module or the function is not there, or it does not take what it would be called with.
    """
    module_name, _, name = given.rpartition(":")
    if not module_name or not name:
        raise UsageError(
            f"{option}={given!r} names no function. Write module:function, with a module on Python's path."
        )
    module = own_module(module_name, f"{option}={given!r}")
    if not hasattr(module, name):
        raise UsageError(f"{option}={given!r} could not be imported: module {module_name!r} has no {name!r}.")
    found = getattr(module, name)
    check_takes(found, f"{option}={given!r}", takes)
    return found  # type: ignore[no-any-return]


def check_takes(function: Any, what: str, takes: Sequence[str]) -> None:
    """Refuse, before it is called, what cannot be called with these arguments.

    Raises:
        UsageError: it is no function, or one with another signature.
    """
    wanted = f"Name a Python function that takes ({', '.join(takes)})."
    if not _is_python_function(function):
        raise UsageError(f"{what} is no function of Python. {wanted}")
    signature = inspect.signature(function)
    try:
        signature.bind(*takes)
    except TypeError as error:
        raise UsageError(f"{what} takes {signature}. {wanted}") from error


def _is_python_function(function: Any) -> bool:
    """Also an object that is called like one; none of C, whose arguments cannot be looked at, and no class."""
    if inspect.isclass(function):
        return False
    while isinstance(function, (functools.partial, _CACHED)):
        function = function.func if isinstance(function, functools.partial) else inspect.unwrap(function)
    if inspect.isfunction(function) or inspect.ismethod(function):
        return True
    return inspect.isfunction(
        inspect.getattr_static(type(function), "__call__", None)
    )  # also of a class above its own


def _file_of(name: str, given: str) -> str | None:
    """The file of a module that is imported already or would be; packages above it are imported, as Python does."""
    known = sys.modules.get(name)
    if known is not None:
        return getattr(known, "__file__", None)
    try:
        spec = importlib.util.find_spec(name)
    except Exception as error:
        raise UsageError(
            f"{given}: module {name!r} could not be imported ({error}).{_beside(name)}"
        ) from error
    return None if spec is None or not spec.has_location else spec.origin


def _here_by_dash_m() -> str | None:
    """This folder, where modules are looked for in it for no other reason than that Python was started by `python -m`."""
    here = os.path.realpath(Path.cwd())
    by_module = getattr(sys.modules.get("__main__"), "__spec__", None) is not None
    first, *others = (os.path.realpath(folder or ".") for folder in sys.path)
    return here if by_module and first == here and here not in others else None


def _elsewhere(top: str, here: str) -> str | None:
    """Where else a module of this name lies."""
    spec = PathFinder.find_spec(
        top, [folder for folder in sys.path if os.path.realpath(folder or ".") != here]
    )
    return None if spec is None else str(spec.origin or next(iter(spec.submodule_search_locations or ())))


def _within(file: Path, folder: Path) -> bool:
    return file.resolve().is_relative_to(folder.resolve())


def _beside(name: str) -> str:
    """What to do where the module lies in this folder, in which the commands do not look."""
    path = Path(*name.split("."))
    if Path(f"{path}.py").is_file() or (path / "__init__.py").is_file():
        return " It lies in this folder, which is not on Python's path: set PYTHONPATH=. before the command."
    return ""


def _say(given: str, name: str, file: str | None, by_dash_m: bool) -> None:
    import multiprocessing

    if given in _said or multiprocessing.parent_process() is not None:
        return
    _said.add(given)
    print(f"junkdna: note: {given} runs code of {file or name}", file=sys.stderr)
    if by_dash_m:
        print(
            f"junkdna: warning: {name!r} was found in this folder only because Python was started with -m; the commands junkdna and lm_eval "
            "do not look there. Set PYTHONPATH=. to have it everywhere",
            file=sys.stderr,
        )
