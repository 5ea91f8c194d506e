"""Recovery by budget: how the gap that is left, and its slope on the tier, go along as training gets longer.

P5 is about one budget, so what is not recovered is not recovered by this much training. Here are all budgets of one way of
recovery (same arm, adapter, share of the data and rate) beside each other, and before training (0 steps): there the gap is the
dense model minus the pruned one, afterwards the dense model trained as long minus the recovered one. Each budget's slope is P5's.

Whether it falls as training gets longer is a paired question: the difference of two budgets' slopes, on the same items, levels,
trainings of one seed, and on the tiers that are above chance at both, so that none comes in or goes out between the two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from difficulty.judge.claims.context import Context, Setting
from difficulty.judge.claims.parts import Part, effects_of
from difficulty.judge.claims.recovery import Way, above_chance, gap_slopes
from difficulty.judge.combining import observed_in, over_observed
from difficulty.judge.controls import untrained
from difficulty.judge.drawn import common_replicates, for_this
from difficulty.judge.effect import Effect, holds_for
from difficulty.judge.ordering import lost
from difficulty.judge.scales import SCORE
from difficulty.judge.series import series_name
from difficulty.judge.verdicts import Rules
from difficulty.runs.identity import Run
from difficulty.stats.multiple import holm
from difficulty.stats.result import Estimate, Floats

Direction = Literal["falls", "rises", "stays", "cannot be told"]
Pairs = Sequence[tuple[int, int]]  # (recovered, its control), one per level
_ROUNDING = 1e-9


@dataclass(frozen=True)
class TierGap:
    """What one tier has after a budget, mean over families and levels: its `score`, and that of the dense model trained as long.

    `points`: by how much it is behind, in the metric; `gap`: the same on the first scale, in log-odds. `at_chance`: in so many of the
    families it is at chance in one of the two, so that the gap in log-odds is not known.
    """

    tier: int
    score: float
    control: float
    points: Effect
    gap: Effect
    families: int
    at_chance: int


@dataclass(frozen=True)
class Budget:
    """One budget: `steps` of training, 0 before it. `method`: what was judged. `slope`: of the gap on the tier, by scale; `families`
    it is over. Without one, `why`."""

    steps: int
    method: str
    tiers: tuple[TierGap, ...]
    slope: Mapping[str, Effect] = field(default_factory=dict)
    families: int = 0
    why: str = ""


@dataclass(frozen=True)
class Change:
    """How the slope changed from `start` steps to `end` steps: the later minus the earlier one, by scale, and what that says.

    `p_holm` is corrected over all changes of the fit. `about`: what it holds for.
    """

    start: int
    end: int
    effects: Mapping[str, Effect]
    direction: Direction
    p_holm: float
    families: int
    about: str = ""

    @property
    def main(self) -> Estimate | None:
        """The estimate on the first scale."""
        return next((effect.deciding for effect in self.effects.values()), None)


@dataclass(frozen=True)
class BudgetCurve:
    """All budgets of one way of recovery, the shortest first; `method` is its name without steps. `note`: what was left out of it, a
    sentence; there may be no more than that."""

    method: str
    levels: tuple[float, ...]
    budgets: tuple[Budget, ...] = ()
    changes: tuple[Change, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class _Group:
    """The ways of one curve by steps; `pairs`: of each budget, 0 steps too where the runs before training are there; none where the
    budgets have no level in common."""

    method: str
    levels: tuple[float, ...]
    ways: Mapping[int, Way]
    pairs: Mapping[int, Pairs]
    note: str = ""

    def compared(self) -> list[tuple[int, int]]:
        """From before training to the longest, and from the shortest training to the longest."""
        if not self.pairs:
            return []
        trained = sorted(self.ways)
        found = [(0, trained[-1])] if 0 in self.pairs else []
        return [*found, *([(trained[0], trained[-1])] if len(trained) > 1 else [])]


class Budgets:
    """Takes in one family after the other."""

    def __init__(self, setting: Setting, ways: Sequence[Way]) -> None:
        """`ways`: as P5 judges them, the headline's first."""
        self.setting = setting
        self._groups = _groups(setting, ways)
        self._slopes: dict[tuple[int, int], list[Part]] = {}
        self._changes: dict[tuple[int, int, int], list[Part]] = {}
        self._tiers: dict[tuple[int, int, int], list[Part]] = {}

    def add(self, context: Context) -> None:
        """Take in a family that has two tiers above chance or more."""
        if not context.ordered_cells or context.blocked:
            return
        for g, group in enumerate(self._groups):
            for steps, pairs in group.pairs.items():
                self._slopes.setdefault((g, steps), []).append(
                    self._part(context, context.ordered_cells, gap_slopes(context, pairs)[0])
                )
                for i in context.ordered_cells:
                    part = self._tier(context, i, pairs)
                    self._tiers.setdefault((g, steps, context.draws.cells[i].tier), []).append(part)
            for start, end in group.compared():
                draws = _slope_change(context, group.pairs[start], group.pairs[end])
                self._changes.setdefault((g, start, end), []).append(
                    self._part(context, context.ordered_cells, draws)
                )

    def _part(self, context: Context, cells: tuple[int, ...], draws: Mapping[str, Floats]) -> Part:
        return Part("P5", "", context.family, context.sample(cells), context.clusters(cells), draws)

    def _tier(self, context: Context, i: int, pairs: Pairs) -> Part:
        """The gap of a tier: on the first scale, and in the metric beside."""
        first = context.draws.scales[0]
        gaps = {
            scale: np.mean([lost(context.draws, scale, (i,), k, c)[..., 0] for k, c in pairs], axis=0)
            for scale in (first, SCORE)
        }
        scores = context.draws.score[0, i]
        details = {
            "score": float(np.mean([scores[k] for k, _ in pairs])),
            "control": float(np.mean([scores[c] for _, c in pairs])),
            "at_chance": any(context.floor[i, k] or context.floor[i, c] for k, c in pairs),
        }
        part = self._part(context, (i,), {first: gaps[first]})
        return replace(part, beside={SCORE: gaps[SCORE]}, details=details)

    def curves(self) -> tuple[BudgetCurve, ...]:
        """The curves, that of the headline first; none of them has numbers where no family could be taken in."""
        found = [
            self._curve(g, group) if self._slopes else BudgetCurve(group.method, (), note=group.note)
            for g, group in enumerate(self._groups)
            if self._slopes or group.note
        ]
        return with_directions(found, self.setting.rules)

    def _curve(self, g: int, group: _Group) -> BudgetCurve:
        budgets = []
        for steps in sorted(group.pairs):
            method = (
                group.ways[steps].method if steps else self.setting.conditions[group.pairs[0][0][0]].method
            )
            slope, n = self._pooled(self._slopes[g, steps])
            why = "" if slope else "at no level are two tiers above chance."
            budgets.append(Budget(steps, method, tuple(self._gaps(g, steps)), slope, n, why))
        changes = []
        for start, end in group.compared():
            effects, n = self._pooled(self._changes[g, start, end])
            about = self._about(group, start, end, effects, n)
            changes.append(Change(start, end, effects, "cannot be told", float("nan"), n, about))
        return BudgetCurve(group.method, group.levels, tuple(budgets), tuple(changes), group.note)

    def _pooled(self, parts: Sequence[Part]) -> tuple[dict[str, Effect], int]:
        """The effect over the families that have one, by scale, and how many these are."""
        usable = [part for part in parts if part.draws]
        if not usable:
            return {}, 0
        return effects_of(usable, self.setting.rules.confidence, "draws"), len(usable)

    def _gaps(self, g: int, steps: int) -> Iterator[TierGap]:
        confidence = self.setting.rules.confidence
        for key in sorted(key for key in self._tiers if key[:2] == (g, steps)):
            parts = self._tiers[key]
            gap = next(iter(effects_of(parts, confidence, "draws").values()))
            points = effects_of(parts, confidence, "beside")[SCORE]
            mean = {
                name: float(np.mean([part.details[name] for part in parts])) for name in ("score", "control")
            }
            at_chance = sum(bool(part.details["at_chance"]) for part in parts)
            yield TierGap(key[2], mean["score"], mean["control"], points, gap, len(parts), at_chance)

    def _about(self, group: _Group, start: int, end: int, effects: Mapping[str, Effect], n: int) -> str:
        """What a change holds for: families, and the one training where only one was drawn."""
        if not effects:
            return ""
        own = [self.setting.conditions[k] for steps in (start, end) if steps for k, _ in group.pairs[steps]]
        controls = [c for steps in (start, end) if steps for _, c in group.pairs[steps] if c]
        counts = [len(self.setting.conditions[c].columns) for c in controls]
        once = for_this(own, min([common_replicates(own), *counts]))
        where = holds_for(next(iter(effects.values())), n)
        return f"{where}, {once}" if once else where


