"""What a statistic returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Estimate:
    """A number with its uncertainty: two-sided interval [ci_low, ci_high], two-sided p against 0, and its sample.

    `over`: what was drawn again for the interval, e.g. ("items",), ("items", "3 masks"), ("9 families").
    """

    estimate: float
    ci_low: float
    ci_high: float
    p: float
    n_items: int
    n_clusters: int
    over: tuple[str, ...] = ()
