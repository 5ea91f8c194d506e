"""RIA (Zhang et al., ICLR 2024, OpenReview Tr0lPx9woF): a weight matters by its share of its row and of its column, and by its input.

|w| alone favours whole rows and columns of large weights, and empties others; the two shares do not. As in the authors' code
the input's norm counts with the exponent 0.5, and the weights of a layer compete.
"""

from __future__ import annotations

import torch
from torch import Tensor

from junkdna_harness.compress.registry import sparsifier
from junkdna_harness.compress.statistics import InputNorm

EXPONENT = 0.5


@sparsifier("ria", needs=InputNorm, scope="layer")
def ria(weight: Tensor, inputs: InputNorm) -> Tensor:
    """Scores, shape (out, in) like `weight`, fp32; the lowest are removed."""
    size = weight.abs()
    least = torch.finfo(size.dtype).tiny  # of a row or column that is all zeros
    rows, columns = (size.sum(dim=axis, keepdim=True).clamp_min(least) for axis in (1, 0))
    return (size / rows + size / columns) * inputs.norm.pow(EXPONENT)
