"""What the plots draw: bootstrap draws of one model's scores by tier, from the same draws that the verdicts use."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from difficulty.judge.controls import control_of, recovered_from_pruned
from difficulty.judge.draws import ScoreDraws, draw_scores
from difficulty.judge.panel import Panel, build_panel
from difficulty.judge.series import Condition, Series, conditions, series_of
from difficulty.runs.identity import Method
from difficulty.stats import interval, isotonic, wilson
from difficulty.stats.mean import FEW_CLUSTERS

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
RESAMPLES = 400  # of the bands; the verdicts take more


@dataclass(frozen=True)
class Curve:
    """A score along `x`: `seen` as measured, `fit` isotonic, `low` to `high` its 95 % band; all of shape (n_levels,).

    The first level is the dense model. `matched`: levels that were chosen by their loss. `seeds`: the lowest and the highest
    replicate at each level, None where there is one of each.
    """

    label: str
    x: Floats
    seen: Floats
    fit: Floats
    low: Floats
    high: Floats
    chance: float
    matched: NDArray[np.bool_]
    seeds: tuple[Floats, Floats] | None = None


@dataclass(frozen=True)
class Measured:
    """One model's panel with its draws and the series of its methods. `matched`: conditions whose level was chosen by its loss."""

    panel: Panel = field(repr=False)
    draws: ScoreDraws = field(repr=False)
    series: tuple[Series, ...]
    matched: frozenset[int] = frozenset()

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
    matched: Collection[str] = (),
) -> Measured:
    """The draws of one model of a tidy table, the same for the same `seed`. `matched`: runs whose level was chosen by its loss.

    Raises:
        UsageError: no dense run, other items in other runs, or a metric that is no share.
    """
    panel = build_panel(items, model=model, metric=metric, allow_different_prompts=allow_different_prompts)
    found = conditions(panel.runs, effective_bits)
    chosen = [k for k, run in enumerate(panel.runs["run"]) if run in matched]
    return Measured(
        panel,
        draw_scores(panel, found, RESAMPLES, np.random.default_rng(seed)),
        tuple(series_of(found)),
        frozenset(k for k, one in enumerate(found) if set(one.columns) & set(chosen)),
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
    low, high = _with_a_width(*interval(fits, clusters), scores[0], clusters)
    chance = float(np.mean([draws.cells[i].chance for i in cells]))
    levels = np.array([0.0, *series.levels]) if x is None else x
    matched = np.array([k in measured.matched for k in at])
    return Curve(label, levels, scores[0], fits[0], low, high, chance, matched, _seeds(measured, at, cells))


def _seeds(measured: Measured, at: Sequence[int], cells: Sequence[int]) -> tuple[Floats, Floats] | None:
    """The lowest and the highest mean score over replicates at each of some conditions."""
    draws, score = measured.draws, measured.panel.score
    columns = [list(draws.conditions[k].columns) for k in at]
    if all(len(own) == 1 for own in columns[1:]):
        return None
    each = [
        np.mean([score[draws.cells[i].rows][:, own].mean(axis=0) for i in cells], axis=0) for own in columns
    ]
    return np.array([own.min() for own in each]), np.array([own.max() for own in each])


def _with_a_width(low: Floats, high: Floats, seen: Floats, n_clusters: int) -> tuple[Floats, Floats]:
    """The band, at least Wilson's where fewer than ten clusters can hold the rarer answer: resamples of equal answers are equal."""
    few = n_clusters * np.minimum(seen, 1 - seen) < FEW_CLUSTERS
    least, most = wilson(seen * n_clusters, np.full(len(seen), float(n_clusters)))
    return np.where(few, np.minimum(low, least), low), np.where(few, np.maximum(high, most), high)


def losses(measured: Measured, series: Series, rows: Sequence[Sequence[int]]) -> Floats:
    """Loss against dense, shape (len(rows), n_levels): each row the mean over some cells."""
    score = measured.draws.score[0]
    return np.array([(score[list(r), :1] - score[list(r)][:, list(series.at)]).mean(axis=0) for r in rows])


def recovery_gaps(measured: Measured) -> list[tuple[str, list[int], Floats, Floats, Floats]]:
    """(label, tiers, gap, low, high) for each level of sparse training: dense after equal training minus sparse after it."""
    draws, found = measured.draws, []
    ways = [(c.method, c.level, k) for k, c in enumerate(draws.conditions) if recovered_from_pruned(c)]
    ways = _longest(ways, draws.conditions)
    bases = {draws.conditions[k].done.before for _, _, k in ways}
    for _, level, k in sorted(ways):
        done = draws.conditions[k].done
        control = control_of(draws.conditions, done)
        if control is None:
            continue
        rows = []
        for tier in measured.tiers:
            cells = measured.cells(tier=tier)
            gap = (draws.score[:, cells, control.at] - draws.score[:, cells, k]).mean(axis=1)
            rows.append(with_interval(gap, sum(draws.cells[i].n_clusters for i in cells)))
        gaps = np.array(rows)
        label = f"{_trainings(done)} at {100 * level:g} %"
        if len(bases) > 1:
            label = f"{done.before}, {label}"
        found.append((label, measured.tiers, gaps[:, 0], gaps[:, 1], gaps[:, 2]))
    return found


def _longest(
    ways: Sequence[tuple[str, float, int]], found: Sequence[Condition]
) -> list[tuple[str, float, int]]:
    """The ways without those of which a longer training is there too: these are drawn by budget."""
    most: dict[tuple[Method, float], tuple[int, tuple[str, float, int]]] = {}
    for way in ways:
        done = found[way[2]].done
        steps = sum(r.steps or 0 for r in done.recoveries)
        key = replace(done, recoveries=tuple(replace(r, steps=None) for r in done.recoveries)), way[1]
        if key not in most or most[key][0] < steps:
            most[key] = steps, way
    return [way for _, way in most.values()]


def with_interval(drawn: Floats, n_clusters: int) -> tuple[float, float, float]:
    """A difference of scores and its 95 % interval, from the sample (index 0) and its resamples."""
    low, high = interval(drawn, n_clusters)
    # Where no resample differs, nothing was seen of a change that n clusters can miss (the rule of three).
    missed = 1 - 0.025 ** (1 / n_clusters)
    return float(drawn[0]), min(float(low), drawn[0] - missed), max(float(high), drawn[0] + missed)


def _trainings(done: Method) -> str:
    """The trainings in words, e.g. `sparse transfer lora, 0.25 of the data`."""
    return " then ".join(
        str(replace(r, share=1.0, steps=None, lr=None)).replace("_", " ")
        + (f", {r.share:g} of the data" if r.share < 1 else "")
        + (f", {r.steps:,} steps" if r.steps is not None else "")
        + (f", rate {r.lr:g}" if r.lr is not None else "")
        for r in done.recoveries
    )
