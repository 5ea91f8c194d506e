"""Which weights go: the mask that removes exactly what a sparsity or N:M asks for, and the N:M that weights keep."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from difficulty.errors import UsageError
from difficulty.runs.level import TOLERANCE
from junkdna_harness.compress.notation import NM, Pattern, Quota, Scope
from junkdna_harness.compress.rank import lowest, lowest_of_rows
from junkdna_harness.compress.targets import Target

_GROUPS = (4, 8, 16)  # the M that are looked for where nothing says which N:M was used


def removal_mask(scores: Tensor, pattern: Pattern, scope: Scope) -> Tensor:
    """What is removed, bool (out, in): the lowest scores of every group, exactly as many as `pattern` says.

    `scores` has shape (out, in); a group is a row, the whole matrix (`layer`), or M neighbours in a row (N:M).
    Ties go to the lower index first.
    """
    rows, columns = scores.shape
    if isinstance(pattern, NM):
        groups = scores.reshape(-1, pattern.group)
        return lowest(groups, pattern.group - pattern.kept).view(rows, columns)
    if scope == "row" and isinstance(pattern, Quota):
        return lowest_of_rows(scores, pattern.by_row(rows))
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


def keeps(targets: Sequence[Target], pattern: NM) -> bool:
    """True if no group of M neighbours in any target holds more than N weights that are not zero."""
    for target in targets:
        if target.shape[1] % pattern.group:
            return False
        held = (target.weight.reshape(-1, pattern.group) != 0).sum(dim=1)
        if int(held.max()) > pattern.kept:
            return False
    return True


def pattern_in(targets: Sequence[Target], sparsity: float) -> NM | None:
    """The N:M, with M of 4, 8 or 16, that all targets keep and that explains their `sparsity`; None where none does."""
    for group in _GROUPS:
        kept = round((1 - sparsity) * group)
        found = NM(kept, group)
        if 0 < kept < group and abs(found.level - sparsity) <= TOLERANCE and keeps(targets, found):
            return found
    return None
