"""Differences of two runs on the same items, with errors that know of pairs and clusters."""

from __future__ import annotations

import numpy as np
from scipy import special

from difficulty.stats.mean import clustered_error
from difficulty.stats.result import Estimate, Floats, Ints


def paired_difference(
    first: Floats, second: Floats, clusters: Ints | None = None, confidence: float = 0.95
) -> Estimate:
    """Mean of `first - second` over items (same order), with a clustered t interval on G - 1 degrees of freedom.

    Raises:
        ValueError: the two differ in length.
    """
    if first.shape != second.shape:
        raise ValueError(f"paired values of lengths {len(first)} and {len(second)} cannot be compared.")
    difference = first - second
    error, groups = clustered_error(difference, np.arange(len(first)) if clusters is None else clusters)
    mean = float(difference.mean())
    half = float(special.stdtrit(max(groups - 1, 1), (1 + confidence) / 2)) * error
    if not error > 0:
        p = float("nan") if np.isnan(error) else float(mean == 0)
    else:
        p = float(2 * special.stdtr(groups - 1, -abs(mean) / error))
    return Estimate(mean, mean - half, mean + half, p, len(first), groups)
