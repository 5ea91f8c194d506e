"""Round to nearest: every weight goes to the nearest value of its group's grid; no calibration."""

from __future__ import annotations

from torch import Tensor

from junkdna_harness.compress.grid import WHOLE_ROW, fit_grid


def rtn(weight: Tensor, bits: int, group: int, symmetric: bool) -> Tensor:
    """The rounded weights, shape (out, in), fp32; `group` neighbours in a row share a scale (-1: the whole row)."""
    rows = weight.reshape(-1, weight.shape[1] if group == WHOLE_ROW else group)
    return fit_grid(rows, bits, symmetric).round(rows).view(weight.shape)
