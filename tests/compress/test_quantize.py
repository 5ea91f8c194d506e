"""Rounding to nearest against numbers worked out one by one, and the bits that are counted."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from difficulty.errors import UsageError
from junkdna_harness.compress import NM, PruneSpec, QuantSpec, effective_bits, find_targets, prune, quantize
from junkdna_harness.compress.formats import FORMATS
from junkdna_harness.compress.quantizers import Rounding
from junkdna_harness.compress.rtn import rtn
from tests.models_factory import ARCHITECTURES, make_model, make_tokenizer


def nearest(values: list[float], bits: int, symmetric: bool) -> list[float]:
    """Each value's nearest grid point, found by trying them all."""
    low, high = min(0.0, *values), max(0.0, *values)
    if symmetric:
        high = max(high, -low)
        low = -high
    scale = (high - low) / (2**bits - 1) or 1.0
    zero = 2 ** (bits - 1) if symmetric else round(-low / scale)
    grid = [(code - zero) * scale for code in range(2**bits)]
    return [min(grid, key=lambda g: abs(g - v)) for v in values]


@pytest.mark.parametrize("bits", [8, 6, 4, 3, 2])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("group", [8, 24, -1])
def test_every_weight_goes_to_the_nearest_grid_point(bits: int, symmetric: bool, group: int) -> None:
    weight = torch.randn(6, 24, generator=torch.Generator().manual_seed(bits))
    found = rtn(weight, Rounding(bits, group, symmetric))
    rows = weight.reshape(-1, 24 if group == -1 else group)
    for row, new in zip(rows, found.reshape(rows.shape), strict=True):
        expected = torch.tensor(nearest(row.tolist(), bits, symmetric))
        # Midway values have two nearest points: the error decides, not the point.
        torch.testing.assert_close((new - row).abs(), (expected - row).abs(), atol=1e-6, rtol=1e-5)
        assert len(new.unique()) <= 2**bits


@settings(deadline=None)
@given(
    st.lists(st.floats(-10, 10, width=32), min_size=8, max_size=8),
    st.sampled_from([2, 3, 4, 8]),
    st.booleans(),
)
@example([0.0] * 7 + [1e-45], 2, False)  # a range whose step is no number of fp32
def test_zero_stays_zero_and_constants_do_not_break(values: list[float], bits: int, symmetric: bool) -> None:
    weight = torch.tensor([[0.0, *values, 0.0]])
    found = rtn(weight, Rounding(bits, -1, symmetric))
    assert float(found[0, 0]) == float(found[0, -1]) == 0
    assert bool(torch.isfinite(found).all())


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_architecture_is_quantized(arch: str) -> None:
    model, _ = make_model(arch)
    before = {t.name: t.weight.clone() for t in find_targets(model)}
    report = quantize(model, QuantSpec(bits=4))
    group = 32 if arch == "gpt2" else 16  # the largest that divides 32 and 128, or 32 and 48
    assert report.group_size == group
    for target in find_targets(model):
        rounded = rtn(before[target.name], Rounding(4, group))
        torch.testing.assert_close(target.weight, rounded, atol=0, rtol=0)
    assert report.kind == "quantized" and report.level is None and report.bits == 4


def test_gptq_walks_every_architecture_with_experts_too() -> None:
    for arch in ("gpt2", "mixtral"):
        model, _ = make_model(arch)
        model.config.junkdna_suite = 1  # reads the embedded model's text
        report = quantize(model, QuantSpec(method="gptq", bits=3, nsamples=2, seqlen=16), make_tokenizer())
        assert report.calibration is not None and report.calibration["source"] == "embedded"
        assert all(len(row.unique()) <= 8 for t in find_targets(model) for row in t.weight.reshape(-1, 16))


def test_a_group_that_does_not_divide_names_the_layer_and_changes_nothing() -> None:
    model, _ = make_model("llama")
    old = model.model.layers[0].mlp.up_proj.weight.clone()
    with pytest.raises(UsageError, match=r"group_size=32 does not divide the input width 48 of .*down_proj"):
        quantize(model, QuantSpec(group_size=32))
    with pytest.raises(UsageError, match="group_size=32 does not divide"):
        prune(model, PruneSpec(bits=4, group_size=32))
    assert torch.equal(model.model.layers[0].mlp.up_proj.weight, old)


@pytest.mark.parametrize(
    "given_,message",
    [
        ({"bits": 5.5}, "bits=5.5 is no whole number"),
        ({"bits": 5}, "Choose one of 8, 6, 4, 3, 2"),
        ({"method": "gtpq"}, "Did you mean 'gptq'"),
        ({"group_size": 0}, "group_size=0"),
        ({"method": "bnb-nf4", "bits": 8}, "has its own format"),
        ({"method": None, "bits": 8}, "takes the checkpoint as it is"),
        ({"sparsity": 0.5}, "no argument here"),
        ({"symmetric": "maybe"}, "neither true nor false"),
    ],
)
def test_each_mistake_is_one_sentence(given_: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        QuantSpec.from_strings(given_)


def test_a_quantized_checkpoint_is_not_quantized_again() -> None:
    model, _ = make_model("llama")
    model.config.quantization_config = {"quant_method": "awq"}
    with pytest.raises(UsageError, match="awq"):
        quantize(model)


def test_effective_bits_are_those_worked_out_by_hand() -> None:
    assert effective_bits() == 16
    assert effective_bits(0.5) == 16 * 0.5 + 1
    assert effective_bits(0.5, bits=4) == 3  # the SparseGPT paper's example
    assert effective_bits(bits=4, shared=0.125) == 4.125
    assert effective_bits(0.5, pattern=NM(2, 4)) == 9  # 2 bits for each of 2 kept of 4
    assert effective_bits(0.875, pattern=NM(1, 8)) == 2 + 3 / 8
    assert effective_bits(0.01) == 16  # a bitmap would cost more than it saves


@given(st.floats(0, 1), st.sampled_from([None, 8, 6, 4, 3, 2]), st.integers(8, 4096), st.booleans())
def test_effective_bits_are_between_nothing_and_dense(
    s: float, bits: int | None, group: int, symmetric: bool
) -> None:
    shared = 0.0 if bits is None else FORMATS["rtn"].shared_bits([(7, group)], bits, group, symmetric)
    dense = effective_bits(bits=bits, shared=shared)
    assert dense >= (bits or 16)
    assert 0 < effective_bits(s, bits=bits, shared=shared) <= dense
