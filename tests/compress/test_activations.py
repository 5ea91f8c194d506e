"""Activations of 8 bits: the numbers against torch's own and plain ones; every targeted layer gets them; static scales; what is not rounded is said."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from difficulty.errors import UsageError
from junkdna_harness.compress import QuantSpec, find_targets, prune, quantize, stop_running
from junkdna_harness.compress.activations import largest_of_token, round_fp8, round_int8
from junkdna_harness.compress.spec import PruneSpec
from tests.models_factory import ARCHITECTURES, make_model, make_tokenizer

IDS = (torch.arange(40) * 11 % 90 + 3)[None]


def plain_int8(values: Tensor, most: Tensor | None = None) -> Tensor:
    """Each number of each token (or all of a layer, with `most`) to the nearest step of the largest over 127."""
    rows = []
    for row in values.float().reshape(-1, values.shape[-1]):
        largest = row.abs().max() if most is None else most.float()
        scale = largest / 127 if float(largest) else torch.tensor(1.0)
        rows.append(
            torch.stack(
                [
                    min(max(torch.round(x / scale), torch.tensor(-127.0)), torch.tensor(127.0)) * scale
                    for x in row
                ]
            )
        )
    return torch.stack(rows).view(values.shape).to(values.dtype)


def plain_fp8(values: Tensor, most: Tensor | None = None) -> Tensor:
    """The same on E4M3 numbers: 1 sign, 4 exponent and 3 fraction bits, bias 7, the largest 448."""
    rows = []
    for row in values.float().reshape(-1, values.shape[-1]):
        largest = row.abs().max() if most is None else most.float()
        scale = largest / 448 if float(largest) else torch.tensor(1.0)
        rows.append(torch.stack([_e4m3(x / scale) * scale for x in row]))
    return torch.stack(rows).view(values.shape).to(values.dtype)


def _e4m3(x: Tensor) -> Tensor:
    size = x.abs().clamp(max=448)
    exponent = max(int(torch.floor(torch.log2(size))) if float(size) else -6, -6)
    step = torch.tensor(2.0 ** (exponent - 3))
    return torch.sign(x) * torch.round(size / step) * step


PLAIN = {"int8": plain_int8, "fp8": plain_fp8}
ROUND = {"int8": round_int8, "fp8": round_fp8}


def some(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * torch.logspace(-6, 3, shape[-1])
    values.view(-1, shape[-1])[0] = 0
    return values.to(dtype)


@pytest.mark.parametrize("how", ["int8", "fp8"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_tokens_are_rounded_as_a_plain_reference_rounds_them(how: str, dtype: torch.dtype) -> None:
    values = some((3, 7, 24), dtype)
    found = ROUND[how](values, largest_of_token(values)).to(dtype)
    assert torch.equal(found, PLAIN[how](values))
    assert torch.equal(found[1:2, 2:5], PLAIN[how](values[1:2, 2:5]))  # whatever else is in the batch


def test_int8_is_torchs_own_quantization_of_tokens() -> None:
    import torch.ao.quantization.fx._decomposed

    values = some((5, 32))
    scales = largest_of_token(values) / 127
    scales[0] = 1
    zero = torch.zeros_like(scales, dtype=torch.int64)
    codes = torch.ops.quantized_decomposed.quantize_per_token(values, scales, zero, -127, 127, torch.int8)
    assert torch.equal(round_int8(values, largest_of_token(values)), codes.float() * scales)


def test_int8_is_torchaos() -> None:
    pytest.importorskip("torchao", reason="torchao is not installed")
    from torchao.quantization.quant_primitives import (
        MappingType,
        choose_qparams_affine,
        dequantize_affine,
        quantize_affine,
    )

    values = some((5, 32))[1:]
    block = (1, 32)
    scale, zero = choose_qparams_affine(
        values, MappingType.SYMMETRIC, block, torch.int8, -127, 127, eps=1e-12
    )
    codes = quantize_affine(values, block, scale, zero, torch.int8, -127, 127)
    expected = dequantize_affine(codes, block, scale, zero, torch.int8, -127, 127)
    torch.testing.assert_close(round_int8(values, largest_of_token(values)), expected, rtol=1e-6, atol=0)


def plainly(model: Any, how: str) -> None:
    """Give every layer of the blocks inputs that the plain reference rounds; experts are computed one token after another."""
    rounded = PLAIN[how]
    for name, module in model.named_modules():
        in_block = any(part.isdigit() for part in name.split("."))
        if isinstance(module, (nn.Linear, Conv1D)) and in_block and "router" not in name:
            module.forward = lambda x, f=module.forward: f(rounded(x))
        elif hasattr(module, "gate_up_proj") and isinstance(module.gate_up_proj, nn.Parameter):
            module.forward = _experts(module, rounded)


def _experts(module: Any, rounded: Any) -> Any:
    def forward(hidden: Tensor, index: Tensor, weights: Tensor) -> Tensor:
        out = torch.zeros_like(hidden)
        for token in range(len(hidden)):
            for place, expert in enumerate(index[token].tolist()):
                up = functional.linear(rounded(hidden[token][None]), module.gate_up_proj[expert])
                gate, up = up.chunk(2, dim=-1)
                down = functional.linear(rounded(module.act_fn(gate) * up), module.down_proj[expert])
                out[token] += (down * weights[token, place])[0]
        return out

    return forward


@pytest.mark.parametrize("how", ["int8", "fp8"])
@pytest.mark.parametrize("arch", ["llama", "tied", "qwen3", "gpt2", "opt", "gpt_neox", "mixtral"])
@torch.no_grad()
def test_every_targeted_layer_gets_rounded_inputs(arch: str, how: str) -> None:
    model, _ = make_model(arch, dtype=torch.float64)
    reference, _ = make_model(arch, dtype=torch.float64)
    for one in (model, reference):
        if hasattr(one, "set_experts_implementation"):
            one.set_experts_implementation("eager")
    plainly(reference, how)
    dense = model(IDS).logits
    report = quantize(model, QuantSpec(method="none", activations=how))
    assert report.warnings == () and report.running["activations"] == how
    found = model(IDS).logits
    assert (found - dense).abs().max() > 1e-3
    torch.testing.assert_close(found, reference(IDS).logits, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("implementation", ["eager", "grouped_mm", "batched_mm"])
@torch.no_grad()
def test_stacks_of_experts_are_rounded_however_they_are_computed(implementation: str) -> None:
    """grouped and batched products gather copies of the weights; the setting is the model's again afterwards."""
    model, _ = make_model("mixtral")
    model.set_experts_implementation(implementation)
    dense = model(IDS).logits
    quantize(model, QuantSpec(method="none", activations="int8", targets=("experts",)))
    found = model(IDS).logits
    assert model.config._experts_implementation == implementation
    other, _ = make_model("mixtral")
    other.set_experts_implementation("eager")
    quantize(other, QuantSpec(method="none", activations="int8", targets=("experts",)))
    torch.testing.assert_close(found, other(IDS).logits, rtol=1e-4, atol=1e-4)
    assert (found - dense).abs().max() > 1e-3


