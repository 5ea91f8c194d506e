"""Formats of few bits against torch's casts, against all values that they hold tried one by one, and against other libraries."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy.stats import norm
from torch import Tensor

from difficulty.errors import UsageError
from junkdna_harness.compress import (
    Format,
    PruneSpec,
    QuantSpec,
    Rounding,
    find_targets,
    get_quantizer,
    measure,
    prune,
    quantize,
    quantizer,
)
from junkdna_harness.compress.awq import Activity, awq
from junkdna_harness.compress.floats import fp8, fp8_e5m2, mxfp4, nearest_e2m1, nvfp4
from junkdna_harness.compress.formats import FORMATS, add_format
from junkdna_harness.compress.loaded import describe_loaded
from junkdna_harness.compress.nf4 import CODES, nf4
from junkdna_harness.compress.rtn import rtn
from junkdna_harness.compress.running import stop_running
from tests.commands import junkdna
from tests.models_factory import ARCHITECTURES, make_model, make_tokenizer

E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


def weights(seed: int, rows: int = 8, columns: int = 64) -> Tensor:
    """Of all sizes, with a row and a group of zeros."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, columns, generator=generator) * 10 ** torch.randn(rows, 1, generator=generator)
    weight[1] = 0
    weight[2, :32] = 0
    return weight


def nearest(values: Tensor, codes: Tensor) -> Tensor:
    """The nearest code of each value, found by trying them all."""
    return codes[(values.double().unsqueeze(-1) - codes.double()).abs().argmin(-1)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("method", "dtype", "most"), [(fp8, torch.float8_e4m3fn, 448), (fp8_e5m2, torch.float8_e5m2, 57344)]
)
def test_fp8_is_torchs_cast_under_a_scale_a_row_or_a_group(
    method: Any, dtype: Any, most: int, seed: int
) -> None:
    weight = weights(seed)
    for group in (-1, 16):
        found = method(weight, Rounding(8, group))
        for row, new in zip(
            weight.reshape(-1, 64 if group == -1 else group),
            found.reshape(-1, 64 if group == -1 else group),
            strict=True,
        ):
            scale = row.abs().max() / torch.tensor(float(most)) if row.any() else torch.tensor(1.0)
            assert torch.equal(new, (row / scale).to(dtype).float() * scale)


def test_e2m1_goes_to_the_nearest_of_its_eight_numbers_and_midway_to_the_even_code() -> None:
    values = torch.linspace(-7, 7, 100_001)
    codes = torch.tensor([*(-x for x in E2M1[:0:-1]), *E2M1])
    torch.testing.assert_close((nearest_e2m1(values) - values).abs(), (nearest(values, codes) - values).abs())
    midway = {0.25: 0, 0.75: 1, 1.25: 1, 1.75: 2, 2.5: 2, 3.5: 4, 5.0: 4, 6.5: 6, 100.0: 6}
    for value, code in midway.items():
        assert (
            float(nearest_e2m1(torch.tensor([value]))) == code == -float(nearest_e2m1(torch.tensor([-value])))
        )


@pytest.mark.parametrize("seed", range(5))
def test_mxfp4_is_e2m1_times_the_power_of_two_of_the_specification(seed: int) -> None:
    weight = weights(seed)
    for row, new in zip(weight.reshape(-1, 32), mxfp4(weight, Rounding(4, 32)).reshape(-1, 32), strict=True):
        largest = float(row.abs().max())
        scale = 2.0 ** (math.floor(math.log2(largest)) - 2) if largest else 1.0
        assert torch.equal(new, nearest_e2m1(row / scale) * scale)


def test_mxfp4_scales_stop_where_e8m0_does() -> None:
    tiny = torch.full((1, 32), 2.0**-130)
    huge = torch.full((1, 32), 2.0**127)
    assert torch.equal(mxfp4(tiny, Rounding(4, 32)), nearest_e2m1(tiny * 2.0**127) * 2.0**-127)
    assert torch.equal(mxfp4(huge, Rounding(4, 32)), huge)


