"""Weights in eight and four bits that are floating-point numbers themselves: FP8, MXFP4, NVFP4."""

from __future__ import annotations

import torch
from torch import Tensor

from junkdna_harness.compress.quantizers import Rounding, quantizer

LARGEST_E2M1 = 6.0  # E2M1 holds 0, 0.5, 1, 1.5, 2, 3, 4, 6 and a sign
_E2M1_EXPONENT = 2  # of the greatest power of two in E2M1
_E8M0 = 127  # a scale of MX is 2 to the power of -127 to 127


@quantizer("fp8")
def fp8(weight: Tensor, how: Rounding) -> Tensor:
    """The nearest E4M3 numbers times a group's scale, its largest |w| / 448; shape (out, in), fp32. torch's own cast."""
    return _cast(weight, how, torch.float8_e4m3fn)


@quantizer("fp8-e5m2")
def fp8_e5m2(weight: Tensor, how: Rounding) -> Tensor:
    """The nearest E5M2 numbers times a group's scale, its largest |w| / 57344; shape (out, in), fp32. torch's own cast."""
    return _cast(weight, how, torch.float8_e5m2)


def _cast(weight: Tensor, how: Rounding, dtype: torch.dtype) -> Tensor:
    rows, most = how.rows(weight), torch.finfo(dtype).max
    largest = rows.abs().amax(dim=1, keepdim=True)
    scale = _or_one(largest / torch.full_like(largest, most))
    return ((rows / scale).clamp(-most, most).to(dtype).float() * scale).view(weight.shape)


@quantizer("mxfp4")
def mxfp4(weight: Tensor, how: Rounding) -> Tensor:
    """The nearest E2M1 numbers times a power of two a group, shape (out, in), fp32.

    OCP Microscaling Formats 1.0, section 6.3: the greatest power of two up to the group's largest |w|, over that of E2M1 (4).
    """
    rows = how.rows(weight)
    exponent = torch.frexp(rows.abs().amax(dim=1, keepdim=True)).exponent - 1 - _E2M1_EXPONENT
    # Twice, because fp32 has no 2 to the power of -127 as a normal number and ldexp may lose it.
    exponent = exponent.clamp(-_E8M0, _E8M0)
    half = exponent // 2
    scaled = torch.ldexp(torch.ldexp(rows, -half), half - exponent)
    return torch.ldexp(torch.ldexp(nearest_e2m1(scaled), half), exponent - half).view(weight.shape)


@quantizer("nvfp4")
def nvfp4(weight: Tensor, how: Rounding) -> Tensor:
    """The nearest E2M1 numbers times an E4M3 scale a group and an fp32 scale a matrix, shape (out, in), fp32.

    NVIDIA's two levels, in torchao's arithmetic: the matrix's scale is its largest |w| / (448 * 6), so that no group's overflows.
    """
    rows = how.rows(weight)
    e4m3 = torch.finfo(torch.float8_e4m3fn)
    largest = rows.abs().amax(dim=1, keepdim=True)
    whole = _or_one(largest.max() / torch.full_like(largest.max(), e4m3.max * LARGEST_E2M1))
    scale = largest / torch.full_like(largest, LARGEST_E2M1) / whole
    scale = scale.clamp(e4m3.tiny, e4m3.max).to(torch.float8_e4m3fn).float()
    return (nearest_e2m1(rows * (1 / whole / scale)) * (whole * scale)).view(weight.shape)


def nearest_e2m1(values: Tensor) -> Tensor:
    """The nearest E2M1 number of each fp32 value; midway to the even code, beyond 6 to 6."""
    size = values.abs().clamp_(max=LARGEST_E2M1)
    # Steps of a half below 2, of 1 below 4, of 2 above: as exponents, so that division by a step is exact.
    step = torch.where(size < 2, 0.5, torch.where(size < 4, 1.0, 2.0))
    return size.div_(step).round_().mul_(step).copysign_(values)


def _or_one(scale: Tensor) -> Tensor:
    """`scale`, and 1 where everything is zero or too small for a step that can be inverted."""
    return torch.where(scale >= torch.finfo(scale.dtype).tiny, scale, torch.ones_like(scale))
