"""The control: which weights go is drawn by lot, so any method must beat it to have found something."""

from __future__ import annotations

import torch
from torch import Tensor

from junkdna_harness.compress.registry import sparsifier
from junkdna_harness.compress.statistics import Seeded


@sparsifier("random", needs=Seeded, scope="layer")
def random(weight: Tensor, seeded: Seeded) -> Tensor:
    """Scores, uniform, shape (out, in). One seed's masks are nested: what 0.3 removes, 0.5 removes too."""
    return torch.rand(weight.shape, generator=seeded.generator()).to(weight.device)
