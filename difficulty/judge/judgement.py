"""All claims on a panel: families are drawn one after the other, and each is asked what it says on every claim."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from difficulty.judge.budgets import BudgetCurve, Budgets
from difficulty.judge.cells import COLUMNS, cell_rows, critical_rows
from difficulty.judge.claims import critical, interaction, memory, recovery, small_weights
from difficulty.judge.claims.context import Context, Setting, excluded, make_context
from difficulty.judge.claims.monotone import Curves
from difficulty.judge.claims.parts import Part, Pooled, Question, over_the_tested, verdicts
from difficulty.judge.controls import Trained
from difficulty.judge.drawn import common_replicates, for_this
from difficulty.judge.draws import draw
from difficulty.judge.panel import Panel
from difficulty.judge.series import PRIMARY, Series, conditions
from difficulty.judge.verdicts import CLAIMS, Claim, Rules, not_tested
from difficulty.runs.halves import in_calibration_half
from difficulty.runs.table import some

N_RESAMPLES = 2000
# Of one family's draws on one scale (32 MB; some fifteen are held): B does not grow beyond, and p is then that of t.
_MOST_NUMBERS = 4_000_000


@dataclass(frozen=True)
class Judgement:
    """What the claims on a panel stand on. `cut_by`: family -> the run that its tiers were cut from."""

    setting: Setting
    cells: pd.DataFrame = field(repr=False)
    critical: pd.DataFrame = field(repr=False)
    excluded: tuple[str, ...]
    cut_by: Mapping[str, str]
    n_resamples: int
    budgets: tuple[BudgetCurve, ...] = ()

    @property
    def primary(self) -> str:
        """The method that headline verdicts are about."""
        return self.setting.primary


def judge_panel(
    panel: Panel,
    rules: Rules,
    effective_bits: Mapping[str, float],
    claims: tuple[str, ...] = CLAIMS,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
    cross_checks: bool = True,
    cut_from: Mapping[str, str] | None = None,
    tables: bool = True,
    trained: Trained | None = None,
) -> tuple[Judgement, list[Claim]]:
    """The claims on a panel, and what they stand on; also for simulations, which make panels and no tables.

    `n_resamples` grows until p-values resolve alpha over the number of families, as far as memory allows. `tables`: make the
    tables of cells and critical levels too. `trained`: run id -> what its manifest says of its trainings.

    Raises:
        UsageError: the tiers of families that are told apart by the panel cannot be judged at all (see `fit`).
    """
    setting = Setting(
        panel, tuple(conditions(panel.runs, effective_bits)), rules, cut_from or {}, trained or {}
    )
    n_resamples = resolving(panel, setting, n_resamples)
    asked = _Asked(
        setting, claims, n_resamples if cross_checks else 0, np.random.default_rng(seed + 1), tables
    )
    for draws in draw(panel, setting.conditions, n_resamples, np.random.default_rng(seed)):
        asked.family(make_context(setting, draws))
    if "P6" in claims:
        asked.matched = _matched(setting, n_resamples, seed)
    judged = asked.claims()
    found = Judgement(
        setting, asked.table_of_cells(), pd.DataFrame(asked.critical),
        tuple(asked.excluded), asked.cut_by, n_resamples, asked.budgets.curves() if "P5" in claims else (),
    )  # fmt: skip
    return found, judged


def resolving(panel: Panel, setting: Setting, n_resamples: int) -> int:
    """Resamples enough for a p-value of alpha over the number of families: below it, p is that of the t statistic."""
    sizes = panel.items.groupby("family")["tier"].nunique()
    views = max((len(c.columns) for c in setting.conditions), default=1)
    largest = int(sizes.max()) * len(panel.runs) * (1 + views)
    needed = int(np.ceil(1.2 * len(sizes) / setting.rules.alpha))
    return max(n_resamples, min(needed, _MOST_NUMBERS // max(largest, 1)))


class _Asked:
    """What families said so far, claim by claim."""

    def __init__(
        self,
        setting: Setting,
        claims: tuple[str, ...],
        n_shuffles: int,
        rng: np.random.Generator,
        tables: bool,
    ) -> None:
        self.setting, self.wanted, self.n_shuffles, self.rng, self.tables = (
            setting,
            claims,
            n_shuffles,
            rng,
            tables,
        )
        self.parts: dict[str, list[Part]] = {name: [] for name in CLAIMS}
        self.curves = {s.method: Curves(setting, s, self.once(s)) for s in setting.series if len(s.at) > 1}
        self.ways = recovery.ways_of(setting)
        self.budgets = Budgets(setting, self.ways)
        self.cells: list[pd.DataFrame] = []
        self.critical: list[dict[str, Any]] = []
        self.excluded: list[str] = []
        self.cut_by: dict[str, str] = {}
        self.families: list[str] = []
        self.few_tiers: list[str] = []
        self.n_taking_part = 0
        self.matched: tuple[list[Part], int] | None = None

    def once(self, series: Series) -> str:
        """What was drawn by lot once for a method's levels."""
        own = [self.setting.conditions[k] for k in series.at]
        return for_this(own, common_replicates(own))

    def family(self, context: Context) -> None:
        """Take in one family."""
        self.families.append(context.family)
        self.excluded += excluded(context)
        self.n_taking_part += int(context.takes_part.any())
        if context.cut_by:
            self.cut_by[context.family] = context.cut_by
        if not context.ordered_cells:
            self.few_tiers.append(context.family)
        for claim, found in self._said(context):
            self.parts[claim] += [part for part in found if part is not None]
        if "P5" in self.wanted:
            self.budgets.add(context)
        if "P1" in self.wanted:
            for curves in self.curves.values():
                curves.add(context)
        if self.tables:
            self.cells.append(pd.DataFrame(cell_rows(context), columns=list(COLUMNS)))
            self.critical += critical_rows(context)

    def table_of_cells(self) -> pd.DataFrame:
        """The cells of all families."""
        if not self.cells:
            return pd.DataFrame(columns=list(COLUMNS))
        return pd.concat(self.cells, ignore_index=True)

    def _said(self, context: Context) -> list[tuple[str, Sequence[Part | None]]]:
        series = self.setting.series
        pruned = [s for s in series if s.kind == "pruned"]
        asked: dict[str, Callable[[], Sequence[Part | None]]] = {
            "P2": lambda: [interaction.of_family(context, s, self.n_shuffles, self.rng) for s in series],
            "P3": lambda: [critical.of_family(context, s) for s in series if len(s.at) > 1],
            memory.LOSS: lambda: [p for s in pruned for p in memory.of_family(context, s, memory.LOSS)],
            memory.MEMORY: lambda: [p for s in pruned for p in memory.of_family(context, s, memory.MEMORY)],
            "P5": lambda: [recovery.of_family(context, way) for way in self.ways],
            "P6": lambda: small_weights.of_family(context),
        }
        return [(name, ask()) for name, ask in asked.items() if name in self.wanted]

    def claims(self) -> list[Claim]:
        """The verdicts, headline first within each claim."""
        judged: list[Claim] = []
        if "P1" in self.wanted:
            pooled = {m: curves.pooled_p() for m, curves in self.curves.items()}
            corrected = over_the_tested(pooled, self._controls())
            judged += [claim for m, curves in self.curves.items() for claim in curves.claims(corrected[m])]
        judged += self._ordered(
            "P2",
            interaction.UNIT,
            interaction.rule,
            self.setting.rules.delta_tier,
            lambda parts: interaction.pool(parts, self.setting.rules),
        )
        judged += self._ordered(
            "P3", critical.UNIT, critical.rule, self.setting.rules.delta_level, critical.pool
        )
        for name in (memory.LOSS, memory.MEMORY):
            if name in self.wanted:
                judged += _of_primary(
                    self.setting,
                    memory.judge_memory(self.setting, name, self.parts[name], self._once(self.parts[name])),
                )
        if "P5" in self.wanted:
            judged += recovery.judge_recovery(self.setting, self.parts["P5"], self._once(self.parts["P5"]))
        if "P6" in self.wanted:
            parts, n_half = (self.parts["P6"], None) if self.matched is None else self.matched
            judged += small_weights.judge_small_weights(self.setting, parts, self._once(parts), n_half)
        judged = [_naming(claim, self.families) for claim in judged]
        there = {claim.claim for claim in judged if claim.scope.headline}
        judged += [
            not_tested(name, self.setting.primary, self._why_not())
            for name in self.wanted
            if name not in there
        ]
        return sorted(judged, key=lambda c: (c.claim, not c.scope.headline))

    def _ordered(
        self,
        claim: str,
        unit: str,
        rule: Callable[[Rules], str],
        delta: float,
        pool: Callable[[Sequence[Part]], Pooled],
    ) -> list[Claim]:
        parts = self.parts[claim]
        if claim not in self.wanted or not parts:
            return []
        rules = self.setting.rules
        none = interaction.NONE_USABLE if claim == "P2" else critical.NONE_USABLE
        question = Question(
            claim,
            unit,
            rule(rules),
            delta,
            rules,
            self.setting.primary,
            self._once(parts),
            none,
            self._controls(),
        )
        found = verdicts(question, parts, pool)
        reason = "fewer than two tiers take part: the others are at chance or at the ceiling when dense, or there are none."
        methods = list(dict.fromkeys(part.method for part in parts))
        return found + [not_tested(claim, m, reason, name) for m in methods for name in self.few_tiers]

    def _once(self, parts: Sequence[Part]) -> dict[str, str]:
        """Method of a part -> what was drawn by lot once: of every method that its name holds."""
        once = {s.method: self.once(s) for s in self.setting.series}
        for way in self.ways:
            own = [self.setting.conditions[k] for k in way.at]
            least = common_replicates(own)
            if way.control is not None:  # the dense model was trained too
                least = min(least, len(self.setting.conditions[way.control.at].columns))
            once[way.method] = for_this(own, least)
        found: dict[str, str] = {}
        for method in dict.fromkeys(part.method for part in parts):
            words = [once[name] for name in method.split(" vs ") if once.get(name)]
            found[method] = " and ".join(dict.fromkeys(words))
        return found

    def _controls(self) -> frozenset[str]:
        """The methods that magnitude is compared with: what is said of them is no test of a claim on small weights."""
        return frozenset(small_weights.CONTROLS) if self.setting.primary == PRIMARY else frozenset()

    def _why_not(self) -> str:
        if not self.n_taking_part:
            return "in no tier is the dense model shown to be above chance."
        if not any(series.kind == "pruned" for series in self.setting.series):
            return "there are no pruned runs."
        return "too few levels, or no family has two tiers that take part (above chance, and neither at the ceiling nor cut off)."


