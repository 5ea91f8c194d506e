"""P1: scores fall monotonically as sparsity grows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from difficulty.judge.claims.context import Context, Setting
from difficulty.judge.draws import Cell, over_replicates
from difficulty.judge.effect import Effect, Sample, holds_for, one_family, several_families
from difficulty.judge.scales import SCORE
from difficulty.judge.series import Series
from difficulty.judge.verdicts import ONLY_THESE, Claim, Evidence, Rules, claim_of
from difficulty.runs.table import some
from difficulty.stats.bootstrap import cluster_sums, interval
from difficulty.stats.isotonic import isotonic
from difficulty.stats.multiple import holm
from difficulty.stats.paired_loss import PairedLoss, paired_loss
from difficulty.stats.result import Floats
from difficulty.stats.trend import Trend, kendall_tau, page

UNIT = "accuracy lost from dense to the highest level"


@dataclass(frozen=True)
class Curve:
    """One family's mean score over tiers at dense and at each level of a method: `scores` (1 + K, 1 + B, 1 + n_levels)."""

    series: Series
    family: str
    cells: tuple[Cell, ...]
    sample: Sample
    scores: Floats = field(repr=False)

    @property
    def loss(self) -> Floats:
        """From dense to the highest level, (1 + K, 1 + B)."""
        found: Floats = self.scores[..., 0] - self.scores[..., -1]
        return found


def rule(rules: Rules) -> str:
    """The rule of P1 in words."""
    return (
        f"supported: p < {rules.alpha:g} (Page's trend over clusters), the loss from dense to the highest level is above 0, and the rise "
        f"of every step between neighbouring levels is shown to be below {rules.delta_rise:g} (one-sided, at {rules.alpha:g}); "
        f"refuted: a rise is shown to exceed {rules.delta_rise:g} (interval at {rules.alpha:g} / number of steps), or the whole loss is "
        f"shown to be below {rules.delta:g}; else inconclusive"
    )


class Curves:
    """The curves of all families under one method; of the pooled curve only the sum is kept, as there may be many levels."""

    def __init__(self, setting: Setting, series: Series, for_this: str) -> None:
        self.setting, self.series, self.for_this = setting, series, for_this
        self._sum: Floats | None = None
        self._pooled = False
        self._losses: list[Floats] = []
        self._samples: list[Sample] = []
        self._cells: list[tuple[Cell, ...]] = []
        self._evidence: list[Evidence] = []
        self._verdicts: list[Callable[[float], Claim]] = []
        self._left_out: list[str] = []

    def add(self, context: Context) -> None:
        """Take in a family that has a tier above chance."""
        if not context.scored_cells:
            self._left_out.append(context.family)
            return
        at = [0, *self.series.at]
        cells = tuple(context.draws.cells[i] for i in context.scored_cells)
        values = context.draws.values[SCORE][:, :, list(context.scored_cells)]
        scores = values[..., at].mean(axis=2)
        curve = Curve(
            self.series, context.family, cells, context.sample(context.scored_cells, self.series), scores
        )
        self._sum = scores if self._sum is None else self._sum + scores
        self._losses.append(curve.loss)
        self._samples.append(curve.sample)
        self._cells.append(cells)
        effect = one_family(curve.loss, curve.sample, self.setting.rules.confidence)
        self._judge(
            context.family, effect, scores, curve.sample.fewest, [cells], f"this family{self._once()}"
        )

    def pooled_p(self) -> float:
        """p of all families pooled, before it is corrected over methods; NaN where there is none."""
        if self._sum is None:
            return float("nan")
        if not self._pooled:
            self._pool()
        return self._evidence[-1].p

    def claims(self, p_pooled: float) -> list[Claim]:
        """P1 of the method: pooled first with its corrected p, then families, corrected over these."""
        if np.isnan(self.pooled_p()):
            return []
        p = [evidence.p for evidence in self._evidence]
        adjusted = [*holm(np.array(p[:-1])), p_pooled]
        found = [verdict(float(a)) for verdict, a in zip(self._verdicts, adjusted, strict=True)]
        return [found[-1], *sorted(found[:-1], key=lambda claim: claim.family)]

    def _pool(self) -> None:
        assert self._sum is not None
        self._pooled = True
        n = len(self._losses)
        effect = several_families(self._losses, self._samples, self.setting.rules.confidence)
        where = holds_for(effect, n)
        fewest = min(sample.fewest for sample in self._samples)
        remark = f"Not in it: {some(self._left_out)}, at chance." if self._left_out else ""
        if effect.like is None:
            remark = f"{remark} {ONLY_THESE}".strip()
        self._judge(None, effect, self._sum / n, fewest, self._cells, where + self._once(), remark)

    def _once(self) -> str:
        return f", {self.for_this}" if self.for_this else ""

    def _judge(
        self,
        family: str | None,
        effect: Effect,
        scores: Floats,
        fewest: int,
        cells: Sequence[tuple[Cell, ...]],
        about: str,
        remark: str = "",
    ) -> None:
        setting, series = self.setting, self.series
        steps = _Steps(setting, series, scores[0], fewest, cells)
        trend = _page_over_clusters(setting, series, [cell for own in cells for cell in own])
        effect = _with_trend(effect, trend)
        evidence = Evidence(
            "P1",
            setting.scope(series.method, family),
            UNIT,
            {SCORE: effect},
            remark=remark,
            about=about,
            details=steps.details(trend),
        )
        self._evidence.append(evidence)
        self._verdicts.append(lambda p, e=evidence, s=steps, t=trend: _verdict(e, s, t, p))  # type: ignore[misc]