@pytest.mark.parametrize("seed", range(5))
def test_nvfp4_is_e2m1_times_an_e4m3_scale_times_the_matrixs(seed: int) -> None:
    weight = weights(seed)
    whole = weight.abs().max() / torch.tensor(448 * 6.0)
    for row, new in zip(weight.reshape(-1, 16), nvfp4(weight, Rounding(4, 16)).reshape(-1, 16), strict=True):
        scale = (row.abs().max() / 6 / whole).clamp(2.0**-6, 448).to(torch.float8_e4m3fn).float()
        codes = torch.tensor([*(-x for x in E2M1[:0:-1]), *E2M1]) * scale * whole
        # Where a value lies midway the last bit of the division decides: the distance counts, not the code.
        torch.testing.assert_close(
            (new - row).abs(), (nearest(row, codes) - row).abs(), rtol=0, atol=float(row.abs().max()) * 1e-6
        )


def test_mxfp4_and_nvfp4_are_torchaos_bit_by_bit() -> None:
    pytest.importorskip("torchao", reason="the extra torchao is not installed")
    from torchao.prototype.mx_formats.kernels import f4_unpacked_to_f32, unpack_uint4
    from torchao.prototype.mx_formats.mx_tensor import to_dtype, to_mx
    from torchao.prototype.mx_formats.nvfp4_tensor import nvfp4_quantize, per_tensor_amax_to_scale

    kind = torch.float4_e2m1fn_x2
    for seed in range(50):
        weight = weights(seed, 16, 128)
        scale, codes = to_mx(weight, kind, 32)
        theirs = to_dtype(codes, scale, kind, 32, torch.float32).view_as(weight)
        assert torch.equal(mxfp4(weight, Rounding(4, 32)), theirs)
        whole = per_tensor_amax_to_scale(weight.abs().max())
        scale, codes = nvfp4_quantize(weight, 16, whole)
        grouped = f4_unpacked_to_f32(unpack_uint4(codes)).view(16, -1, 16) * (whole * scale.float()).view(
            16, -1, 1
        )
        assert torch.equal(nvfp4(weight, Rounding(4, 16)), grouped.view_as(weight))


def test_nf4_has_the_papers_quantiles_and_takes_the_nearest() -> None:
    # QLoRA, appendix E, as bitsandbytes makes them: quantiles up to 0.9677083, eight steps below zero and seven above, over the largest.
    ppf = norm.ppf
    above = [ppf(0.9677083 + (0.5 - 0.9677083) * i / 8) for i in range(8)]
    below = [-ppf(0.9677083 + (0.5 - 0.9677083) * i / 7) for i in range(7)]
    expected = sorted([*above, *below, 0.0])
    torch.testing.assert_close(
        torch.tensor(CODES), (torch.tensor(expected) / max(expected)).float(), atol=1e-6, rtol=1e-6
    )
    weight = weights(0)
    for row, new in zip(weight, nf4(weight, Rounding(4, 64)), strict=True):
        torch.testing.assert_close(new, nearest(row, torch.tensor(CODES) * row.abs().max()), atol=0, rtol=0)
        assert bool((new[row == 0] == 0).all())


def test_nf4_is_bitsandbytes() -> None:
    functional = pytest.importorskip("bitsandbytes.functional", reason="the extra bnb is not installed")
    weight = weights(3)
    codes, state = functional.quantize_4bit(weight, blocksize=64, quant_type="nf4")
    assert torch.equal(nf4(weight, Rounding(4, 64)), functional.dequantize_4bit(codes, state))


