"""What every claim is computed from."""

from __future__ import annotations

from dataclasses import dataclass, field

from difficulty.judge.draws import Draws
from difficulty.judge.ordering import Ordering, order
from difficulty.judge.panel import Panel
from difficulty.judge.series import Series, series_of
from difficulty.judge.taking_part import at_ceiling, at_floor, cut_from_dense
from difficulty.judge.verdicts import Rules, Scope
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

    def scope(self, method: str, family: str | None = None) -> Scope:
        """What a claim about `family` (None: all pooled) under `method` is about; pooled under the primary one is the headline."""
        return Scope(method, family, headline=family is None and method == self.primary)

    def groups(self, ceiling_too: bool = False, at_least: int = 2) -> dict[str, tuple[int, ...]]:
        """Family -> its cells that take part, where there are `at_least` so many; tiers at the ceiling only if asked for."""
        part = self.takes_part if ceiling_too else self.takes_part & ~self.ceiling
        found = {n: tuple(i for i in self.draws.family(n) if part[i]) for n in self.draws.families}
        return {name: cells for name, cells in found.items() if len(cells) >= at_least}


def make_context(panel: Panel, draws: Draws, rules: Rules) -> Context:
    """The context of a panel's claims."""
    floor = at_floor(draws, rules)
    self_cut = frozenset(name for name in draws.families if cut_from_dense(panel, draws, name))
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
    part = context.takes_part & ~context.ceiling
    return {
        family: order(context.draws, family, series, part, context.floor, context.rules)
        for family in context.groups()
    }
