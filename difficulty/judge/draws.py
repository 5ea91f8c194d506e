"""Bootstrap draws of one family's cells on every scale: the one source that all claims are computed from.

Families are drawn one after the other, and what is not needed for the pooled verdicts is dropped, so that memory goes by the
largest family and not by the table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from difficulty.judge.panel import Panel
from difficulty.judge.scales import LINKS, SCORE, deciding, shown_beside
from difficulty.judge.series import Condition
from difficulty.stats.bootstrap import cluster_sums, resample_counts, weighted_means
from difficulty.stats.quantiles import trimmed_means_and_medians
from difficulty.stats.result import Floats, Ints
from difficulty.stats.scales import PROBIT_TO_LOGIT, latent_from_accuracy


@dataclass(frozen=True)
class Cell:
    """One tier of one family: `rows` of the panel, `clusters` (codes over the whole panel) of these rows."""

    family: str
    axis: str
    tier: int
    chance: float
    rows: Ints = field(repr=False)
    clusters: Ints = field(repr=False)

    @property
    def n_items(self) -> int:
        return len(self.rows)

    @cached_property
    def n_clusters(self) -> int:
        return len(np.unique(self.clusters))


@dataclass(frozen=True)
class Draws:
    """One family's cells, by tier, in the sample (index 0 of the second axis) and in each resample.

    `values[scale]`: (1 + K, 1 + B, n_cells, n_conditions). Index 0 of the first axis is the mean over a condition's
    replicates; the others are the K replicates that the panel's drawn conditions have, NaN where a level of a method lacks one
    that another of its levels has. A method without replicates is the same in all. Scales of the sensitivity table have the mean only (axis of 1).
    "score" is the metric's scale, the others of `difficulty.judge.scales` are positions in log-odds.
    """

    cells: tuple[Cell, ...]
    conditions: tuple[Condition, ...]
    margins: bool
    values: Mapping[str, Floats] = field(repr=False)

    @property
    def family(self) -> str:
        return self.cells[0].family

    @property
    def scales(self) -> tuple[str, ...]:
        """The scales that decide."""
        return deciding(self.margins)

    @property
    def score(self) -> Floats:
        """Mean scores over replicates, (1 + B, n_cells, n_conditions)."""
        score: Floats = self.values[SCORE][0]
        return score


def over_replicates(values: Floats, rows: Ints, condition: Condition) -> Floats:
    """Mean over a condition's replicates of some `rows` of a panel's (n_items, n_runs) array, shape (n_rows,)."""
    mean: Floats = values[rows][:, list(condition.columns)].mean(axis=1)
    return mean


def cells_of(panel: Panel) -> tuple[Cell, ...]:
    """The cells of a panel, by family and tier."""
    codes = np.unique(panel.items["cluster_id"].to_numpy(dtype=str), return_inverse=True)[1]
    found = []
    for (family, tier), rows in panel.items.groupby(["family", "tier"], sort=True):
        at = rows.index.to_numpy()
        chance = float(rows["chance"].mean())
        found.append(Cell(str(family), str(rows["axis"].iloc[0]), int(tier), chance, at, codes[at]))
    return tuple(found)


def linked_cells(cells: Sequence[Cell]) -> list[list[int]]:
    """Groups of cells that share a cluster, directly or through others; such cells are resampled together."""
    group = list(range(len(cells)))

    def root(i: int) -> int:
        while group[i] != i:
            group[i] = group[group[i]]
            i = group[i]
        return i

    first: dict[int, int] = {}
    for index, cell in enumerate(cells):
        for code in np.unique(cell.clusters).tolist():
            group[root(index)] = root(first.setdefault(code, index))
    groups: dict[int, list[int]] = {}
    for index in range(len(cells)):
        groups.setdefault(root(index), []).append(index)
    return list(groups.values())


@dataclass(frozen=True)
class Drawn:
    """One cell's resamples: `counts` (1 + B, n clusters of its group) and the place of each item's cluster among them."""

    counts: Floats = field(repr=False)
    place: Ints = field(repr=False)


def resampled_families(
    cells: Sequence[Cell], n_resamples: int, rng: np.random.Generator
) -> Iterator[list[tuple[Cell, Drawn]]]:
    """Each family's cells with their resamples of clusters (within tiers, unless clusters cross tiers), one family at a time.

    Families that share clusters are resampled together, and their counts kept until the last of them.
    """
    linked = linked_cells(cells)
    for families in _linked_families(cells, linked):
        drawn: dict[int, Drawn] = {}
        for group in linked:
            if cells[group[0]].family not in families:
                continue
            codes = np.unique(np.concatenate([cells[i].clusters for i in group]))
            counts = resample_counts(len(codes), n_resamples, rng)
            drawn |= {i: Drawn(counts, np.searchsorted(codes, cells[i].clusters)) for i in group}
        for family in families:
            own = sorted((i for i in drawn if cells[i].family == family), key=lambda i: cells[i].tier)
            yield [(cells[i], drawn.pop(i)) for i in own]


def _linked_families(cells: Sequence[Cell], linked: list[list[int]]) -> list[list[str]]:
    """Families in groups that share clusters, in the order of `cells`."""
    names = list(dict.fromkeys(cell.family for cell in cells))
    together = {name: {name} for name in names}
    for group in linked:
        joined = set().union(*(together[cells[i].family] for i in group))
        for name in joined:
            together[name] = joined
    seen: set[str] = set()
    found = []
    for name in names:
        if name not in seen:
            found.append([other for other in names if other in together[name]])
            seen |= together[name]
    return found


def draw(
    panel: Panel, conditions: Sequence[Condition], n_resamples: int, rng: np.random.Generator
) -> Iterator[Draws]:
    """The draws of each family, one at a time; the same resamples for all conditions."""
    for family in resampled_families(cells_of(panel), n_resamples, rng):
        yield _family(panel, tuple(conditions), family)


@dataclass(frozen=True)
class ScoreDraws:
    """Mean scores of all cells in the sample (index 0) and in each resample: `score` (1 + B, n_cells, n_conditions)."""

    cells: tuple[Cell, ...]
    conditions: tuple[Condition, ...]
    score: Floats = field(repr=False)

    @property
    def families(self) -> list[str]:
        return list(dict.fromkeys(cell.family for cell in self.cells))


def draw_scores(
    panel: Panel, conditions: Sequence[Condition], n_resamples: int, rng: np.random.Generator
) -> ScoreDraws:
    """The scores of all families at once, means over replicates: what plots draw."""
    cells: list[Cell] = []
    means: list[Floats] = []
    for family in resampled_families(cells_of(panel), n_resamples, rng):
        for cell, drawn in family:
            cells.append(cell)
            means.append(_views(_means(panel.score[cell.rows], drawn), conditions, ())[0])
    return ScoreDraws(tuple(cells), tuple(conditions), np.stack(means, axis=1))


def _means(values: Floats, drawn: Drawn) -> Floats:
    """Means of the columns of `values` (n_items, m) in each resample, (1 + B, m)."""
    n = drawn.counts.shape[1]
    sizes = np.bincount(drawn.place, minlength=n).astype(float)
    return weighted_means(drawn.counts, cluster_sums(values, drawn.place, n), sizes)


def _family(panel: Panel, conditions: tuple[Condition, ...], cells: list[tuple[Cell, Drawn]]) -> Draws:
    names = tuple(cell for cell, _ in cells)
    rows = np.concatenate([cell.rows for cell in names])
    margins = not np.isnan(panel.margin[rows]).any()
    ids = replicate_ids(conditions)
    by_run = {SCORE: np.stack([_means(panel.score[cell.rows], d) for cell, d in cells], axis=1)}
    if margins:
        by_run |= _margin_positions(panel, cells)
    kept = {name: _views(values, conditions, ids) for name, values in by_run.items()}
    chance = np.array([cell.chance for cell in names])[:, None]
    sizes = np.array([float(cell.n_items) for cell in names])[:, None]
    for scale, link in LINKS.items():
        kept[scale] = latent_from_accuracy(kept[SCORE], chance, sizes, link)
    kept["retention"] = _kept_share(kept[SCORE][:1], chance)
    decide = deciding(margins)
    wanted = {SCORE: kept[SCORE], **{name: kept[name] for name in decide}}
    wanted |= {name: kept[name][:1] for name in shown_beside(margins)}
    return Draws(names, conditions, margins, wanted)


def _margin_positions(panel: Panel, cells: list[tuple[Cell, Drawn]]) -> dict[str, Floats]:
    """Mean, trimmed mean, median and standardized mean of the margins, each (1 + B, n_cells, n_runs)."""
    means, trimmed, medians, inside, degrees = [], [], [], 0.0, 0.0
    for cell, drawn in cells:
        margin = panel.margin[cell.rows]
        centre = margin.mean(axis=0)
        first, second = np.split(_means(np.hstack([margin, (margin - centre) ** 2]), drawn), 2, axis=1)
        means.append(first)
        counts = drawn.counts[:, drawn.place]
        counts[counts.sum(axis=1) == 0] = 1.0  # a resample without an item repeats the sample, as means do
        size = counts.sum(axis=1)[:, None]
        inside = inside + size * np.maximum(second - (first - centre) ** 2, 0)
        degrees = degrees + np.maximum(size - 1, 0)
        both = trimmed_means_and_medians(counts, margin)
        trimmed.append(both[0])
        medians.append(both[1])
    spread = np.sqrt(np.asarray(inside) / np.maximum(degrees, 1))
    mean = np.stack(means, axis=1)
    standard = PROBIT_TO_LOGIT * mean / np.where(spread > 0, spread, np.inf)[:, None]
    return {
        "T": np.stack(trimmed, axis=1),
        "S": standard,
        "mean": mean,
        "median": np.stack(medians, axis=1),
    }


def replicate_ids(conditions: Sequence[Condition]) -> tuple[int, ...]:
    """The replicates of all conditions that were drawn more than once, sorted."""
    return tuple(
        sorted({r for c in conditions if len(c.columns) > 1 and c.kind != "dense" for r in c.replicates})
    )


def _views(by_run: Floats, conditions: Sequence[Condition], ids: tuple[int, ...]) -> Floats:
    """(1 + B, ..., n_runs) as (1 + K, 1 + B, ..., n_conditions): the mean over replicates, then each replicate."""
    first = [condition.columns[0] for condition in conditions]
    if not ids and all(len(condition.columns) == 1 for condition in conditions):
        same = first == list(range(by_run.shape[-1]))
        return by_run[None] if same else by_run[None, ..., first]
    found = np.empty((1 + len(ids), *by_run.shape[:-1], len(conditions)))
    several = {c.method for c in conditions if len(c.columns) > 1 and c.kind != "dense"}
    for k, condition in enumerate(conditions):
        columns = by_run[..., list(condition.columns)]
        found[..., k] = columns.mean(axis=-1)
        if condition.method in several and condition.kind != "dense":
            for view, replicate in enumerate(ids, start=1):
                at = [n for n, r in enumerate(condition.replicates) if r == replicate]
                found[view, ..., k] = columns[..., at].mean(axis=-1) if at else np.nan
    return found


def _kept_share(score: Floats, chance: Floats) -> Floats:
    """The share of the dense score above chance that is kept, 1 for dense; as the dense score is in the sample and resample."""
    above = score - chance
    dense = np.maximum(above[..., :1], 1e-6)
    share: Floats = np.clip(above / dense, -10.0, 10.0)
    return share
