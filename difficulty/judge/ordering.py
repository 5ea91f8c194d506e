"""How the loss is ordered over tiers at each level: the slope of the loss on the tier number."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from difficulty.judge.draws import Draws
from difficulty.judge.estimates import envelope, fewest_clusters, sample_size, sized, tier_slope
from difficulty.judge.series import Series
from difficulty.judge.verdicts import Rules
from difficulty.stats.bootstrap import interval
from difficulty.stats.result import Bools, Estimate, Floats


@dataclass(frozen=True)
class Level:
    """One level of a method in one family. `cells`: those that take part; `usable`, or `why` not."""

    severity: float
    at: int
    cells: tuple[int, ...]
    usable: bool
    why: str
    loss: float = float("nan")  # mean latent loss over `cells`, log-odds
    slope: Estimate | None = None  # latent, log-odds a tier
    observed: Estimate | None = None  # score a tier


@dataclass(frozen=True)
class Ordering:
    """Slopes of the loss on the tier, averaged over the usable levels.

    `latent`: (n_links, 1 + B) log-odds a tier; `observed`: (1 + B,) score a tier; both None without a usable level.
    `losses` (n_levels, 1 + B) and `slopes` (n_levels, 1 + B): latent, probit link, at every level with two tiers or more.
    """

    family: str
    series: Series
    levels: tuple[Level, ...]
    latent: Floats | None = field(repr=False)
    observed: Floats | None = field(repr=False)
    losses: Floats = field(repr=False)
    slopes: Floats = field(repr=False)
    n_items: int
    n_clusters: int

    @property
    def usable(self) -> tuple[Level, ...]:
        return tuple(level for level in self.levels if level.usable)


def order(
    draws: Draws, family: str, series: Series, takes_part: Bools, floor: Bools, rules: Rules
) -> Ordering:
    """The ordering of one family under one method. `takes_part` (n_cells,), `floor` (n_cells, n_conditions): cells at chance.

    A level is usable where at least two tiers above the floor are left and their mean loss is above 0 (interval at
    alpha / number of levels). The mean is used, and not the tier that moved most, because it says nothing about the
    slope: choosing levels by it does not choose slopes.
    """
    own = [i for i in draws.family(family) if takes_part[i]]
    n_draws = draws.score.shape[0]
    losses = np.full((len(series.at), n_draws), np.nan)
    slopes = np.full((len(series.at), n_draws), np.nan)
    levels: list[Level] = []
    latent, observed = [], []
    for number, (severity, k) in enumerate(zip(series.levels, series.at, strict=True)):
        cells = tuple(i for i in own if not floor[i, k])
        if len(cells) < 2:
            why = "fewer than two tiers above chance are left"
            levels.append(Level(severity, k, cells, False, why))
            continue
        lost = draws.latent[:, :, cells, 0] - draws.latent[:, :, cells, k]
        score = draws.score[:, cells, 0] - draws.score[:, cells, k]
        slope = tier_slope(draws, lost, cells)
        score_slope = tier_slope(draws, score, cells)
        losses[number], slopes[number] = lost[0].mean(axis=-1), slope[0]
        moved = _moved(draws, lost, score, cells, rules, len(series.at))
        n = fewest_clusters(draws, cells), sample_size(draws, list(cells))
        levels.append(
            Level(
                severity,
                k,
                cells,
                moved,
                "" if moved else "the mean loss is not shown to be above 0",
                float(losses[number, 0]),
                envelope(slope, *n, rules),
                sized(score_slope, *n, rules),
            )  # fmt: skip
        )
        if moved:
            latent.append(slope)
            observed.append(score_slope)
    n_items, n_clusters = sample_size(draws, own) if own else (0, 0)
    return Ordering(
        family, series, tuple(levels),
        np.mean(latent, axis=0) if latent else None, np.mean(observed, axis=0) if observed else None,
        losses, slopes, n_items, n_clusters,
    )  # fmt: skip


def _moved(
    draws: Draws, lost: Floats, score: Floats, cells: tuple[int, ...], rules: Rules, n_levels: int
) -> bool:
    confidence = 1 - rules.alpha / n_levels
    n = fewest_clusters(draws, cells)
    lows = [interval(mean, n, confidence)[0] for mean in (*lost.mean(axis=-1), score.mean(axis=-1))]
    return bool(min(lows[:-1]) > 0 or lows[-1] > 0)


def at_loss(ordering: Ordering, losses: Floats, cells: tuple[int, ...]) -> Floats | None:
    """The slope of `ordering` where its mean latent loss over `cells` is `losses` (1 + B,), between levels (loss 0: 0).

    Only levels with just these tiers above the floor count, because a mean over other tiers is another measure of damage.
    None where none of them loses as much.
    """
    known = [n for n, level in enumerate(ordering.levels) if level.cells == cells]
    if not known or losses[0] > ordering.losses[known, 0].max():
        return None
    x = np.vstack([np.zeros(losses.shape[0]), np.maximum.accumulate(ordering.losses[known], axis=0)])
    y = np.vstack([np.zeros(losses.shape[0]), ordering.slopes[known]])
    return interpolate(x, y, losses)


def interpolate(x: Floats, y: Floats, wanted: Floats) -> Floats:
    """Column-wise linear interpolation: `x`, `y` (n, m) with x rising along axis 0, `wanted` (m,); ends are held."""
    wanted = np.clip(wanted, x[0], x[-1])
    right = np.clip((x < wanted).sum(axis=0), 1, len(x) - 1)
    columns = np.arange(x.shape[1])
    x0, x1 = x[right - 1, columns], x[right, columns]
    share = np.where(x1 > x0, (wanted - x0) / np.where(x1 > x0, x1 - x0, 1.0), 0.0)
    result: Floats = y[right - 1, columns] + share * (y[right, columns] - y[right - 1, columns])
    return result
