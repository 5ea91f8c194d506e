"""Several trainings of one model: an effect over trainings like these.

Each training has its own dense run, its own levels and so its own effect. All are asked the same items, so that the error of
the items does not get smaller with more trainings. With K effects of mean variance v and variance s^2 between them, their
mean has at most the variance v + s^2 / K: the interaction of items and trainings, which both hold, is not taken off, because
it is not known from verdicts (`difficulty.stats.components` does so where replicates share their levels).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from difficulty.judge.effect import Effect, with_replicates
from difficulty.stats.components import Component, combined
from difficulty.stats.random_effects import random_effects
from difficulty.stats.result import Estimate, Floats

TRAININGS = "trainings"


def over_trainings(
    effects: Floats, errors: Floats, n_items: Sequence[int], n_clusters: Sequence[int], confidence: float
) -> Effect:
    """The mean effect over trainings like these, from each one's effect and standard error, shape (K,), K of 2 or more.

    The part of the trainings has K - 1 degrees of freedom. The items are the same in all, so the largest number counts.
    """
    n, items, clusters = len(effects), max(n_items), max(n_clusters)
    mean, over = float(effects.mean()), ("items", f"{n} {TRAININGS}")
    of_items, between = float((errors**2).mean()), float(effects.var(ddof=1)) / n
    if of_items + between <= 0:  # nothing changed anywhere
        return Effect(Estimate(mean, mean, mean, float(mean == 0), items, clusters, over))
    parts = (Component("items", of_items, max(clusters - 1, 1)), Component(TRAININGS, between, n - 1))
    found = combined(mean, parts, confidence)
    like = Estimate(mean, found.ci_low, found.ci_high, found.p, items, clusters, over)
    meta = replace(random_effects(effects, errors**2, confidence), estimate=mean)
    return Effect(like, like, with_replicates(meta, like, confidence), tuple(found.shares().items()))
