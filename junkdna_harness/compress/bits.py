"""How many bits per weight takes once stored well, so that pruned and quantized models are compared at equal memory.

* A dense weight counts 16 bits, the width at which models ship, whatever dtype it is computed in.
* A quantized weight counts its code, plus its share of what codes share: scales, zero points (`formats.Format.shared_bits`).
* A sparse weight counts what is kept, plus where it is: a bitmap of 1 bit a position, or, for N:M where that is less,
  ceil(log2 M) bits for each kept weight (NVIDIA's 2:4 stores 2 bits a kept weight). Bitmap plus kept values is how
  SparseGPT (Frantar & Alistarh 2023, arXiv 2301.00774, section 4) sets 50 % + 4 bits (0.5 * 4 + 1 = 3) beside 3 bits.
* Never more than the same weight stored dense.
"""

from __future__ import annotations

import math

from junkdna_harness.compress.notation import NM

DENSE_BITS = 16


def effective_bits(
    sparsity: float = 0.0,
    *,
    bits: float | None = None,
    shared: float = 0.0,
    pattern: NM | None = None,
) -> float:
    """Bits per weight: codes, scales, zero points and mask, by the rules of this module.

    `sparsity` is the fraction of zeros in [0, 1]; `bits` the code's width (None: not quantized); `shared` the bits a
    weight of scales and zero points; `pattern` the N:M in which the zeros lie, if they do.

    Examples:
        >>> effective_bits(0.5), effective_bits(bits=4, shared=0.3125)
        (9.0, 4.3125)
    """
    code = DENSE_BITS if bits is None else bits
    dense = code + shared
    if sparsity <= 0:
        return float(dense)
    return float(min(dense, (1 - sparsity) * code + _mask_bits(pattern) + shared))


def _mask_bits(pattern: NM | None) -> float:
    if pattern is None:
        return 1.0
    return min(1.0, pattern.kept * math.ceil(math.log2(pattern.group)) / pattern.group)
