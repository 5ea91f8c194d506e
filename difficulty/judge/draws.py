"""Bootstrap draws of every cell's scores: the one source that all claims are computed from."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from difficulty.judge.panel import Panel
from difficulty.judge.series import Condition
from difficulty.stats.bootstrap import cluster_sums, replicate_weights, resample_counts, weighted_means
from difficulty.stats.result import Floats, Ints
from difficulty.stats.scales import latent_from_accuracy

LINKS = ("probit", "logit")


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
    """Cell means in the sample (index 0 of the first axis) and in each resample.

    `score`: (1 + B, n_cells, n_conditions), on the metric's scale. `latent`: (n_links, 1 + B, n_cells, n_conditions),
    log-odds: the mean margin where margins were logged (`from_margin[cell]`; the same for every link), else the
    accuracy through the probit and through the logit.
    """

    cells: tuple[Cell, ...]
    conditions: tuple[Condition, ...]
    score: Floats = field(repr=False)
    latent: Floats = field(repr=False)
    from_margin: tuple[bool, ...]

    def family(self, name: str) -> list[int]:
        """The indices of a family's cells, by tier."""
        return [i for i, cell in enumerate(self.cells) if cell.family == name]

    @property
    def families(self) -> list[str]:
        return list(dict.fromkeys(cell.family for cell in self.cells))


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


def linked_cells(cells: tuple[Cell, ...]) -> list[list[int]]:
    """Groups of cells that share a cluster, directly or through others; such cells are resampled together."""
    group = list(range(len(cells)))

    def root(i: int) -> int:
        while group[i] != i:
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


def draw(panel: Panel, found: list[Condition], n_resamples: int, rng: np.random.Generator) -> Draws:
    """Resample clusters (within tiers, unless they cross tiers) and replicates; the same draws for all conditions."""
    cells = cells_of(panel)
    shape = (1 + n_resamples, len(cells), panel.score.shape[1])
    score, margin = np.empty(shape), np.empty(shape)
    for group in linked_cells(cells):
        codes = np.unique(np.concatenate([cells[i].clusters for i in group]))
        counts = resample_counts(len(codes), n_resamples, rng)
        for i in group:
            rows, local = cells[i].rows, np.searchsorted(codes, cells[i].clusters)
            sizes = np.bincount(local, minlength=len(codes)).astype(float)
            both = np.hstack([panel.score[rows], panel.margin[rows]])
            means = weighted_means(counts, cluster_sums(both, local, len(codes)), sizes)
            score[:, i], margin[:, i] = np.split(means, 2, axis=1)
    scores, margins = _over_replicates(score, margin, found, n_resamples, rng)
    families = {cell.family for cell in cells}
    whole = {
        name: not any(np.isnan(panel.margin[cell.rows]).any() for cell in cells if cell.family == name)
        for name in families
    }
    from_margin = tuple(whole[cell.family] for cell in cells)
    return Draws(cells, tuple(found), scores, _latent(cells, scores, margins, from_margin), from_margin)


def _over_replicates(
    score: Floats, margin: Floats, found: list[Condition], n_resamples: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Means over each condition's replicates; a method's levels share their seeds, so they share the draw of weights."""
    drawn: dict[tuple[str, int], Floats] = {}
    scores = np.empty((*score.shape[:2], len(found)))
    margins = np.empty_like(scores)
    for k, condition in enumerate(found):
        key = (condition.method, len(condition.columns))
        if key not in drawn:
            drawn[key] = replicate_weights(key[1], n_resamples, rng)
        columns = list(condition.columns)
        scores[..., k] = np.einsum("bcr,br->bc", score[..., columns], drawn[key])
        margins[..., k] = np.einsum("bcr,br->bc", margin[..., columns], drawn[key])
    return scores, margins


def _latent(
    cells: tuple[Cell, ...], scores: Floats, margins: Floats, from_margin: tuple[bool, ...]
) -> Floats:
    chance = np.array([cell.chance for cell in cells])[:, None]
    sizes = np.array([float(cell.n_items) for cell in cells])[:, None]
    chosen = np.array(from_margin)[:, None]
    return np.stack(
        [np.where(chosen, margins, latent_from_accuracy(scores, chance, sizes, link)) for link in LINKS]
    )