def inputs_with_outliers(tokens: int = 300, width: int = 64) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    inputs = torch.randn(tokens, width, generator=generator)
    inputs[:, ::9] *= 25
    inputs[:, 5] = 0
    return inputs


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("group", [16, -1])
def test_awq_takes_the_exponent_whose_outputs_are_nearest(symmetric: bool, group: int) -> None:
    weight, inputs = torch.randn(12, 64, generator=torch.Generator().manual_seed(1)), inputs_with_outliers()
    activity = Activity(64, torch.device("cpu"))
    for part in inputs.split(70):
        activity.update(part)
    how = Rounding(3, group, symmetric)
    tried = []
    for step in range(20):  # the authors' search, on the outputs themselves
        scale = inputs.abs().mean(0).pow(step / 20).clamp(min=1e-4)
        scale = scale / (scale.max() * scale.min()).sqrt()
        new = rtn(weight * scale, how) / scale
        tried.append((float(((new - weight) @ inputs.T).double().square().mean()), new))
    least, best = min(tried, key=lambda pair: pair[0])
    assert least < 0.7 * tried[0][0]  # it is worth more than plain rounding here
    torch.testing.assert_close(awq(weight, how, activity), best, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "arch"),
    [*itertools.product(FORMATS, ["llama"]), *itertools.product(["awq", "fp8"], ARCHITECTURES)],
)
def test_every_quantizer_changes_every_target_and_keeps_the_zeros_of_pruning(name: str, arch: str) -> None:
    model, _ = make_model(arch)
    model.config.junkdna_suite = 1  # reads the embedded model's text
    prune(model, PruneSpec(sparsity=0.5))
    zeros = {t.name: t.weight == 0 for t in find_targets(model)}
    before = {t.name: t.weight.clone() for t in find_targets(model)}
    report = quantize(model, QuantSpec(method=name, group_size=16, nsamples=2, seqlen=16), make_tokenizer())
    assert (report.kind, report.quantizer, report.bits) == ("pruned", name, FORMATS[name].widths[0])
    for target in find_targets(model):
        assert not torch.equal(target.weight, before[target.name])
        assert bool((target.weight[zeros[target.name]] == 0).all())


@pytest.mark.parametrize(
    ("name", "bits", "group", "expected"),
    [
        ("rtn", 4, 128, (16 + 4) / 128),
        ("gptq", 3, -1, (16 + 3) / 256),
        ("awq", 4, 64, (16 + 4) / 64 + 16 / 100),  # and 16 bits for each input feature of 100 outputs
        ("fp8", 8, -1, 16 / 256),
        ("fp8-e5m2", 8, 64, 16 / 64),
        ("mxfp4", 4, 32, 8 / 32),  # 4.25 bits in all
        ("nvfp4", 4, 16, 8 / 16 + 32 / (100 * 256)),  # 4.5 bits, and one fp32
        ("nf4", 4, 64, 32 / 64),  # 4.5 bits
    ],
)
def test_what_is_stored_beside_the_codes_is_counted(
    name: str, bits: int, group: int, expected: float
) -> None:
    assert FORMATS[name].shared_bits([(100, 256)], bits, group) == pytest.approx(expected, rel=1e-12)
    assert FORMATS[name].shared_bits([(100, 256), (100, 256)], bits, group) == pytest.approx(
        expected, rel=1e-12
    )


@pytest.mark.parametrize("name", FORMATS)
def test_a_pruned_model_counts_the_same_bits_in_one_step_and_in_two(name: str) -> None:
    text = {"nsamples": 2, "seqlen": 16, "group_size": 16}
    once, twice = make_model("llama")[0], make_model("llama")[0]
    for model in (once, twice):
        model.config.junkdna_suite = 1
    first = prune(once, PruneSpec(sparsity=0.5, quantizer=name, **text), make_tokenizer())
    told = prune(twice, PruneSpec(sparsity=0.5))
    second = quantize(twice, QuantSpec(method=name, **text), make_tokenizer(), manifest=told.to_dict())
    assert (first.effective_bits, first.weights_sha256) == (second.effective_bits, second.weights_sha256)
    again = prune(once, PruneSpec(method="none"), manifest=first.to_dict())
    assert again.effective_bits == first.effective_bits


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"method": "fp8", "bits": 4}, "fp8 has 8 bits, so bits=4 has no meaning"),
        ({"method": "mxfp4", "symmetric": "true"}, "mxfp4 takes no symmetric"),
        ({"method": "rtn", "act_order": "true"}, "rtn takes no act_order"),
        ({"method": "nvpf4"}, "Did you mean 'nvfp4'"),
        ({"method": "gptq", "bits": 5}, "Choose one of 8, 6, 4, 3, 2"),
        ({"method": "bnb-nf4", "symmetric": "true"}, "has its own format, so symmetric= has no meaning"),
        ({"method": "no_such_module:mine"}, "module 'no_such_module' could not be imported"),
    ],
)
def test_what_a_format_does_not_take_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        QuantSpec.from_strings(given)


def test_the_block_that_belongs_to_a_format_is_not_changed_without_a_word() -> None:
    model, _ = make_model("llama")  # has a width of 48
    with pytest.raises(UsageError, match=r"group_size=32 does not divide the input width 48 of .*down_proj"):
        quantize(model, QuantSpec(method="mxfp4"))


