"""Magnitude pruning (Han et al. 2015): a weight matters as much as its absolute value."""

from __future__ import annotations

from torch import Tensor

from junkdna_harness.compress.registry import sparsifier


@sparsifier("magnitude", scope="layer")
def magnitude(weight: Tensor) -> Tensor:
    """Scores, shape (out, in) like `weight`, fp32."""
    return weight.abs()
