"""Which tiers say anything: not those at chance, nor those at the ceiling, nor those cut from the judged run itself."""

from __future__ import annotations

import numpy as np

from difficulty.judge.draws import Draws
from difficulty.judge.panel import Panel
from difficulty.judge.verdicts import Rules
from difficulty.stats.bootstrap import interval
from difficulty.stats.mean import wilson
from difficulty.stats.result import Bools

# Fewer wrong answers than this, and how far a tier lies above the ceiling is not known. Not smaller, because tiers are
# let in by the dense run's own errors: near the limit they come in when these happen to be many, and then seem to lose
# little. At 15 that bias is small beside the standard error (see the simulated worlds in benchmarks/honesty.py).
_CEILING = 15


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


def cut_from_dense(panel: Panel, draws: Draws, family: str) -> bool:
    """Whether the dense run's own scores tell the tiers apart so well that they must have been made from them.

    True where, for every pair of neighbouring tiers, a random item of the easier one scores above a random item of the
    harder one with probability over 0.99 (ties count half). Then the hard tier's low scores are partly bad luck, which
    does not repeat: regression to the mean, not robustness.
    """
    cells = draws.family(family)
    if len(cells) < 2:
        return False
    values = panel.margin if all(draws.from_margin[i] for i in cells) else panel.score
    sorted_scores = [np.sort(values[draws.cells[i].rows, 0]) for i in cells]
    for easy, hard in zip(sorted_scores, sorted_scores[1:], strict=False):
        below = np.searchsorted(hard, easy, side="left") + np.searchsorted(hard, easy, side="right")
        if below.sum() / (2 * len(easy) * len(hard)) <= 0.99:
            return False
    return True
