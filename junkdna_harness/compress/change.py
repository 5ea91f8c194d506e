"""The floor of compression: scores, the removal itself, and what happened on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from difficulty.errors import UsageError
from junkdna_harness.compress.notation import NM, Pattern
from junkdna_harness.compress.registry import Sparsifier
from junkdna_harness.compress.targets import Target

Progress = Callable[[int, int, str], None]  # done, total, what


@dataclass
class Outcome:
    """What happened on the way, for the report.

    `kind` is 'pruned' (quantized too or not) or 'quantized'. `requested` is the sparsity that was asked for (None: nothing was); `sparsity` the share of the targets that is zero
    before anything is rounded, for rounding makes zeros of its own; `level` is set where it is known otherwise than by
    these two; `packing` the N:M that the weights keep; `moved` is true where weights that were kept have changed;
    `on_top_of` names what had been done to weights that were pruned further; `shared_bits` the bits per weight of scales where a file
    says them; `allocation` the share of each block; `structure` which whole blocks or experts are gone.
    """

    method: str
    pattern: Pattern | None = None
    scope: str | None = None
    seed: int = 0
    kind: str = "pruned"
    requested: float | None = None
    sparsity: float | None = None
    level: float | None = None
    packing: NM | None = None
    moved: bool = False
    on_top_of: str | None = None
    bits: int | None = None
    group: int | None = None
    symmetric: bool = False
    act_order: bool = False
    shared_bits: float | None = None
    quantizer: str | None = None
    calibration: dict[str, Any] | None = None
    allocation: dict[str, Any] | None = None
    structure: dict[str, Any] | None = None
    damping: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def score(method: Sparsifier, target: Target, statistic: Any = None, hold: bool = False) -> Tensor:
    """The method's scores of one target, fp32 (out, in). `hold`: weights that are zero already go first.

    Raises:
        UsageError: the method returned another shape, or NaN.
    """
    weight = target.weight.float()
    scores = method.function(weight) if statistic is None else method.function(weight, statistic)
    if scores.shape != weight.shape:
        raise UsageError(
            f"method {method.name!r} returned scores of shape {tuple(scores.shape)} for {target.name}; its weights are "
            f"{tuple(weight.shape)}. Return one score per weight."
        )
    if bool(torch.isnan(scores).any()):
        raise UsageError(f"method {method.name!r} returned NaN scores for {target.name}.")
    checked: Tensor = scores
    return checked.masked_fill(weight == 0, -torch.inf) if hold else checked


def remove(target: Target, mask: Tensor) -> None:
    """Set to zero, in place, the weights where the bool `mask`, shape (out, in), is true."""
    target.weight.masked_fill_(mask.to(target.weight.device), 0)
