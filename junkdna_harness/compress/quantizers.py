"""The whole contract of a weight quantizer, on one screen; built-in ones join the same way as anybody's.

from junkdna_harness.compress import Format, Rounding, quantizer

@quantizer("half", Format("half", widths=(16,), groups=()))
def half(weight, how):                       # fp32 (out, in); how: Rounding
    return weight.half().float()             # what is left of it, fp32 (out, in); zero stays zero
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from difficulty.errors import UsageError
from difficulty.own_code import check_takes
from junkdna_harness.compress.formats import BUILT_IN, FORMATS, WHOLE_ROW, Format, add_format, get_format

if TYPE_CHECKING:
    from torch import Tensor

    from junkdna_harness.compress.statistics import Statistic
    from junkdna_harness.compress.targets import Target

Function = TypeVar("Function", bound=Callable[..., Any])
_HOMES = {
    "rtn": "rtn", "gptq": "gptq", "awq": "awq", "fp8": "floats", "fp8-e5m2": "floats", "mxfp4": "floats", "nvfp4": "floats", "nf4": "nf4",
}  # fmt: skip


@dataclass(frozen=True)
class Rounding:
    """How to round one matrix. `group` neighbours in a row share a scale (-1: the whole row); where the bool mask `zeros`,
    shape (out, in), is true the result is zero (None: zeros are not held)."""

    bits: int
    group: int = WHOLE_ROW
    symmetric: bool = False
    act_order: bool = False
    zeros: Tensor | None = None

    def rows(self, weight: Tensor) -> Tensor:
        """`weight`, shape (out, in), as one row a group."""
        return weight.reshape(-1, weight.shape[1] if self.group == WHOLE_ROW else self.group)


@dataclass(frozen=True)
class Quantizer:
    """A quantizer: what it stores, what it needs to know of a layer's inputs, and the function from weights to rounded weights."""

    form: Format
    function: Callable[..., Any]
    needs: type[Statistic] | None
    ordered: type[Statistic] | None

    def statistic(self, act_order: bool) -> type[Statistic] | None:
        """What it needs to know of a layer's inputs."""
        return self.ordered if act_order else self.needs


_REGISTRY: dict[str, Quantizer] = {}


def quantizer(
    name: str,
    form: Format | None = None,
    *,
    needs: type[Statistic] | None = None,
    ordered: type[Statistic] | None = None,
) -> Callable[[Function], Function]:
    """Decorator that registers a quantizer under `name`; `form` says what it stores (built-in ones have theirs in `formats`).

    The function takes `weight`, fp32 (out, in), a `Rounding`, and, where `needs` is given, the layer's statistic (None where no
    calibration token reached the layer). It returns the rounded weights, fp32 (out, in).

    Raises:
        UsageError: the name is taken by another function, or `form` is of another name.

    Examples:
        >>> import torch
        >>> @quantizer("nearest-whole", Format("nearest-whole", (8,)))
        ... def nearest_whole(weight, rounding):
        ...     return weight.round()
        >>> nearest_whole(torch.tensor([[0.4, 1.6]]), Rounding(8)).tolist()
        [[0.0, 2.0]]
    """

    def register(function: Function) -> Function:
        home = f"{__package__}.{_HOMES.get(name, '')}"
        known = _REGISTRY.get(name)
        other = known and (known.function.__module__, known.function.__qualname__) != (
            function.__module__,
            function.__qualname__,
        )
        if other or (name in BUILT_IN and function.__module__ != home):
            raise UsageError(f"a quantizer named {name!r} exists already. Choose another name.")
        if form is not None:
            if form.name != name:
                raise UsageError(
                    f"quantizer {name!r} was given the format of {form.name!r}. Name them alike."
                )
            add_format(form)
        if name not in FORMATS:
            raise UsageError(f"quantizer {name!r} has no format. Give it one: Format({name!r}, widths=(4,)).")
        takes = ["weight", "how", *(["statistic"] if needs is not None else [])]
        check_takes(function, f"the quantizer {name!r}", takes)
        _REGISTRY[name] = Quantizer(FORMATS[name], function, needs, ordered)
        return function

    return register


def get_quantizer(name: str) -> Quantizer:
    """The quantizer `name`; 'package.module:name' imports that module first.

    Raises:
        UsageError: no such quantizer; the nearest name is suggested.

    Examples:
        >>> get_quantizer("gptq").needs.__name__
        'Hessian'
    """
    own = get_format(name).name
    if own in _HOMES:
        importlib.import_module(f"{__package__}.{_HOMES[own]}")
    if own not in _REGISTRY:
        raise UsageError(
            f"quantizer {own!r} has a format and no function. Register one: @quantizer({own!r})."
        )
    return _REGISTRY[own]


def resolve_group(targets: Sequence[Target], given: int | None, form: Format) -> int:
    """The group size in use: what was given, else the first of the format's that divides every input width.

    -1 (one scale per row) where none does and the format allows it.

    Raises:
        UsageError: the size does not divide a width; the layer is named.
    """
    if given is None:
        widths = {target.shape[1] for target in targets}
        found = next((size for size in form.groups if all(w % size == 0 for w in widths)), WHOLE_ROW)
        if found != WHOLE_ROW or not form.strict:
            return found
    size = form.groups[0] if given is None else given
    for target in targets:
        if size != WHOLE_ROW and target.shape[1] % size:
            raise UsageError(
                f"group_size={size} does not divide the input width {target.shape[1]} of {target.name}. "
                f"Choose a divisor, or -1 for one scale per row."
            )
    return size
