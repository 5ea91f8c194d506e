"""Which quantizer P4 is read off: the one with the most widths, whatever it is called."""

from __future__ import annotations

import math

from difficulty.judge.series import Condition, series_of
from difficulty.runs.identity import Method


def quantized(method: str, bits: float, column: int) -> Condition:
    return Condition(method, "quantized", Method(method), math.nan, bits, bits, (column,), (0,))


def test_a_format_of_one_width_does_not_take_the_place_of_one_with_several() -> None:
    found = [
        quantized("mxfp4", 4, 1), quantized("rtn", 4, 2), quantized("rtn", 2, 3), quantized("gptq", 4, 4), quantized("gptq", 2, 5),
        quantized("kv", 8, 6), quantized("kv", 4, 7), quantized("kv", 2, 8),
    ]  # fmt: skip
    assert [one.method for one in series_of(found)] == ["gptq", "rtn", "mxfp4", "kv"]