@pytest.mark.parametrize("arch", ARCHITECTURES)
@torch.no_grad()
def test_it_is_taken_off_without_a_trace(arch: str) -> None:
    model, _ = make_model(arch)
    before = model(IDS).logits
    quantize(model, QuantSpec(method="none", activations="int8"))
    stop_running(model)
    assert torch.equal(model(IDS).logits, before)
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in model.modules())


@torch.no_grad()
def test_an_error_within_the_experts_leaves_nothing_open() -> None:
    model, _ = make_model("mixtral")
    quantize(model, QuantSpec(method="none", activations="int8"))
    expected = model(IDS).logits
    experts = next(m for m in model.modules() if hasattr(m, "gate_up_proj"))
    kept, experts.act_fn = experts.act_fn, None
    with pytest.raises(TypeError):
        model(IDS)
    experts.act_fn = kept
    assert torch.equal(model(IDS).logits, expected)
    one = functional.linear(
        torch.ones(1, 32), experts.gate_up_proj[0]
    )  # outside of the module nothing is rounded
    assert torch.equal(one, torch.ones(1, 32) @ experts.gate_up_proj[0].T)


@pytest.mark.parametrize("arch", ["llama", "mixtral", "gpt2"])
@torch.no_grad()
def test_static_scales_are_the_largest_inputs_of_the_calibration_text(arch: str, tmp_path: Any) -> None:
    text = tmp_path / "text.txt"
    text.write_text("\n".join(f"the {i} quick brown foxes jump over {i * i} dogs." for i in range(200)))
    model, _ = make_model(arch)
    spec = QuantSpec(
        bits=8, activations="int8", activation_scale="static", calibration=str(text), nsamples=6, seqlen=32
    )
    report = quantize(model, spec, make_tokenizer())
    assert report.method == "rtn-aint8static" and report.calibration is not None
    scales = report.running["activation_scales"]
    stop_running(model)
    seen: dict[str, float] = {}
    for name, module in model.named_modules():
        if name in scales and isinstance(module, (nn.Linear, Conv1D)):
            module.register_forward_pre_hook(
                lambda _, args, name=name: seen.__setitem__(
                    name, max(seen.get(name, 0.0), float(args[0].abs().max()))
                )
            )
    from junkdna_harness.compress.calibration import load_calibration

    ids = load_calibration(str(text), make_tokenizer(), model, nsamples=6, seqlen=32).ids
    model(ids)
    assert seen == {name: scales[name] for name in seen} and len(seen) >= 8
    experts = {name for name in scales if "experts" in name}
    assert scales.keys() - seen.keys() == experts and len(experts) == (4 if arch == "mixtral" else 0)


