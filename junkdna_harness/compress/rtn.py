"""Round to nearest: every weight goes to the nearest value of its group's grid; no calibration."""

from __future__ import annotations

from torch import Tensor

from junkdna_harness.compress.grid import fit_grid
from junkdna_harness.compress.quantizers import Rounding, quantizer


@quantizer("rtn")
def rtn(weight: Tensor, how: Rounding) -> Tensor:
    """The rounded weights, shape (out, in), fp32."""
    rows = how.rows(weight)
    return fit_grid(rows, how.bits, how.symmetric).round(rows).view(weight.shape)