def test_a_quantizer_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_quantizers.py").write_text(
        "from junkdna_harness.compress import Format, quantizer\n"
        "@quantizer('halves', Format('halves', widths=(5,), groups=(), scale_bits=0))\n"
        "def halves(weight, how):\n    return (weight * 2).round() / 2\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    model, _ = make_model("llama")
    before = find_targets(model)[0].weight.clone()
    report = quantize(model, QuantSpec.from_strings({"method": "my_quantizers:halves"}))
    assert torch.equal(find_targets(model)[0].weight, (before * 2).round() / 2)
    assert (report.method, report.bits, report.effective_bits) == ("my_quantizers:halves", 5, 5.0)
    model, _ = make_model("llama")
    report = prune(model, PruneSpec.from_strings({"sparsity": 0.5, "quantizer": "my_quantizers:halves"}))
    assert (report.quantizer, report.bits) == ("my_quantizers:halves", 5)


def test_names_and_results_of_ones_own_quantizer_are_checked() -> None:
    with pytest.raises(UsageError, match="'fp8' exists already"):
        quantizer("fp8")(lambda weight, how: weight)
    with pytest.raises(UsageError, match="has no format"):
        quantizer("test_no_format")(lambda weight, how: weight)
    quantizer("test_nan", Format("test_nan", widths=(4,)))(lambda weight, how: weight * torch.nan)
    with pytest.raises(UsageError, match="'test_nan' gave NaN or infinite weights for model.layers.0"):
        quantize(make_model("llama")[0], QuantSpec(method="test_nan"))
    assert get_quantizer("nf4").form.groups[0] == 64