@pytest.mark.parametrize("how", ["int8", "fp8"])
def test_a_static_scale_cuts_off_what_exceeds_it(how: str) -> None:
    values = torch.tensor([[0.5, -3.0, 0.26, 9.0]])
    found = ROUND[how](values, torch.tensor(1.0))
    assert torch.equal(found, PLAIN[how](values, torch.tensor(1.0)))
    assert found[0, 1] == -1 and found[0, 3] == 1


def test_static_scales_need_text() -> None:
    model, _ = make_model("llama")
    with pytest.raises(UsageError, match="calibration"):
        quantize(model, QuantSpec(bits=8, activations="int8", activation_scale="static"), make_tokenizer())


@torch.no_grad()
def test_a_weight_that_is_used_otherwise_than_as_a_layer_is_named_with_its_share() -> None:
    model, _ = make_model("llama")
    mlp = model.model.layers[0].mlp
    mlp.forward = lambda x: functional.linear(
        mlp.act_fn(mlp.gate_proj(x)) * functional.linear(x, mlp.up_proj.weight), mlp.down_proj.weight
    )
    report = quantize(model, QuantSpec(method="none", activations="int8"))
    (warning,) = report.warnings
    share = 2 * 32 * 48 / report.weights_targeted
    assert (
        warning.startswith(f"2 layers with {share:.0%} of the targeted weights got no input")
        and "mlp.up_proj" in warning
    )


@torch.no_grad()
def test_modules_that_share_a_weight_are_all_rounded() -> None:
    model, _ = make_model("llama")
    first, second = (layer.mlp.up_proj for layer in model.model.layers)
    second.weight = first.weight
    seen: list[tuple[Tensor, ...]] = []
    quantize(model, QuantSpec(method="none", activations="int8"))
    for module in (first, second):
        module.register_forward_hook(lambda _, args, out: seen.append(args))
    model(IDS)
    assert len(seen) == 2
    for (inputs,) in seen:
        assert torch.equal(inputs, plain_int8(inputs))  # what is rounded stays as it is


@torch.no_grad()
def test_targets_say_which_layers_and_a_model_that_moved_is_rounded_still() -> None:
    model, _ = make_model("mixtral")
    quantize(model, QuantSpec(method="none", activations="int8", targets=("experts",)))
    expected = model(IDS).logits
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()  # as .to() of another device does
    assert torch.equal(model(IDS).logits, expected)
    names = {target.module_name for target in find_targets(model, ("experts",))}
    assert all("experts" in name for name in names)