def _naming(claim: Claim, families: Sequence[str]) -> Claim:
    """A pooled verdict on the order of tiers with the names of the families that said nothing on it."""
    if "families" not in claim.details:
        return claim
    named = claim.details["families_left_out"]
    silent = [name for name in families if name not in claim.details["families"] and name not in named]
    if not silent:
        return claim
    return replace(
        claim,
        reason=f"{claim.reason} Not in it for want of two tiers that take part: {some(silent)}.",
        details={**claim.details, "families_left_out": sorted({*named, *silent})},
    )


def _of_primary(setting: Setting, claims: Sequence[Claim]) -> list[Claim]:
    """P4 of the primary method; of others only where there is something to compare with."""
    return [c for c in claims if c.verdict != "not tested" or setting.primary in c.method]


def _matched(setting: Setting, n_resamples: int, seed: int) -> tuple[list[Part], int] | None:
    """P6 on the items that did not choose the levels of the controls; None where no control's level was chosen by its loss."""
    runs = setting.panel.runs
    if "matched" not in runs or not runs["matched"].fillna(False).astype(bool).any():
        return None
    keep = np.flatnonzero(~in_calibration_half(setting.panel.items["cluster_id"]))
    half = setting.panel.of_items(keep)
    own = replace(setting, panel=half)
    parts: list[Part] = []
    for draws in draw(half, own.conditions, n_resamples, np.random.default_rng(seed + 2)):
        parts += small_weights.of_family(make_context(own, draws))
    return parts, len(keep)
