"""How the loss is ordered over tiers at each level: the slope of the loss on the tier number."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from difficulty.judge.draws import Draws
from difficulty.judge.series import Series
from difficulty.judge.verdicts import Rules
from difficulty.stats.bootstrap import interval, summarise
from difficulty.stats.mean import wilson
from difficulty.stats.result import Bools, Estimate, Floats

# Fewer wrong answers than this, and how far a tier lies above the ceiling is not known. Not smaller, because tiers are
# let in by the dense run's own errors: near the limit they come in when these happen to be many, and then seem to lose
# little. At 15 that bias is small beside the standard error (see the simulated worlds in benchmarks/honesty.py).
_CEILING = 15


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


def at_floor(draws: Draws, rules: Rules) -> Bools:
    """True (n_cells, n_conditions) where the score is not shown to lie above chance by `rules.floor` of the way to 1.

    The lower bound is the lower of Wilson's and the cluster bootstrap's.
    """
    flags = np.zeros(draws.score.shape[1:], dtype=bool)
    for i, cell in enumerate(draws.cells):
        low, _ = interval(draws.score[:, i], cell.n_clusters, rules.confidence)
        score = np.clip(draws.score[0, i], 0.0, 1.0)
        n = np.full(len(score), float(cell.n_items))
        bound = np.minimum(low, wilson(score * n, n, rules.confidence)[0])
        flags[i] = bound <= cell.chance + rules.floor * (1 - cell.chance)
    return flags


def at_ceiling(draws: Draws) -> Bools:
    """True (n_cells,) where the dense model errs so rarely that its latent position is unknown for want of margins."""
    wrong = np.array([(1 - draws.score[0, i, 0]) * c.n_items for i, c in enumerate(draws.cells)])
    flags: Bools = (wrong < _CEILING) & ~np.array(draws.from_margin)
    return flags


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


def order(
    draws: Draws, family: str, series: Series, takes_part: Bools, floor: Bools, rules: Rules
) -> Ordering:
    """The ordering of one family under one method. `takes_part` (n_cells,), `floor` from `at_floor`.

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
