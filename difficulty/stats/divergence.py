"""How far the probabilities of the options moved."""

from __future__ import annotations

import numpy as np
from scipy import special

from difficulty.stats.result import Floats


def option_kl(before: Floats, after: Floats) -> Floats:
    """KL(before || after) in nats of the options' normalised probabilities, over the last axis of log-likelihoods."""
    p = special.log_softmax(before, axis=-1)
    q = special.log_softmax(after, axis=-1)
    divergence: Floats = (np.exp(p) * (p - q)).sum(axis=-1)
    return np.maximum(divergence, 0.0)  # rounding can leave -1e-17
