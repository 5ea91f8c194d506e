"""Answers that flipped, which equal accuracies hide (Dutta et al. 2024, arXiv 2407.09141)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from difficulty.stats.result import Floats


@dataclass(frozen=True)
class Flips:
    """`lost`: right -> wrong. `gained`: wrong -> right. `rate`: share of items flipped. `p`: exact McNemar, two-sided."""

    lost: int
    gained: int
    rate: float
    p: float
    n_items: int


def flips(before: Floats, after: Floats) -> Flips:
    """Flips between two runs on the same items; a value above 0.5 counts as right.

    Given lost + gained, `lost` is binomial with 1/2 if the runs are equally good (McNemar 1947, exact form).
    """
    right_before, right_after = before > 0.5, after > 0.5
    lost = int(np.sum(right_before & ~right_after))
    gained = int(np.sum(~right_before & right_after))
    p = min(1.0, 2 * float(special.bdtr(min(lost, gained), lost + gained, 0.5)))
    return Flips(lost, gained, (lost + gained) / len(before), p, len(before))
