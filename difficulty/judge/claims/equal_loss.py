"""The slopes of two methods compared at the same mean loss over the same tiers, on every scale."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from difficulty.judge.ordering import Level, Ordering, at_loss
from difficulty.stats.result import Floats


def slopes_at_equal_loss(
    other: Ordering, levels: Sequence[int], mine: Ordering, scales: Sequence[str]
) -> tuple[list[int], dict[str, Floats]]:
    """The slope of `mine` minus that of `other`, interpolated to the mean loss of `mine` at some of its levels, averaged.

    Only levels at which the other has that loss on every scale count. Returns their numbers, and for each scale (1 + K, 1 + B);
    nothing where there are none.
    """
    used: list[int] = []
    differences: dict[str, list[Floats]] = {scale: [] for scale in scales}
    for n in levels:
        cells = mine.levels[n].cells
        same = [at_loss(other, scale, mine.losses[scale][n], cells) for scale in scales]
        if any(found is None for found in same):
            continue
        used.append(n)
        for scale, found in zip(scales, same, strict=True):
            differences[scale].append(mine.slopes[scale][n] - found)
    return used, {scale: np.mean(each, axis=0) for scale, each in differences.items()} if used else {}


def usable(ordering: Ordering) -> list[int]:
    """The numbers of the usable levels."""
    return [n for n, level in enumerate(ordering.levels) if level.usable]


def loss_range(ordering: Ordering, scale: str) -> str:
    """The mean losses of a method where its tiers are above chance, e.g. `"0.12 to 2.30"`, or that there are none."""
    found = [level.loss[scale] for level in ordering.levels if scale in level.loss]
    return f"{min(found):.2f} to {max(found):.2f}" if found else "none with two tiers above chance"


def levels_words(levels: Sequence[Level]) -> list[float]:
    """The severities of some levels, for JSON."""
    return [level.severity for level in levels]