def test_pruning_may_ask_for_it_too() -> None:
    model, _ = make_model("llama")
    report = prune(model, PruneSpec(sparsity=0.5, activations="int8", kv_bits=4))
    assert report.method == "magnitude-aint8-kv4" and report.level == 0.5
    assert report.running["weights_alone"]["method"] == "magnitude"


@pytest.mark.parametrize("method", ["experts", "layers"])
@torch.no_grad()
def test_what_is_left_of_a_model_whose_parts_are_gone_is_rounded(method: str) -> None:
    more = (
        {"criterion": "random"}
        if method == "experts"
        else {"calibration": __file__, "nsamples": 2, "seqlen": 32}
    )
    model, _ = make_model("mixtral")
    report = prune(
        model, PruneSpec(method=method, sparsity=0.5, activations="int8", kv_bits=4, **more), make_tokenizer()
    )
    assert report.method.startswith(method) and report.method.endswith("-aint8-kv4")
    assert not any("got no input" in warning for warning in report.warnings)
    found = model(IDS).logits
    stop_running(model)
    whole = model(IDS).logits
    assert not torch.equal(found, whole)
    quantize(model, QuantSpec(method="kv", bits=4, activations="int8"), manifest={})
    assert torch.equal(model(IDS).logits, found)


@pytest.mark.parametrize(
    "given,message",
    [
        ({"scheme": "W8A8", "bits": 4}, "scheme=W8A8 means bits=8, and bits=4 was given. Leave one of the two out"),
        ({"scheme": "W8A8", "symmetric": "false"}, "scheme=W8A8 means symmetric=true, and symmetric=false was given"),
        ({"scheme": "FP8_DYNAMIC", "method": "rtn"}, "scheme=FP8_DYNAMIC means method=fp8, and method=rtn was given"),
        ({"scheme": "W4A4"}, "scheme='W4A4' is unknown. Choose one of W8A8"),
        ({"activations": "int4"}, "activations='int4' is unknown. Choose one of int8, fp8"),
        ({"activation_scale": "static"}, "Give activations= too, or leave it out"),
        ({"kv_bits": 3}, "kv_bits=3 is no width of a cache here. Choose one of 8, 4, 2"),
        ({"kv_tokens": 9}, "Give kv_bits= too, or leave it out"),
        ({"method": "kv", "bits": 8, "kv_bits": 4}, "method=kv takes its bits=8 for the cache, and kv_bits=4 was given too"),
        ({"method": "kv", "bits": 3}, "bits=3 is no width of a cache here"),
        ({"method": "kv", "group_size": 32}, "method=kv leaves the weights as they are, so group_size= has no meaning"),
        ({"method": "bnb-int8", "activations": "int8"}, "method=bnb-int8 has its own format, so activations= has no meaning"),
    ],
)  # fmt: skip
def test_each_mistake_is_one_sentence(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        QuantSpec.from_strings(given)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_schemes_say_all_at_once_in_both_specs() -> None:
    spec = QuantSpec.from_strings({"scheme": "w4a16kv4", "method": "gptq"})
    assert (spec.method, spec.bits, spec.symmetric, spec.kv_bits, spec.activations) == (
        "gptq",
        4,
        True,
        4,
        None,
    )
    spec = QuantSpec.from_strings({"scheme": "W8A8"})
    assert (spec.bits, spec.group_size, spec.symmetric, spec.activations, spec.activation_scale) == (
        8,
        -1,
        True,
        "int8",
        "dynamic",
    )
    spec = QuantSpec(scheme="FP8_DYNAMIC")
    assert (spec.method, spec.bits, spec.activations) == ("fp8", 8, "fp8")
    pruned = PruneSpec.from_strings({"scheme": "FP8_DYNAMIC", "pattern": "2:4"})
    assert (pruned.quantizer, pruned.bits, pruned.activations) == ("fp8", 8, "fp8")
    with pytest.raises(
        UsageError, match="scheme=FP8_DYNAMIC means quantizer=fp8, and quantizer=gptq was given"
    ):
        PruneSpec.from_strings({"scheme": "FP8_DYNAMIC", "quantizer": "gptq"})