def _groups(setting: Setting, ways: Sequence[Way]) -> list[_Group]:
    """The ways with a control and known steps, those that differ in their steps alone together, in the order of the ways."""
    together: dict[str, dict[int, Way]] = {}
    for way in ways:
        if way.control is not None and way.steps is not None:
            together.setdefault(_without_steps(setting, way), {}).setdefault(way.steps, way)
    found = []
    for method, own in together.items():
        at = {steps: {round(setting.conditions[k].level, 9): k for k in way.at} for steps, way in own.items()}
        levels = sorted(set.intersection(*(set(places) for places in at.values())))
        pairs: dict[int, Pairs] = {}
        note = _not_shared(at, levels)
        if not levels:
            found.append(_Group(method, (), own, pairs, note))
            continue
        for steps, way in own.items():
            assert way.control is not None
            pairs[steps] = [(at[steps][level], way.control.at) for level in levels]
        first = next(iter(own))
        before = [untrained(setting.conditions, setting.conditions[at[first][level]]) for level in levels]
        if known := [(k, 0) for k in before if k is not None]:
            pairs |= {0: known} if len(known) == len(levels) else {}
        found.append(_Group(method, tuple(levels), own, pairs, note))
    return found


def _not_shared(at: Mapping[int, Mapping[float, int]], levels: Sequence[float]) -> str:
    """A sentence on the levels that not all budgets have, empty where there are none."""
    if all(set(places) == set(levels) for places in at.values()):
        return ""
    each = "; ".join(f"{steps:,} steps: {_listed(places)}" for steps, places in sorted(at.items()))
    if not levels:
        return f"its budgets were evaluated at levels that none of the others has ({each}), so they are not one curve."
    return f"only levels that all budgets have are in its curve, {_listed(levels)} ({each})."


