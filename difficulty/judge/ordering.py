"""How the loss is ordered over tiers at each level: the slope of the loss on the tier number, on every scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from difficulty.judge.draws import Draws
from difficulty.judge.scales import SCORE
from difficulty.judge.series import Series
from difficulty.judge.taking_part import fewest_clusters
from difficulty.judge.verdicts import Rules
from difficulty.stats.bootstrap import interval
from difficulty.stats.result import Bools, Floats

_BEYOND = 1.25  # how far beyond the largest measured loss a slope is still known
_WIDEST = 2.0  # the levels around a loss must not lie further apart than this many times the loss


@dataclass(frozen=True)
class Level:
    """One level of a method in one family. `cells`: those that take part; `usable`, or `why` not.

    `loss` and `slope` on each scale that decides; `bounds` of the slope on the first of them.
    """

    severity: float
    at: int
    cells: tuple[int, ...]
    usable: bool
    why: str
    loss: Mapping[str, float] = field(default_factory=dict)
    slope: Mapping[str, float] = field(default_factory=dict)
    bounds: tuple[float, float] = (float("nan"), float("nan"))


@dataclass(frozen=True)
class Ordering:
    """Slopes of the loss on the tier under one method.

    `mean[scale]` (1 + K, 1 + B): the slope averaged over the usable levels; empty without one. The same scales as in the
    draws, "score" and those of the sensitivity table too. `losses[scale]`, `slopes[scale]` (n_levels, 1 + K, 1 + B): mean
    loss and slope at every level with two tiers or more, on the scales that decide; NaN elsewhere.
    """

    series: Series
    levels: tuple[Level, ...]
    mean: Mapping[str, Floats] = field(repr=False)
    losses: Mapping[str, Floats] = field(repr=False)
    slopes: Mapping[str, Floats] = field(repr=False)

    @property
    def usable(self) -> tuple[Level, ...]:
        return tuple(level for level in self.levels if level.usable)


def tier_slope(draws: Draws, losses: Floats, cells: Sequence[int]) -> Floats:
    """Least-squares slope on the tier number of `losses` (..., n_cells of `cells`), shape (...,)."""
    tiers = np.array([draws.cells[i].tier for i in cells], dtype=float)
    centred = tiers - tiers.mean()
    slope: Floats = losses @ (centred / (centred**2).sum())
    return slope


def lost(draws: Draws, scale: str, cells: Sequence[int], k: int, against: int = 0) -> Floats:
    """What some cells lost at condition `k` against another, (1 + K, 1 + B, n_cells)."""
    values = draws.values[scale]
    loss: Floats = values[..., list(cells), against] - values[..., list(cells), k]
    return loss


def order(draws: Draws, series: Series, takes_part: Bools, floor: Bools, rules: Rules) -> Ordering:
    """The ordering of one family under one method. `takes_part` (n_cells,), `floor` (n_cells, n_conditions): cells at chance.

    A level is usable where at least two tiers above the floor are left and their mean loss is above 0 (interval at
    alpha / number of levels). The mean is used, and not the tier that moved most, because it says nothing about the
    slope: choosing levels by it does not choose slopes.
    """
    n_levels = len(series.at)
    shape = draws.values[draws.scales[0]].shape[:2]
    losses = {scale: np.full((n_levels, *shape), np.nan) for scale in draws.scales}
    slopes = {scale: np.full((n_levels, *shape), np.nan) for scale in draws.scales}
    levels: list[Level] = []
    for number, (severity, k) in enumerate(zip(series.levels, series.at, strict=True)):
        cells = tuple(i for i in np.flatnonzero(takes_part).tolist() if not floor[i, k])
        if len(cells) < 2:
            levels.append(Level(severity, k, cells, False, "fewer than two tiers above chance are left"))
            continue
        for scale in draws.scales:
            loss = lost(draws, scale, cells, k)
            losses[scale][number], slopes[scale][number] = loss.mean(axis=-1), tier_slope(draws, loss, cells)
        moved = _moved(draws, losses, number, cells, k, rules, n_levels)
        first = slopes[draws.scales[0]][number, 0]
        low, high = interval(first, fewest_clusters([draws.cells[i] for i in cells]), rules.confidence)
        levels.append(
            Level(
                severity, k, cells, moved, "" if moved else "the mean loss is not shown to be above 0",
                {scale: float(losses[scale][number, 0, 0]) for scale in draws.scales},
                {scale: float(slopes[scale][number, 0, 0]) for scale in draws.scales},
                (float(low), float(high)),
            )
        )  # fmt: skip
    return Ordering(series, tuple(levels), _averaged(draws, levels, slopes), losses, slopes)


def _moved(
    draws: Draws,
    losses: Mapping[str, Floats],
    number: int,
    cells: tuple[int, ...],
    k: int,
    rules: Rules,
    n_levels: int,
) -> bool:
    """Whether a mean loss is shown: on every scale that decides, or on the score."""
    confidence = 1 - rules.alpha / n_levels
    n = fewest_clusters([draws.cells[i] for i in cells])
    score = lost(draws, SCORE, cells, k)[0].mean(axis=-1)
    if interval(score, n, confidence)[0] > 0:
        return True
    return all(interval(losses[scale][number, 0], n, confidence)[0] > 0 for scale in draws.scales)


def _averaged(draws: Draws, levels: Sequence[Level], slopes: Mapping[str, Floats]) -> dict[str, Floats]:
    """Slopes averaged over the usable levels, on every scale of the draws."""
    usable = [n for n, level in enumerate(levels) if level.usable]
    if not usable:
        return {}
    found: dict[str, Floats] = {scale: slopes[scale][usable].mean(axis=0) for scale in draws.scales}
    for scale in draws.values:
        if scale not in found:
            each = [
                tier_slope(draws, lost(draws, scale, levels[n].cells, levels[n].at), levels[n].cells)
                for n in usable
            ]
            found[scale] = np.mean(each, axis=0)
    return found


def at_loss(ordering: Ordering, scale: str, losses: Floats, cells: tuple[int, ...]) -> Floats | None:
    """The slope of `ordering` where its mean loss over `cells` is `losses` (1 + K, 1 + B), between levels (loss 0: slope 0).

    Only levels with just these tiers above the floor count, because a mean over other tiers is another measure of damage.
    Up to a quarter beyond the largest loss that was measured the slope goes on in proportion to the loss, as it does between
    no loss and the first level. None where the loss lies further out, or where the two levels around it lie further apart
    than twice of it: then the slope between them is not known.
    """
    known = [n for n, level in enumerate(ordering.levels) if level.cells == cells]
    own = ordering.losses[scale]
    target = float(losses[0, 0])
    measured = np.concatenate([[0.0], np.maximum.accumulate(own[known, 0, 0])]) if known else np.zeros(1)
    if not 0 < target <= _BEYOND * measured[-1]:
        return None
    right = min(max(int((measured < target).sum()), 1), len(measured) - 1)
    if measured[right] - measured[right - 1] > _WIDEST * target:
        return None
    x = np.concatenate([np.zeros((1, *losses.shape)), np.maximum.accumulate(own[known], axis=0)])
    y = np.concatenate([np.zeros((1, *losses.shape)), ordering.slopes[scale][known]])
    found = interpolate(x.reshape(len(x), -1), y.reshape(len(y), -1), losses.ravel()).reshape(losses.shape)
    beyond = losses / np.where(x[-1] > 0, x[-1], np.inf)
    result: Floats = np.where(beyond > 1, found * beyond, found)
    return result


def interpolate(x: Floats, y: Floats, wanted: Floats) -> Floats:
    """Column-wise linear interpolation: `x`, `y` (n, m) with x rising along axis 0, `wanted` (m,); ends are held."""
    wanted = np.clip(wanted, x[0], x[-1])
    right = np.clip((x < wanted).sum(axis=0), 1, len(x) - 1)
    columns = np.arange(x.shape[1])
    x0, x1 = x[right - 1, columns], x[right, columns]
    share = np.where(x1 > x0, (wanted - x0) / np.where(x1 > x0, x1 - x0, 1.0), 0.0)
    result: Floats = y[right - 1, columns] + share * (y[right, columns] - y[right - 1, columns])
    return result
