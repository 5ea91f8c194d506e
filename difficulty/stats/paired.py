"""The difference of two runs on the same items with an interval that is honest about what was not seen."""

from __future__ import annotations

from numpy.typing import ArrayLike

from difficulty.stats.clusters import Clusters
from difficulty.stats.mean import Scale
from difficulty.stats.paired_loss import paired_loss
from difficulty.stats.result import Estimate


def paired_interval(
    before: ArrayLike,
    after: ArrayLike,
    clusters: Clusters = None,
    weights: ArrayLike | None = None,
    scale: Scale = "mean",
    lower_is_better: bool = False,
    confidence: float = 0.95,
    bounded: bool | None = None,
) -> Estimate:
    """The loss of `after` against `before`, arrays of shape (n_items,), with its two-sided interval and p against 0.

    The loss is before - after, and after - before where lower is better (`lower_is_better`, and always on the scales
    "perplexity" and "bits"). The bounds are those of `paired_loss`, each at half of 1 - `confidence`: Tango's for right-or-wrong
    items, else t, widened by the studentized bootstrap and, between 0 and 1, by the bound of a rare change. They
    are not symmetric, are the same with the two runs exchanged, and have a width where no item changed, except for an
    unbounded metric of `UNBOUNDED_ITEMS` or more items that are all equal; with fewer such items they are infinite.

    Raises:
        ValueError: as `paired_loss`.
    """
    lower = lower_is_better or scale != "mean"
    alpha = (1 - confidence) / 2
    loss = paired_loss(before, after, clusters, lower, weights, scale, bounded)
    return loss.interval(alpha)