def _listed(levels: Iterable[float]) -> str:
    return ", ".join(f"{level:g}" for level in sorted(levels))


def _without_steps(setting: Setting, way: Way) -> str:
    """The name of a way's series without the steps in it."""
    condition = setting.conditions[way.at[0]]
    done = replace(
        condition.done, recoveries=tuple(replace(r, steps=None) for r in condition.done.recoveries)
    )
    return series_name(Run("", done, condition.level, condition.bits))


def _slope_change(context: Context, start: Pairs, end: Pairs) -> dict[str, Floats]:
    """The slope at the later budget minus that at the earlier one, on the tiers above chance at both, mean over levels."""
    cells = [above_chance(context, *one, *other) for one, other in zip(start, end, strict=True)]
    earlier, later = (gap_slopes(context, pairs, cells)[0] for pairs in (start, end))
    return {scale: later[scale] - earlier[scale] for scale in later}


def over_budgets(
    found: Mapping[str, Sequence[BudgetCurve]], about: Callable[[Sequence[str]], str], rules: Rules
) -> tuple[BudgetCurve, ...]:
    """The curves over models (or over trainings of one), from each one's own: model -> curves. `about`: models -> what it holds for.

    A budget, a tier or a change that one model lacks is that of the others; a curve of one model alone is none. Curves at other levels than
    most models have are left out, and their models named.
    """
    by_method: dict[str, dict[str, BudgetCurve]] = {}
    for model, curves in found.items():
        for curve in curves:
            by_method.setdefault(curve.method, {})[model] = curve
    together = []
    for method, every in by_method.items():
        own, note = _at_same_levels(every)
        if len(own) < 2:
            if len(every) > 1:
                together.append(BudgetCurve(method, (), note=note))
            continue
        levels = next(iter(own.values())).levels
        budgets = [
            _over_budget({m: b for m, curve in own.items() for b in curve.budgets if b.steps == steps}, rules)
            for steps in sorted({b.steps for curve in own.values() for b in curve.budgets})
        ]
        spans = dict.fromkeys((c.start, c.end) for curve in own.values() for c in curve.changes)
        changes = []
        for start, end in spans:
            each = {
                m: c for m, curve in own.items() for c in curve.changes if (c.start, c.end) == (start, end) and c.effects
            }  # fmt: skip
            effects = _over_effects({m: c.effects for m, c in each.items()}, rules)
            words = about(list(each)) if effects else ""
            changes.append(Change(start, end, effects, "cannot be told", float("nan"), len(each), words))
        together.append(BudgetCurve(method, levels, tuple(budgets), tuple(changes), note))
    return with_directions(together, rules)