def test_checkpoints_are_written_and_say_their_format(tmp_path: Path) -> None:
    done = junkdna("quantize", "--method", "nvfp4", "--output", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "out" / "junkdna.json").read_text())
    assert (told["method"], told["bits"], told["group_size"], told["symmetric"]) == ("nvfp4", 4, 16, None)
    assert told["effective_bits"] == pytest.approx(4.5, abs=0.01)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"quant_method": "mxfp4"}, (4, 4.25)),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, (8, 8 + 32 / 128**2)),
        ({"quant_method": "compressed-tensors", "config_groups": {"a": {"weights": {"num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 16}}}}, (4, 4.5)),
        ({"quant_method": "compressed-tensors", "config_groups": {"a": {"weights": {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128, "symmetric": True}}}}, (4, 4.125)),
        ({"quant_method": "compressed-tensors", "config_groups": {"a": {"weights": {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128, "symmetric": False}}}}, (4, 4 + 20 / 128)),
        ({"quant_method": "compressed-tensors", "config_groups": {"a": {"weights": {"num_bits": 8, "type": "float", "strategy": "tensor"}}}}, (8, 8)),
        ({"quant_method": "compressed-tensors", "config_groups": {"a": {"weights": {"num_bits": 8, "type": "float", "strategy": "block", "block_structure": [128, 128]}}}}, (8, 8 + 16 / 128**2)),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, (4, 4 + 20 / 128)),
    ],
)  # fmt: skip
def test_formats_of_checkpoints_are_counted_by_their_configuration(
    config: dict[str, Any], expected: tuple[float, float]
) -> None:
    model, _ = make_model("llama")
    model.config.quantization_config = config
    report = describe_loaded(model, QuantSpec(method="none"))
    assert (report.bits, report.effective_bits) == pytest.approx(expected) and not report.warnings


@pytest.mark.parametrize("name", FORMATS)
def test_a_rounded_model_counts_the_same_bits_when_it_is_measured_and_under_a_cache(name: str) -> None:
    model, _ = make_model("llama")
    model.config.junkdna_suite = 1
    report = quantize(model, QuantSpec(method=name, group_size=16, nsamples=2, seqlen=16), make_tokenizer())
    told = report.to_dict()
    assert measure(model, manifest=told).effective_bits == report.effective_bits
    cached = quantize(model, QuantSpec(method="kv", bits=4), manifest=told)
    assert cached.running["weights_alone"]["effective_bits"] == report.effective_bits
    assert not [warning for warning in cached.warnings if "no manifest" in warning]


def test_the_bits_of_ones_own_quantizer_are_known_where_its_module_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quantizer("test_five", Format("test_five", widths=(5,), groups=(), scale_bits=0))(
        lambda weight, how: (weight * 2).round() / 2
    )
    model, _ = make_model("llama")
    told = quantize(model, QuantSpec(method="test_five")).to_dict()
    monkeypatch.delitem(FORMATS, "test_five")
    assert measure(model, manifest=told).effective_bits == 5.0


def test_whole_blocks_of_a_rounded_model_go_by_their_share_alone() -> None:
    """Zeros that rounding made are codes, not weights that went."""
    model, _ = make_model("llama")
    model.config.junkdna_suite = 1
    told = quantize(model, QuantSpec(bits=2, group_size=16)).to_dict()
    assert told["sparsity_targeted"] > 0.1
    report = prune(
        model,
        PruneSpec(method="layers", sparsity=0.5, nsamples=2, seqlen=16),
        make_tokenizer(),
        manifest=told,
    )
    assert (report.level, report.on_top_of) == (0.5, "rtn")
    assert report.effective_bits == pytest.approx(told["effective_bits"] / 2)


def test_what_was_rounded_in_part_is_not_pruned_as_if_all_of_it_were() -> None:
    model, _ = make_model("llama")
    told = quantize(model, QuantSpec(method="nvfp4", targets=("mlp",))).to_dict()
    before = model.model.layers[0].self_attn.q_proj.weight.clone()
    for targets in ((), ("self_attn",)):
        with pytest.raises(UsageError, match="in other weights than are targeted now"):
            prune(model, PruneSpec(sparsity=0.5, targets=targets), manifest=told)
    assert torch.equal(model.model.layers[0].self_attn.q_proj.weight, before)
    assert prune(model, PruneSpec(sparsity=0.5, targets=("mlp",)), manifest=told).bits == 4


def test_what_runs_rounded_is_not_changed_below_it() -> None:
    model, _ = make_model("llama")
    quantize(model, QuantSpec(method="kv", bits=4))
    for change in (lambda: quantize(model, QuantSpec(bits=4)), lambda: prune(model, PruneSpec(sparsity=0.5))):
        with pytest.raises(UsageError, match="has a cache of 4 bits already"):
            change()
    stop_running(model)
    quantize(model, QuantSpec(bits=4))


def test_a_packed_model_keeps_its_name_under_a_cache() -> None:
    model, _ = make_model("llama")
    model.config.quantization_config = {"quant_method": "gptq", "bits": 4, "group_size": 16}
    assert describe_loaded(model, QuantSpec(method="kv", bits=4)).method == "gptq"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"scheme": "W4A16_ASYM", "method": "kv"}, "rounds weights to whole numbers, which kv does not"),
        ({"scheme": "W4A16_ASYM", "method": "nf4"}, "rounds weights to whole numbers, which nf4 does not"),
        (
            {"scheme": "W8A8", "method": "bnb-int8"},
            "rounds weights to whole numbers, which bnb-int8 does not",
        ),
        ({"method": "json:rtn"}, "'json:rtn' is the built-in rtn"),
        ({"group_size": -5}, "group_size=-5 is neither -1"),
        ({"kv_bits": "5"}, "kv_bits=5 is no width of a cache"),
    ],
)
def test_specs_from_python_are_checked_like_those_from_text(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        QuantSpec(**given)
    assert QuantSpec(scheme="w8a8").scheme == "W8A8" and QuantSpec(kv_bits="4").kv_bits == 4  # type: ignore[arg-type]


def test_a_quantizer_that_returns_no_weights_or_has_no_function_is_one_sentence() -> None:
    quantizer("test_none", Format("test_none", widths=(4,)))(lambda weight, how: None)
    with pytest.raises(UsageError, match="'test_none' gave a NoneType for"):
        quantize(make_model("llama")[0], QuantSpec(method="test_none"))
    add_format(Format("test_alone", widths=(4,)))
    with pytest.raises(UsageError, match="has a format and no function"):
        quantize(make_model("llama")[0], QuantSpec(method="test_alone"))


def test_a_built_in_sparsifier_does_not_stand_in_for_one_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="'json:wanda' is the built-in wanda"):
        PruneSpec(method="json:wanda")
    (tmp_path / "raises_on_import.py").write_text("raise RuntimeError('not today')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match="could not be imported .not today."):
        PruneSpec(method="raises_on_import:mine")
