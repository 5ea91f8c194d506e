"""What the plots draw: bootstrap draws of one model's scores by tier, from the same draws that the verdicts use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from difficulty.judge.draws import Draws, draw
from difficulty.judge.panel import Panel, build_panel
from difficulty.judge.series import Series, conditions, series_of
from difficulty.stats import interval, isotonic

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
RESAMPLES = 400  # of the bands; the verdicts take more


@dataclass(frozen=True)
class Curve:
    """A score along `x`: `seen` as measured, `fit` isotonic, `low` to `high` its 95 % band; all of shape (n_levels,)."""

    label: str
    x: Floats
    seen: Floats
    fit: Floats
    low: Floats
    high: Floats
    chance: float


@dataclass(frozen=True)
class Measured:
    """One model's panel with its draws and the series of its methods."""

    panel: Panel = field(repr=False)
    draws: Draws = field(repr=False)
    series: tuple[Series, ...]

    @property
    def n_items(self) -> int:
        """Items in each run."""
        return len(self.panel.items)

    @property
    def tiers(self) -> list[int]:
        """The tiers of all families, sorted."""
        return sorted({cell.tier for cell in self.draws.cells})

    def of_kind(self, kind: str) -> list[Series]:
        """The series that prune, or that quantize."""
        return [series for series in self.series if series.kind == kind]

    def cells(self, tier: int | None = None, family: str | None = None) -> list[int]:
        """Indices of the cells of a tier, a family, or both."""
        return [
            i
            for i, cell in enumerate(self.draws.cells)
            if (tier is None or cell.tier == tier) and (family is None or cell.family == family)
        ]


def measure(
    items: pd.DataFrame,
    effective_bits: Mapping[str, float],
    model: str,
    metric: str | None = None,
    seed: int = 0,
    allow_different_prompts: bool = False,
) -> Measured:
    """The draws of one model of a tidy table, the same for the same `seed`.

    Raises:
        UsageError: no dense run, other items in other runs, or a metric that is no share.
    """
    panel = build_panel(items, model=model, metric=metric, allow_different_prompts=allow_different_prompts)
    found = conditions(panel.runs, effective_bits)
    return Measured(
        panel, draw(panel, found, RESAMPLES, np.random.default_rng(seed)), tuple(series_of(found))
    )


def score_curve(
    measured: Measured, series: Series, cells: Sequence[int], label: str, x: Floats | None = None
) -> Curve:
    """The mean score of some cells (each counting the same) from dense through the levels of a series."""
    draws = measured.draws
    at = [0, *series.at]
    scores = draws.score[:, list(cells)][:, :, at].mean(axis=1)
    fits = isotonic(scores, increasing=False)
    clusters = sum(draws.cells[i].n_clusters for i in cells)
    low, high = interval(fits, clusters)
    chance = float(np.mean([draws.cells[i].chance for i in cells]))
    levels = np.array([0.0, *series.levels]) if x is None else x
    return Curve(label, levels, scores[0], fits[0], low, high, chance)


def losses(measured: Measured, series: Series, rows: Sequence[Sequence[int]]) -> Floats:
    """Loss against dense, shape (len(rows), n_levels): each row the mean over some cells."""
    score = measured.draws.score[0]
    return np.array([(score[list(r), :1] - score[list(r)][:, list(series.at)]).mean(axis=0) for r in rows])


def recovery_gaps(measured: Measured) -> list[tuple[str, list[int], Floats, Floats, Floats]]:
    """(label, tiers, gap, low, high) for each level of sparse training: dense after equal training minus sparse after it."""
    draws = measured.draws
    where = {(c.method, round(c.level, 9)): k for k, c in enumerate(draws.conditions)}
    found = []
    for (method, level), k in sorted(where.items(), key=lambda item: (item[0][0], item[0][1])):
        arm = method.partition("+")[2]
        name, _, fraction = arm.partition("@")
        dense = where.get((f"dense+dense_transfer{'@' + fraction if fraction else ''}", 0.0))
        if draws.conditions[k].kind != "recovered" or method.startswith("dense+") or dense is None:
            continue
        rows = []
        for tier in measured.tiers:
            cells = measured.cells(tier=tier)
            gap = (draws.score[:, cells, dense] - draws.score[:, cells, k]).mean(axis=1)
            low, high = interval(gap, sum(draws.cells[i].n_clusters for i in cells))
            rows.append((float(gap[0]), float(low), float(high)))
        gaps = np.array(rows)
        label = f"{name.replace('_', ' ')} at {100 * level:g} %" + (
            f", {fraction} of the data" if fraction else ""
        )
        found.append((label, measured.tiers, gaps[:, 0], gaps[:, 1], gaps[:, 2]))
    return found
