"""The whole contract of a pruning method, on one screen; built-in methods join the same way as anybody's.

from junkdna_harness.compress import InputNorm, sparsifier

@sparsifier("mine", needs=InputNorm, scope="row")
def mine(weight, inputs):
    return weight.abs().sqrt() * inputs.norm      # (out, in), fp32: the lowest are removed
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from difficulty.errors import UsageError, did_you_mean
from difficulty.own_code import check_takes
from junkdna_harness.compress.notation import ALLOCATIONS, NONE, SCOPES, STRUCTURED, Scope
from junkdna_harness.compress.plugins import import_own

if TYPE_CHECKING:  # names are checked without torch
    from junkdna_harness.compress.statistics import Statistic

ENTRY_POINTS = "junkdna_harness.sparsifiers"
BUILT_IN = (
    "largest",
    "magnitude",
    "random",
    "ria",
    "sparsegpt",
    "wanda",
)  # modules of this package that register themselves


@dataclass(frozen=True)
class Sparsifier:
    """A method: what it needs to know of a layer, and the function from weights to scores (or to new weights)."""

    name: str
    function: Callable[..., Any]
    needs: type[Statistic] | None
    scope: Scope
    updates: bool

    @property
    def calibrated(self) -> bool:
        """True where the layer's inputs must be seen, so where calibration text is needed."""
        return self.needs is not None and self.needs.from_inputs

    @property
    def drawn(self) -> bool:
        """True where another seed gives another result: a statistic has the seed, or is of a sample of calibration text."""
        return self.needs is not None


_REGISTRY: dict[str, Sparsifier] = {}


def sparsifier(
    name: str, *, needs: type[Statistic] | None = None, scope: Scope = "layer", updates: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator that registers a method under `name`.

    The function takes `weight`, fp32 (out, in), and, where `needs` is given, the layer's statistic. It returns scores,
    fp32 (out, in). With `updates=True` it takes a third argument, a `Selection` that says which weights of a run of
    columns go, and returns the new weights, with zeros where they were removed.

    Raises:
        UsageError: the name is taken by another function, the scope is unknown, or the function takes other arguments.

    Examples:
        >>> from junkdna_harness.compress import InputNorm
        >>> @sparsifier("twice-wanda", needs=InputNorm, scope="row")
        ... def twice_wanda(weight, inputs):
        ...     return 2 * weight.abs() * inputs.norm
        >>> get_sparsifier("twice-wanda").scope
        'row'
    """
    if scope not in SCOPES:
        raise UsageError(f"scope={scope!r} of method {name!r} is unknown. Choose one of {', '.join(SCOPES)}.")

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        known = _REGISTRY.get(name)
        source = (function.__module__, function.__qualname__)
        foreign = name in BUILT_IN and function.__module__ != f"{__package__}.{name}"
        other = known and (known.function.__module__, known.function.__qualname__) != source
        base, dash, last = name.rpartition("-")
        if dash and (last in ALLOCATIONS or base in STRUCTURED):
            raise UsageError(
                f"a method named {name!r} would be taken for {base} with {last}. Choose another name."
            )
        if name in (NONE, *STRUCTURED) or foreign or other:
            raise UsageError(f"a method named {name!r} exists already. Choose another name.")
        takes = ["weight", *(["statistic"] if needs is not None else []), *(["selection"] if updates else [])]
        check_takes(function, f"the method {name!r}", takes)
        _REGISTRY[name] = Sparsifier(name, function, needs, scope, updates)
        return function

    return register


def sparsifiers() -> dict[str, Sparsifier]:
    """All registered methods by name, those of installed plugins (entry points of `junkdna_harness.sparsifiers`) too.

    Examples:
        >>> {"magnitude", "random", "sparsegpt", "wanda"} <= set(sparsifiers())
        True
    """
    for name in BUILT_IN:
        importlib.import_module(f"{__package__}.{name}")
    _load_plugins()
    return dict(sorted(_REGISTRY.items()))


def check_method(name: str) -> None:
    """Refuse a method that is not there; a built-in one is known without loading it, and torch with it.

    Raises:
        UsageError: no such method; the nearest name is suggested.
    """
    own = import_own(name, "method", BUILT_IN)
    if own in BUILT_IN or own in _REGISTRY:
        return
    _load_plugins()
    known = sorted({*BUILT_IN, *_REGISTRY})
    if own not in known:
        allowed = [*known, *STRUCTURED, NONE]
        raise UsageError(
            f"method={name!r} is unknown. Choose one of {', '.join(allowed)}.{did_you_mean(own, allowed)}"
        )


def get_sparsifier(name: str) -> Sparsifier:
    """The method `name`; 'package.module:name' imports that module first.

    Raises:
        UsageError: no such method; the nearest name is suggested.

    Examples:
        >>> get_sparsifier("wanda").name
        'wanda'
    """
    check_method(name)
    return sparsifiers()[name.rpartition(":")[2]]


@cache  # to look through all that is installed takes 10 ms, and every cell of a sweep asks
def _load_plugins() -> None:
    for point in entry_points(group=ENTRY_POINTS):
        point.load()