def _with_trend(effect: Effect, trend: Trend) -> Effect:
    """A fall must be shown by the trend over levels and by the loss from end to end, so the larger p counts."""
    return replace(effect, these=replace(effect.these, p=max(trend.p, effect.these.p)))


class _Steps:
    """The steps between neighbouring levels: what rises, and how sure it is that none rises by much."""

    def __init__(
        self, setting: Setting, series: Series, curve: Floats, fewest: int, cells: Sequence[tuple[Cell, ...]]
    ) -> None:
        self.setting, self.cells = setting, cells
        self.rules: Rules = setting.rules
        self.levels, self.at = (0.0, *series.levels), (0, *series.at)
        rises = np.diff(curve, axis=1)
        self.lows, _ = interval(rises, fewest, 1 - self.rules.alpha / rises.shape[1])
        _, self.highs = interval(rises, fewest, 1 - 2 * self.rules.alpha)
        # what was seen alone is kept: there may be many families and levels
        self.curve, self.rises = curve[:1].copy(), rises[:1].copy()
        self.worst = int(np.argmax(self.rises[0]))

    def words(self, step: int) -> str:
        return f"from level {self.levels[step]:g} to {self.levels[step + 1]:g}"

    def not_shown_small(self) -> int | None:
        """The step whose rise is least shown to be below delta_rise; None where all are.

        By the bootstrap, and by a bound that does not collapse where no answer changed (Tango; Clopper-Pearson).
        """
        limit = self.rules.delta_rise
        widest = int(np.argmax(self.highs))
        if self.highs[widest] >= limit:
            return widest
        for step in np.argsort(-self.highs).tolist():
            if self.change(step, step + 1).p_below(limit) >= self.rules.alpha:
                return int(step)
        return None

    def loss_shown_small(self, effect: Effect) -> bool:
        """Whether the whole loss is shown to be below delta, by both bounds."""
        if effect.high >= self.rules.delta:
            return False
        return self.change(len(self.at) - 1, 0).p_below(self.rules.delta) < self.rules.alpha / 2

    def change(self, first: int, second: int) -> PairedLoss:
        """What is gained from one level to another (a loss in the direction of `paired_loss`), families and tiers weighing the same."""
        rows = np.concatenate([cell.rows for own in self.cells for cell in own])
        clusters = np.concatenate([cell.clusters for own in self.cells for cell in own])
        weights = np.concatenate(
            [
                np.full(c.n_items, 1 / (len(self.cells) * len(own) * c.n_items))
                for own in self.cells
                for c in own
            ]
        )
        score, conditions = self.setting.panel.score, self.setting.conditions
        before, after = (over_replicates(score, rows, conditions[self.at[n]]) for n in (second, first))
        return paired_loss(before, after, clusters, weights=weights / weights.max())

    def details(self, trend: Trend) -> dict[str, Any]:
        curve = self.curve[0]
        return {
            "levels": list(self.levels),
            "scores": curve.tolist(),
            "isotonic": isotonic(curve, increasing=False).tolist(),
            "kendall_tau": kendall_tau(np.array(self.levels), curve),
            "page_z": trend.z,
            "page_p": trend.p,
            "largest_rise": float(self.rises[0, self.worst]),
            "largest_rise_from": self.levels[self.worst],
            "largest_rise_to": self.levels[self.worst + 1],
            "rise_shown_above": float(self.lows.max()),
            "rises_shown_below": float(self.highs.max()),
        }


def _page_over_clusters(setting: Setting, series: Series, cells: Sequence[Cell]) -> Trend:
    """Page's test with clusters as rows and dense and all levels as columns; z < 0 = scores fall."""
    rows = np.concatenate([cell.rows for cell in cells])
    _, clusters = np.unique(np.concatenate([cell.clusters for cell in cells]), return_inverse=True)
    at = (0, *series.at)
    values = np.stack([over_replicates(setting.panel.score, rows, setting.conditions[k]) for k in at], axis=1)
    sums = cluster_sums(values, clusters, int(clusters.max()) + 1)
    return page(sums / np.bincount(clusters)[:, None])


def _verdict(evidence: Evidence, steps: _Steps, trend: Trend, p_holm: float) -> Claim:
    effect, rules = evidence.effects[SCORE], steps.rules
    words = rule(rules)
    if steps.lows.max() > rules.delta_rise:
        step = int(np.argmax(steps.lows))
        reason = f"the score rises {steps.words(step)} by {steps.rises[0, step]:.3f}."
        return claim_of(evidence, p_holm, "refuted", words, reason)
    if steps.loss_shown_small(effect):
        return claim_of(
            evidence, p_holm, "refuted", words, f"the whole loss is shown to be below {rules.delta:g}."
        )
    if effect.low <= 0 or trend.z >= 0:
        return claim_of(evidence, p_holm, "inconclusive", words, "a loss is not shown.")
    open_step = steps.not_shown_small()
    if open_step is not None:
        reason = (
            f"scores fall overall, but a rise {steps.words(open_step)} is not shown to be below {rules.delta_rise:g} "
            f"(seen: {steps.rises[0, open_step]:+.3f}): more items would show it."
        )
        return claim_of(evidence, p_holm, "inconclusive", words, reason)
    if not p_holm < rules.alpha:
        return claim_of(
            evidence,
            p_holm,
            "inconclusive",
            words,
            "it does not survive the correction for several families.",
        )
    return claim_of(
        evidence, p_holm, "supported", words, "scores fall from level to level, and no step rises."
    )
