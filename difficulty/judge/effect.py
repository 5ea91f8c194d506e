"""An effect on one scale, in two forms: in the families that were tested, and in families like these.

The first treats families as fixed: items are drawn again, and replicates where something was drawn by lot. The second treats
them as a sample: Hartung-Knapp intervals on the families' own estimates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import special

from difficulty.stats.bootstrap import summarise
from difficulty.stats.components import Combined, Component, combined, crossed
from difficulty.stats.random_effects import RandomEffects, random_effects
from difficulty.stats.result import Estimate, Floats

_ROUNDING = 1e-9  # an effect or error no larger than this is the rounding of a machine
ENOUGH_FAMILIES = 3  # with two, one degree of freedom says next to nothing of others


@dataclass(frozen=True)
class Sample:
    """What draws stand on: items and clusters in all, clusters of the smallest cell, and what replicates are called."""

    n_items: int
    n_clusters: int
    fewest: int
    replicates: str = "replicates"


@dataclass(frozen=True)
class Effect:
    """An effect on one scale: `these` families (or this one), and `like`: families like these, where there are enough.

    `variance`: the share of each source in the variance of the deciding estimate. `tau2`, `i2` and the prediction interval
    of a new family as in `RandomEffects`. `shared_error`: where replicates were drawn, the standard error of the rest, items or
    families, which further trainings of the model share; the replicates are their own.
    """

    these: Estimate
    like: Estimate | None = None
    meta: RandomEffects | None = None
    variance: tuple[tuple[str, float], ...] = ()
    shared_error: float | None = None

    @property
    def deciding(self) -> Estimate:
        """The estimate that a verdict is called by: families like these, where there are enough."""
        return self.like or self.these

    @property
    def low(self) -> float:
        """The lowest bound of both forms."""
        return min(e.ci_low for e in (self.these, self.like) if e is not None)

    @property
    def high(self) -> float:
        """The highest bound of both forms."""
        return max(e.ci_high for e in (self.these, self.like) if e is not None)

    @property
    def p(self) -> float:
        """The larger p of both forms."""
        return max(e.p for e in (self.these, self.like) if e is not None)

    def as_dict(self) -> dict[str, Any]:
        """JSON types."""
        found: dict[str, Any] = {"these": {**self.these.__dict__, "over": list(self.these.over)}}
        if self.like is not None and self.meta is not None:
            found["like"] = {**self.like.__dict__, "over": list(self.like.over)}
            found["like"] |= {
                "tau2": self.meta.tau2, "i2": self.meta.i2,
                "prediction_low": self.meta.prediction_low, "prediction_high": self.meta.prediction_high,
            }  # fmt: skip
        if self.variance:
            found["variance"] = dict(self.variance)
        if self.shared_error is not None:
            found["shared_error"] = self.shared_error
        return found


def one_family(views: Floats, sample: Sample, confidence: float) -> Effect:
    """The effect in one family, or in fixed ones, from draws (1 + K, 1 + B): the mean over replicates, then each replicate."""
    own = known_replicates(views)
    if not len(own):
        found = summarise(views[0], sample.n_items, sample.fewest, confidence)
        return Effect(replace(found, n_clusters=sample.n_clusters, over=("items",)))
    parts = _crossed(own, sample)
    return _combined(
        float(views[0, 0]), parts, sample, ("items", f"{len(own)} {sample.replicates}"), confidence
    )


def several_families(families: Sequence[Floats], samples: Sequence[Sample], confidence: float) -> Effect:
    """The effect over families that weigh the same: in these, and in families like these where there are at least three."""
    pooled, sample = np.mean(families, axis=0), together(samples)
    fixed = one_family(pooled, sample, confidence)
    if len(families) < ENOUGH_FAMILIES:
        return fixed
    effects = np.array([views[0, 0] for views in families])
    variances = np.array([bootstrap_variance(v[0], s.fewest) for v, s in zip(families, samples, strict=True)])
    variances[variances < _ROUNDING**2] = 0.0
    if not variances.any() and np.ptp(effects) < _ROUNDING:
        return fixed  # nothing changed anywhere: there is no error to learn from
    meta = random_effects(effects, variances, confidence)
    names = (f"{len(families)} families",)
    own = known_replicates(pooled)
    between = Component("families", meta.standard_error**2, meta.df)
    if not len(own):
        like = Estimate(
            meta.estimate,
            meta.ci_low,
            meta.ci_high,
            meta.p,
            sample.n_items,
            sample.n_clusters,
            ("items", *names),
        )
        return Effect(fixed.these, like, meta, _shares(meta, variances))
    drawn = [c for c in _crossed(own, sample) if c.name != "items"]
    over = ("items", f"{len(own)} {sample.replicates}", *names)
    found = _combined(meta.estimate, (between, *drawn), sample, over, confidence)
    meta = with_replicates(meta, found.these, confidence)
    return Effect(fixed.these, found.these, meta, found.variance, found.shared_error)


def together(samples: Sequence[Sample]) -> Sample:
    """The sample behind the mean over some families."""
    return Sample(
        sum(s.n_items for s in samples), sum(s.n_clusters for s in samples), min(s.fewest for s in samples),
        samples[0].replicates,
    )  # fmt: skip


def holds_for(effect: Effect, n_families: int) -> str:
    """The families that an effect is about, in words."""
    if effect.like is not None:
        return f"families like these ({n_families})"
    return "this family" if n_families == 1 else f"these {n_families} families"


def with_replicates(meta: RandomEffects, like: Estimate, confidence: float) -> RandomEffects:
    """The prediction interval with what replicates add: tau^2 and the squared half-width of `like`, on its quantile."""
    t = float(special.stdtrit(meta.df, (1 + confidence) / 2))
    half = float(np.hypot(t * np.sqrt(meta.tau2), (like.ci_high - like.ci_low) / 2))
    return replace(meta, prediction_low=meta.estimate - half, prediction_high=meta.estimate + half)


def known_replicates(views: Floats) -> Floats:
    """The replicates (K, 1 + B) that a statistic is known for; none where fewer than two are, as their spread is then unknown."""
    own = views[1:][np.isfinite(views[1:]).all(axis=1)]
    return own if len(own) > 1 and not np.allclose(own, own[0], rtol=0, atol=1e-12) else own[:0]


def _crossed(own: Floats, sample: Sample) -> tuple[Component, ...]:
    """The variance of a mean over replicates (K, 1 + B) in parts: items, replicates, less their interaction."""
    return crossed(own[:, 0], own, max(sample.fewest, 2), "items", sample.replicates)


def bootstrap_variance(draws: Floats, n_clusters: int) -> float:
    """The variance of an estimate by its draws (1 + B,), with the small-sample factor n / (n - 1)."""
    return float(draws[1:].var(ddof=1)) * n_clusters / max(n_clusters - 1, 1)


def _combined(
    estimate: float, parts: Sequence[Component], sample: Sample, over: tuple[str, ...], confidence: float
) -> Effect:
    """From parts of a variance, that of items or families first."""
    found: Combined = combined(estimate, parts, confidence)
    these = Estimate(estimate, found.ci_low, found.ci_high, found.p, sample.n_items, sample.n_clusters, over)
    shared = 0.0
    if parts[0].variance > 0:
        alone = combined(estimate, parts[:1], confidence)
        shared = normal_error(alone.ci_low, alone.ci_high, confidence)
    return Effect(these, variance=tuple(found.shares().items()), shared_error=shared)


def normal_error(low: float, high: float, confidence: float) -> float:
    """The standard error that an interval stands for, by the normal quantile: too large where it has few degrees of freedom."""
    return (high - low) / (2 * float(special.ndtri((1 + confidence) / 2)))


def _shares(meta: RandomEffects, variances: Floats) -> tuple[tuple[str, float], ...]:
    """How much of the variance of a mean over families is that of items, the rest being between families."""
    items = float(variances.mean()) / len(variances)
    total = max(meta.standard_error**2, items)
    share = items / total if total > 0 else 1.0
    return (("items", share), ("families", 1 - share))
