"""Which tiers say anything: not those at chance, nor at the ceiling, nor those cut from a run that is judged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from difficulty.judge.draws import Cell, Draws
from difficulty.judge.panel import Panel
from difficulty.judge.verdicts import Rules
from difficulty.stats.bootstrap import interval
from difficulty.stats.mean import wilson
from difficulty.stats.result import Bools, Floats

# Fewer wrong answers than this, and how far a tier lies above the ceiling is not known. Not smaller, because tiers are
# let in by the dense run's own errors: near the limit they come in when these happen to be many, and then seem to lose
# little. At 15 that bias is small beside the standard error (see the simulated worlds in benchmarks/honesty.py).
_CEILING = 15
_LIMIT_SHARE = 0.01  # more of a cell's margins than this at its extreme, and they are cut off there
_LIMIT_WIDTH = 1e-6
_SEPARATED = 0.99
_ENOUGH = 20  # items per tier: fewer can be separated by chance, in one of many runs


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
    flags: Bools = (wrong < _CEILING) & (not draws.margins)
    return flags


def at_limit(panel: Panel, draws: Draws) -> Bools:
    """True (n_cells, n_conditions) where margins were cut off at a number: over 1 % of a cell's lie within 1e-6 of its extreme.

    Items count once per cluster, so that a question which is there twice is not taken for a limit.
    """
    flags = np.zeros((len(draws.cells), len(draws.conditions)), dtype=bool)
    if not draws.margins:
        return flags
    for i, cell in enumerate(draws.cells):
        _, first = np.unique(cell.clusters, return_index=True)
        margin = panel.margin[cell.rows[first]]
        allowed = max(1.0, _LIMIT_SHARE * len(margin))
        cut = np.zeros(margin.shape[1], dtype=bool)
        for extreme in (margin.max(axis=0), margin.min(axis=0)):
            cut |= (np.abs(margin - extreme) <= _LIMIT_WIDTH).sum(axis=0) > allowed
        flags[i] = [cut[list(c.columns)].any() for c in draws.conditions]
    return flags


def cut_by_run(panel: Panel, draws: Draws) -> str:
    """The run whose own scores tell the tiers apart so well that they must have been made from them; "" if there is none.

    That is where, for every pair of neighbouring tiers, a random item of the easier one scores above a random item of the
    harder one with probability over 0.99 (ties count half). Then luck in that run passes for difficulty: what does not repeat
    seems gained or lost (regression to the mean). Every run is asked, the dense one first. Right and wrong answers alone are
    asked in another way too (`_sorted_answers`).
    """
    if len(draws.cells) < 2 or min(cell.n_items for cell in draws.cells) < _ENOUGH:
        return ""
    if not draws.margins and (run := _sorted_answers(panel, draws)):
        return run
    values = panel.margin if draws.margins else panel.score
    separate = np.ones(values.shape[1], dtype=bool)
    for easy, hard in zip(draws.cells, draws.cells[1:], strict=False):
        columns = np.flatnonzero(separate)
        if not len(columns):
            return ""
        separate[columns] = [_above(values[easy.rows, k], values[hard.rows, k]) > _SEPARATED for k in columns]
    found = np.flatnonzero(separate)
    return str(panel.runs["run"].iloc[found[0]]) if len(found) else ""


def _sorted_answers(panel: Panel, draws: Draws) -> str:
    """The run in which the first tiers are all right, the last all wrong, and at most one of three or more is mixed.

    So look tiers that were cut from a run's own right and wrong answers, which can never be told apart with probability 0.99.
    """
    if len(draws.cells) < 3:
        return ""
    means = np.array([panel.score[cell.rows].mean(axis=0) for cell in draws.cells])
    falling = (np.diff(means, axis=0) <= 0).all(axis=0) & (means[0] == 1) & (means[-1] == 0)
    found = np.flatnonzero(falling & (((means > 0) & (means < 1)).sum(axis=0) < 2))
    return str(panel.runs["run"].iloc[found[0]]) if len(found) else ""


def _above(easy: Floats, hard: Floats) -> float:
    """P(an item of `easy` scores above one of `hard`), ties one half."""
    ranked = np.sort(hard)
    below = np.searchsorted(ranked, easy, side="left") + np.searchsorted(ranked, easy, side="right")
    return float(below.sum() / (2 * len(easy) * len(hard)))


def fewest_clusters(cells: Sequence[Cell]) -> int:
    """Clusters of the smallest cell: what the small-sample correction of intervals goes by."""
    return min(cell.n_clusters for cell in cells)
