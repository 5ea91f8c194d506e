"""AWQ (Lin et al. 2023, arXiv 2306.00978): input features that carry much are scaled up before rounding, and down after it."""

from __future__ import annotations

import torch
from torch import Tensor

from junkdna_harness.compress.quantizers import Rounding, quantizer
from junkdna_harness.compress.rtn import rtn
from junkdna_harness.compress.statistics import Hessian

STEPS = 20  # exponents 0, 1/20, ..., 19/20, as in the authors' code
_LEAST = 1e-4


class Activity(Hessian):
    """The mean |x| of each input feature, and XᵀX, by which the error of a layer's output is known without its inputs."""

    def __init__(self, width: int, device: torch.device, seed: int = 0, name: str = "") -> None:
        super().__init__(width, device, seed, name)
        self._sizes = torch.zeros(width, device=device)

    def update(self, inputs: Tensor) -> None:
        """Take in inputs, shape (tokens, in)."""
        super().update(inputs)
        self._sizes += inputs.abs().sum(dim=0, dtype=torch.float32)

    @property
    def size(self) -> Tensor:
        """Mean |x|, fp32, shape (in,)."""
        return self._sizes / max(self.tokens, 1)


@quantizer("awq", needs=Activity)
def awq(weight: Tensor, how: Rounding, activity: Activity | None = None) -> Tensor:
    """The rounded weights, shape (out, in), fp32: Q(W s) / s with the s = size^α whose output is nearest to the layer's own.

    α is searched for each layer by itself, on all calibration tokens; the authors search it for layers that share an input
    together, and clip groups as well.
    """
    if activity is None:
        return rtn(weight, how)
    inputs, size = activity.matrix(), activity.size
    best, least = rtn(weight, how), torch.inf
    for step in range(STEPS):
        scale = size.pow(step / STEPS).clamp(min=_LEAST)
        scale = scale / (scale.max() * scale.min()).sqrt()
        rounded = rtn(weight * scale, how) / scale
        error = rounded - weight
        lost = float(((error @ inputs) * error).sum())
        if lost < least:
            best, least = rounded, lost
    return best
