"""What every claim is computed from."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from difficulty.judge.draws import Draws
from difficulty.judge.ordering import Ordering, at_ceiling, at_floor, order
from difficulty.judge.panel import Panel
from difficulty.judge.series import Series, series_of
from difficulty.judge.verdicts import POOLED, Claim, Evidence, Rules, not_tested
from difficulty.stats.multiple import holm
from difficulty.stats.result import Bools


@dataclass(frozen=True)
class Context:
    """Panel, draws and rules, and which cells may take part.

    `floor` (n_cells, n_conditions), `takes_part` (n_cells,): dense score above chance; `ceiling` (n_cells,): latent
    position unknown; `self_cut`: families whose tiers seem to be cut from the dense run's own scores.
    """

    panel: Panel
    draws: Draws
    rules: Rules
    series: tuple[Series, ...]
    floor: Bools = field(repr=False)
    takes_part: Bools = field(repr=False)
    ceiling: Bools = field(repr=False)
    self_cut: frozenset[str]

    @property
    def primary(self) -> str:
        """The method that headline verdicts are about: magnitude where it is there."""
        return self.series[0].method if self.series else ""

    def label(self, family: str, method: str) -> str:
        """The family's name; pooled rows of other methods than the primary one say which."""
        return f"{POOLED}/{method}" if family == POOLED and method != self.primary else family


def make_context(panel: Panel, draws: Draws, rules: Rules) -> Context:
    """The context of a panel's claims."""
    floor = at_floor(draws, rules)
    self_cut = frozenset(name for name in draws.families if _cut_from_dense(panel, draws, name))
    return Context(
        panel,
        draws,
        rules,
        tuple(series_of(list(draws.conditions))),
        floor,
        ~floor[:, 0],
        at_ceiling(draws),
        self_cut,
    )


def orderings(context: Context, series: Series) -> dict[str, Ordering]:
    """The ordering of every family with two tiers that may take part."""
    found = {}
    part = context.takes_part & ~context.ceiling
    for family in context.draws.families:
        if part[context.draws.family(family)].sum() >= 2:
            found[family] = order(context.draws, family, series, part, context.floor, context.rules)
    return found


def too_few_tiers(claim: str, method: str, context: Context, judged: set[str]) -> list[Claim]:
    """An entry for every family that is not judged because fewer than two of its tiers may take part."""
    reason = "fewer than two tiers take part: the others are at chance or at the ceiling when dense, or there are none."
    return [not_tested(claim, method, reason, name) for name in context.draws.families if name not in judged]


def _cut_from_dense(panel: Panel, draws: Draws, family: str) -> bool:
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


def corrected(evidence: list[Evidence]) -> list[float]:
    """Holm-corrected p of one claim and method over its families; a pooled row keeps its own p."""
    single = np.array([np.nan if e.family.startswith(POOLED) or e.blocked else e.p for e in evidence])
    adjusted = holm(single)
    return [e.p if e.family.startswith(POOLED) else float(a) for e, a in zip(evidence, adjusted, strict=True)]


def ordered(claims: list[Claim]) -> list[Claim]:
    """Pooled first, then families by name."""
    return sorted(claims, key=lambda c: (not c.family.startswith(POOLED), c.family))
