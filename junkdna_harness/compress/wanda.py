"""Wanda (Sun et al. 2023, arXiv 2306.11695, eq. 1): a weight matters as |weight| x the norm of its input feature."""

from __future__ import annotations

from torch import Tensor

from junkdna_harness.compress.registry import sparsifier
from junkdna_harness.compress.statistics import InputNorm


@sparsifier("wanda", needs=InputNorm, scope="row")
def wanda(weight: Tensor, inputs: InputNorm) -> Tensor:
    """Scores, shape (out, in) like `weight`, fp32; the lowest in each row are removed."""
    return weight.abs() * inputs.norm