def _at_same_levels(every: Mapping[str, BudgetCurve]) -> tuple[dict[str, BudgetCurve], str]:
    """The curves at the levels that most models have, and a sentence on the others, empty where there are none."""
    if not (known := {model: curve for model, curve in every.items() if curve.budgets}):
        return {}, next(iter(every.values())).note
    counted = Counter(curve.levels for curve in known.values())
    most = max(counted, key=counted.__getitem__)
    own = {model: curve for model, curve in known.items() if curve.levels == most}
    others = {model: curve for model, curve in every.items() if model not in own}
    if not others:
        return own, ""
    each = ", ".join(f"{m} (at {_listed(c.levels)})" if c.levels else m for m, c in others.items())
    return own, f"left out, as they are not at the levels of the others, {_listed(most)}: {each}."


def _over_budget(own: Mapping[str, Budget], rules: Rules) -> Budget:
    """One budget over the models that have it."""
    first = next(iter(own.values()))
    slope = _over_effects({m: b.slope for m, b in own.items() if b.slope}, rules)
    tiers = []
    for number in sorted({t.tier for b in own.values() for t in b.tiers}):
        rows = {m: t for m, b in own.items() for t in b.tiers if t.tier == number}
        gaps = [
            over_observed({m: observed_in(getattr(t, name).as_dict()) for m, t in rows.items()}, rules)
            for name in ("points", "gap")
        ]
        mean = [float(np.mean([getattr(t, name) for t in rows.values()])) for name in ("score", "control")]
        families, at_chance = (
            max(getattr(t, name) for t in rows.values()) for name in ("families", "at_chance")
        )
        tiers.append(TierGap(number, mean[0], mean[1], gaps[0], gaps[1], families, at_chance))
    families = max(b.families for b in own.values())
    return Budget(first.steps, first.method, tuple(tiers), slope, families, "" if slope else first.why)


def _over_effects(own: Mapping[str, Mapping[str, Effect]], rules: Rules) -> dict[str, Effect]:
    """The effects that all of some models have, by scale."""
    if not own:
        return {}
    scales = [
        scale for scale in next(iter(own.values())) if all(scale in effects for effects in own.values())
    ]
    return {
        scale: over_observed({m: observed_in(effects[scale].as_dict()) for m, effects in own.items()}, rules)
        for scale in scales
    }


def with_directions(curves: Sequence[BudgetCurve], rules: Rules) -> tuple[BudgetCurve, ...]:
    """The curves with what each change says, p corrected over all of them."""
    every = [change for curve in curves for change in curve.changes]
    p = [max((effect.p for effect in change.effects.values()), default=float("nan")) for change in every]
    corrected = iter(holm(np.array(p)).tolist() if p else [])
    return tuple(
        replace(curve, changes=tuple(_directed(change, next(corrected), rules) for change in curve.changes))
        for curve in curves
    )


def _directed(change: Change, p_holm: float, rules: Rules) -> Change:
    """Falls or rises where every scale shows it, as P5's own rule asks; stays where every scale excludes what matters."""
    effects = change.effects.values()
    direction: Direction = "cannot be told"
    if effects and all(effect.high < -_ROUNDING for effect in effects) and p_holm < rules.alpha:
        direction = "falls"
    elif effects and all(effect.low > _ROUNDING for effect in effects) and p_holm < rules.alpha:
        direction = "rises"
    elif effects and all(-rules.delta_tier < e.low and e.high < rules.delta_tier for e in effects):
        direction = "stays"
    return replace(change, direction=direction, p_holm=p_holm)
