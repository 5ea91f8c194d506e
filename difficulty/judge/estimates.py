"""Bootstrap draws over some cells as estimates, corrected for the smallest of the cells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from difficulty.judge.draws import Draws
from difficulty.judge.verdicts import Rules
from difficulty.stats.bootstrap import summarise
from difficulty.stats.result import Estimate, Floats


def fewest_clusters(draws: Draws, cells: list[int] | tuple[int, ...]) -> int:
    """Clusters of the smallest cell: what the small-sample correction of intervals goes by."""
    return min(draws.cells[i].n_clusters for i in cells)


def sample_size(draws: Draws, cells: list[int]) -> tuple[int, int]:
    """Items and distinct clusters of some cells."""
    clusters = np.concatenate([draws.cells[i].clusters for i in cells])
    return sum(draws.cells[i].n_items for i in cells), len(np.unique(clusters))


def tier_slope(draws: Draws, losses: Floats, cells: list[int] | tuple[int, ...]) -> Floats:
    """Least-squares slope on the tier number of `losses` (..., n_cells of `cells`), shape (...,)."""
    tiers = np.array([draws.cells[i].tier for i in cells], dtype=float)
    centred = tiers - tiers.mean()
    slope: Floats = losses @ (centred / (centred**2).sum())
    return slope


def sized(draws: Floats, fewest: int, size: tuple[int, int], rules: Rules) -> Estimate:
    """`draws` as an estimate whose interval is corrected for the smallest cell; `size`: items and clusters in all."""
    found = summarise(draws, size[0], fewest, rules.confidence)
    return replace(found, n_clusters=size[1])


def envelope(draws: Floats, fewest: int, size: tuple[int, int], rules: Rules) -> Estimate:
    """One estimate for all links (first axis of `draws`): the first one's value, the widest interval, the largest p."""
    found = [sized(link, fewest, size, rules) for link in draws]
    return Estimate(
        found[0].estimate,
        min(e.ci_low for e in found),
        max(e.ci_high for e in found),
        max(e.p for e in found),
        *size,
    )
