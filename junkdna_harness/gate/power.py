"""How often a comparison would be decided."""

from __future__ import annotations

import numpy as np
from scipy import special


def passes(n: int, discordance: float, limit: float, alpha: float = 0.05) -> float:
    """About how often an equal model whose answers change on this share of items is shown to lose less than `limit`."""
    if n * -np.log1p(-limit) < -np.log(alpha):
        return 0.0
    spread = np.sqrt(discordance / n)
    under = np.sqrt((discordance + limit) / n)
    return float(special.ndtr((limit - under * special.ndtri(1 - alpha)) / spread)) if spread else 1.0
