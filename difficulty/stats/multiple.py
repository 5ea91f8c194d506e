"""p-values of several tests together."""

from __future__ import annotations

import numpy as np

from difficulty.stats.result import Floats


def holm(p: Floats) -> Floats:
    """Holm's step-down adjusted p-values, same shape; NaN (not tested) stays NaN and does not count. Holm 1979."""
    adjusted = np.full(len(p), np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted
