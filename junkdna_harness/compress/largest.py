"""The opposite control: the weights of the greatest absolute value go first, the super weights among them.

A model is said to depend on a handful of these (Yu et al. 2024, arXiv 2411.07191).
"""

from __future__ import annotations

from torch import Tensor

from junkdna_harness.compress.registry import sparsifier


@sparsifier("largest", scope="layer")
def largest(weight: Tensor) -> Tensor:
    """Scores, shape (out, in) like `weight`, fp32: the lowest are the weights of the greatest absolute value."""
    return -weight.abs()
