"""What every claim is computed from: the panel as a whole, and one family's draws with the cells that may take part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from difficulty.judge.controls import Trained
from difficulty.judge.drawn import plural
from difficulty.judge.draws import Cell, Draws
from difficulty.judge.effect import Sample
from difficulty.judge.ordering import Ordering, order
from difficulty.judge.panel import Panel
from difficulty.judge.series import Condition, Series, series_of
from difficulty.judge.taking_part import at_ceiling, at_floor, at_limit, cut_by_run, fewest_clusters
from difficulty.judge.verdicts import Rules, Scope
from difficulty.stats.result import Bools, Ints

T = TypeVar("T")

REGRESSION = (
    "the tiers seem to be cut from the scores of {run}, a run that is judged, so that luck in it passes for difficulty "
    "(regression to the mean). Cut them from another model, another seed, or with cross-fitting."
)
NAMED = "the tiers were made from the scores of {run}, which is judged here (regression to the mean). Cut them from another model, or with cross-fitting."


@dataclass(frozen=True)
class Setting:
    """What all families share: the panel, its conditions and series, and the rules.

    `cut_from`: family -> the run of this table that its tiers are said to be made from. `trained`: run id -> what its manifest
    says of each of its trainings.
    """

    panel: Panel
    conditions: tuple[Condition, ...]
    rules: Rules
    cut_from: Mapping[str, str] = field(default_factory=dict)
    trained: Trained = field(default_factory=dict, repr=False)

    @cached_property
    def series(self) -> tuple[Series, ...]:
        return tuple(series_of(list(self.conditions)))

    def runs_of(self, k: int) -> list[str]:
        """The ids of the runs of a condition."""
        return [str(self.panel.runs["run"].iloc[column]) for column in self.conditions[k].columns]

    @property
    def primary(self) -> str:
        """The method that headline verdicts are about: magnitude where it is there."""
        return self.series[0].method if self.series else ""

    def scope(self, method: str, family: str | None = None) -> Scope:
        """What a claim about `family` (None: all pooled) under `method` is about; pooled under the primary one is the headline."""
        return Scope(method, family, headline=family is None and method == self.primary)


@dataclass(frozen=True)
class Context:
    """One family: its draws, and which cells may take part.

    `floor` (n_cells, n_conditions): at chance, or margins cut off at a limit. `takes_part` (n_cells,): dense score above
    chance; `ceiling` (n_cells,): latent position unknown. `blocked`: why the order of its tiers must not be judged.
    """

    setting: Setting
    draws: Draws
    floor: Bools = field(repr=False)
    takes_part: Bools = field(repr=False)
    ceiling: Bools = field(repr=False)
    blocked: str
    cut_by: str

    @property
    def family(self) -> str:
        return self.draws.family

    @property
    def rules(self) -> Rules:
        return self.setting.rules

    @cached_property
    def ordered_cells(self) -> tuple[int, ...]:
        """The cells that take part in what is said of the order of tiers; none where there are fewer than two."""
        found = tuple(np.flatnonzero(self.takes_part & ~self.ceiling).tolist())
        return found if len(found) > 1 else ()

    @cached_property
    def scored_cells(self) -> tuple[int, ...]:
        """The cells above chance, tiers at the ceiling too."""
        return tuple(np.flatnonzero(self.takes_part).tolist())

    def ordering(self, series: Series) -> Ordering | None:
        """The ordering of the family under a method, computed once; None where fewer than two tiers take part."""
        if not self.ordered_cells:
            return None
        part = np.zeros(len(self.draws.cells), dtype=bool)
        part[list(self.ordered_cells)] = True
        return self.once(
            ("ordering", series.method), lambda: order(self.draws, series, part, self.floor, self.rules)
        )

    def once(self, name: tuple[str, str], compute: Callable[[], T]) -> T:
        """What several claims need, computed when it is first asked for."""
        if name not in self._known:
            self._known[name] = compute()
        found: T = self._known[name]
        return found

    @cached_property
    def _known(self) -> dict[tuple[str, str], Any]:
        return {}

    def sample(self, cells: tuple[int, ...], *series: Series) -> Sample:
        """The sample behind draws over some cells; replicates are called by what was drawn for some methods (none given: all)."""
        chosen = [self.draws.cells[i] for i in cells]
        at = [k for one in series for k in one.at] or list(range(1, len(self.setting.conditions)))
        several = [self.setting.conditions[k] for k in at if len(self.setting.conditions[k].columns) > 1]
        return Sample(
            sum(c.n_items for c in chosen), len(self.clusters(cells)), fewest_clusters(chosen), plural(several) if several else "replicates",
        )  # fmt: skip

    def clusters(self, cells: tuple[int, ...]) -> Ints:
        """The distinct clusters of some cells."""
        return np.unique(np.concatenate([self.draws.cells[i].clusters for i in cells]))


def make_context(setting: Setting, draws: Draws) -> Context:
    """The context of one family's claims."""
    floor = at_floor(draws, setting.rules)
    limit = at_limit(setting.panel, draws)
    takes_part = ~floor[:, 0]
    said, seen = setting.cut_from.get(draws.family, ""), cut_by_run(setting.panel, draws)
    blocked = NAMED.format(run=repr(said)) if said else REGRESSION.format(run=repr(seen)) if seen else ""
    return Context(
        setting, draws, floor | limit, takes_part, at_ceiling(draws) | limit[:, 0], blocked, said or seen
    )


def excluded(context: Context) -> list[str]:
    """A sentence on each tier that takes no part."""
    sentences = []
    for i, cell in enumerate(context.draws.cells):
        score = context.draws.score[0, i, 0]
        if not context.takes_part[i]:
            sentences.append(
                f"{cell.family} tier {cell.tier} takes no part: the dense score {score:.3f} is not shown to be above chance "
                f"({cell.chance:.3f}) on {cell.n_items} items."
            )
        elif context.ceiling[i]:
            sentences.append(
                f"{cell.family} tier {cell.tier} takes no part in P2 to P6: {_why_ceiling(context, cell, score)}"
            )
    return sentences


def _why_ceiling(context: Context, cell: Cell, score: float) -> str:
    if context.draws.margins:
        return "its dense margins are cut off at a number, so that its latent position is unknown."
    return f"the dense score {score:.3f} is at the ceiling and no margins were logged, so that its latent position is unknown."
