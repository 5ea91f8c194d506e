"""What fraction goes: an unstructured sparsity, or N:M where N is the number KEPT of every M."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from torch import Tensor

from difficulty.errors import UsageError
from junkdna_harness.compress.rank import lowest

Scope = Literal["row", "layer", "global"]
SCOPES: tuple[Scope, ...] = ("row", "layer", "global")


@dataclass(frozen=True)
class Sparsity:
    """Unstructured: `fraction` of the weights of every group (row, layer or the whole model) is removed."""

    fraction: float

    def removed(self, n: int) -> int:
        """How many of `n` weights are removed: the nearest whole number, halves upwards.

        In decimal arithmetic, so that 0.3 of 10 is 3 and not what 0.3's binary neighbour gives.
        """
        return math.floor(Fraction(repr(float(self.fraction))) * n + Fraction(1, 2))

    @property
    def level(self) -> float:
        """The sparsity, in [0, 1)."""
        return self.fraction

    def __str__(self) -> str:
        return f"{self.fraction:g}"


@dataclass(frozen=True)
class NM:
    """Of every `group` neighbouring weights along the input, `kept` stay (2:4 keeps 2 of 4, 1:8 keeps 1 of 8)."""

    kept: int
    group: int

    @property
    def level(self) -> float:
        """The sparsity, in (0, 1)."""
        return 1 - self.kept / self.group

    def __str__(self) -> str:
        return f"{self.kept}:{self.group}"


Pattern = Sparsity | NM


def parse_sparsity(given: object) -> Sparsity:
    """A `Sparsity` from a number or its text.

    Raises:
        UsageError: no number, or outside [0, 1).
    """
    try:
        if isinstance(given, bool):
            raise ValueError
        value = float(str(given))
    except ValueError:
        raise UsageError(f"sparsity={given!r} is no number. Write a fraction, e.g. sparsity=0.5.") from None
    if not 0 <= value < 1:  # also refuses nan
        hint = f" Did you mean {value / 100:g}?" if 2 <= value < 100 else ""
        raise UsageError(f"sparsity={given} is not in [0, 1): it is the fraction of weights removed.{hint}")
    return Sparsity(value)


def parse_pattern(given: object) -> NM:
    """An `NM` from text like '2:4'.

    Raises:
        UsageError: not N:M with 0 < N < M.
    """
    match = re.fullmatch(r"\s*(\d+)\s*:\s*(\d+)\s*", str(given))
    how = "Write N:M with 0 < N < M, e.g. pattern=2:4 (keep 2 of every 4)."
    if not match:
        raise UsageError(f"pattern {str(given)!r} is not of the form N:M. {how}")
    kept, group = int(match[1]), int(match[2])
    if not 0 < kept < group:
        raise UsageError(f"pattern {str(given)!r} keeps {kept} of {group} weights. {how}")
    return NM(kept, group)


def removal_mask(scores: Tensor, pattern: Pattern, scope: Scope) -> Tensor:
    """What is removed, bool (out, in): the lowest scores of every group, exactly as many as `pattern` says.

    `scores` has shape (out, in); a group is a row, the whole matrix (`layer`), or M neighbours in a row (N:M).
    Ties go to the lower index first.
    """
    rows, columns = scores.shape
    if isinstance(pattern, NM):
        groups = scores.reshape(-1, pattern.group)
        return lowest(groups, pattern.group - pattern.kept).view(rows, columns)
    if scope == "row":
        return lowest(scores, pattern.removed(columns))
    return lowest(scores.reshape(1, -1), pattern.removed(rows * columns)).view(rows, columns)


def check_width(name: str, width: int, pattern: Pattern) -> None:
    """Refuse an input width that M does not divide.

    Raises:
        UsageError: names the layer.
    """
    if isinstance(pattern, NM) and width % pattern.group:
        raise UsageError(
            f"pattern {pattern} needs input widths divisible by {pattern.group}; {name} has {width}. "
            f"Choose another M, or leave that layer out with exclude=."
        )
