"""NF4 (Dettmers et al. 2023, arXiv 2305.14314): 16 quantiles of a normal distribution, scaled by a group's largest |w|."""

from __future__ import annotations

import torch
from torch import Tensor

from junkdna_harness.compress.quantizers import Rounding, quantizer

# The paper's appendix E, in the fp32 numbers of bitsandbytes.
CODES = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip


@quantizer("nf4")
def nf4(weight: Tensor, how: Rounding) -> Tensor:
    """The rounded weights, shape (out, in), fp32: each goes to the nearest code of its group."""
    rows = how.rows(weight)
    largest = rows.abs().amax(dim=1, keepdim=True)
    codes = torch.tensor(CODES, device=rows.device)
    shares = rows / torch.where(largest > 0, largest, torch.ones_like(largest))
    nearest = torch.bucketize(shares.contiguous(), (codes[1:] + codes[:-1]) / 2)
    return (codes[nearest] * largest).view(weight.shape)
