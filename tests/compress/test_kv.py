"""A cache of few bits: what attention reads, against a plain attention; the same with a cache and without one; what cannot be simulated."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from difficulty.errors import UsageError
from junkdna_harness.compress import PruneSpec, QuantSpec, prune, quantize, stop_running, weights_sha256
from junkdna_harness.compress.kv import CacheGrid
from tests.models.test_scoring import answers, assert_same, multiple_choice, scorer
from tests.models_factory import ARCHITECTURES, make_model

IDS = (torch.arange(48) * 7 % 90 + 3)[None]


def exact(arch: str) -> Any:
    """A tiny model in fp64, so that no rounding of sums decides to which level a number goes; torch's grouped products know no fp64."""
    model, _ = make_model(arch, dtype=torch.float64)
    if hasattr(model, "set_experts_implementation"):
        model.set_experts_implementation("eager")
    return model


def kv(bits: int = 4, **arguments: Any) -> QuantSpec:
    return QuantSpec(method="kv", bits=bits, **arguments)


def rounded_plainly(values: Tensor, bits: int, group: int) -> Tensor:
    """One number after another: the grid from the smallest to the largest of `group` neighbours and zero, in fp32."""
    rows = []
    for row in values.float().reshape(-1, group):
        low, high = min(float(row.min()), 0.0), max(float(row.max()), 0.0)
        scale = (torch.tensor(high) - torch.tensor(low)) / (2**bits - 1)
        zero = torch.round(-torch.tensor(low) / scale)
        codes = [
            min(max(torch.round(x / scale) + zero, torch.tensor(0.0)), torch.tensor(2.0**bits - 1))
            for x in row
        ]
        rows.append(torch.stack([(code - zero) * scale for code in codes]))
    return torch.stack(rows).view(values.shape).to(values.dtype)


@pytest.mark.parametrize("bits", [8, 4, 2])
@pytest.mark.parametrize("group", [None, 8])
def test_each_token_of_each_head_is_rounded_by_itself(bits: int, group: int | None) -> None:
    values = torch.randn(2, 3, 5, 16, generator=torch.Generator().manual_seed(bits))
    found = CacheGrid(bits, group)(values)
    assert torch.equal(found, rounded_plainly(values, bits, group or 16))
    assert len(found[0, 0, 0, : group or 16].unique()) <= 2**bits
    one = CacheGrid(bits, group)(values[1:, 2:, 3:4])
    assert torch.equal(one, found[1:, 2:, 3:4])  # whatever else is in the cache


def attention_plainly(module: Any, hidden: Tensor, cos: Tensor, sin: Tensor, bits: int) -> Tensor:
    """Causal attention of a Llama, keys after rotary positions and values rounded, each query head with the keys of its group."""
    rows, tokens, _ = hidden.shape
    size = module.head_dim
    query, key, value = (
        projection(hidden).view(rows, tokens, -1, size).transpose(1, 2)
        for projection in (module.q_proj, module.k_proj, module.v_proj)
    )
    query, key = apply_rotary_pos_emb(query, key, cos, sin)
    key, value = (rounded_plainly(one.contiguous(), bits, size) for one in (key, value))
    out = []
    for head in range(query.shape[1]):
        shared = head // (query.shape[1] // key.shape[1])
        scores = query[:, head] @ key[:, shared].transpose(1, 2) / size**0.5
        ahead = torch.triu(torch.ones(tokens, tokens, dtype=torch.bool), 1)
        out.append(scores.masked_fill(ahead, -torch.inf).softmax(-1) @ value[:, shared])
    joined: Tensor = module.o_proj(torch.stack(out, 2).reshape(rows, tokens, -1))
    return joined


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("bits", [4, 2])
def test_attention_is_that_of_a_plain_one_with_rounded_keys_and_values(attention: str, bits: int) -> None:
    model, config = make_model("llama", dtype=torch.float64)
    assert config.num_key_value_heads < config.num_attention_heads  # shared by two
    model.set_attn_implementation(attention)
    quantize(model, kv(bits))
    seen: list[tuple[Any, ...]] = []
    for layer in model.model.layers:
        layer.self_attn.register_forward_hook(
            lambda module, args, kwargs, out: seen.append((module, args, kwargs, out[0])), with_kwargs=True
        )
    with torch.no_grad():
        model(IDS)
        assert len(seen) == 2
        for module, args, kwargs, out in seen:
            hidden = args[0] if args else kwargs["hidden_states"]
            expected = attention_plainly(module, hidden, *kwargs["position_embeddings"], bits)
            close = 1e-6 if attention == "eager" else 1e-9  # the eager function takes its softmax in fp32
            torch.testing.assert_close(out, expected, rtol=0, atol=close)


@torch.no_grad()
def one_by_one(model: Any, ids: Tensor) -> Tensor:
    """Logits of every position, tokens given one at a time through the model's cache, the first four together."""
    out = model(ids[:, :4], use_cache=True)
    found = [out.logits]
    name = "cache" if "cache" in out else "past_key_values"
    for at in range(4, ids.shape[1]):
        out = model(ids[:, at : at + 1], use_cache=True, **{name: out[name]})
        found.append(out.logits)
    return torch.cat(found, 1)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_logits_are_the_same_through_a_cache_and_without_one(arch: str) -> None:
    model = exact(arch)
    with torch.no_grad():
        whole = model(IDS).logits
        quantize(model, kv(4, activations="int8"))
        rounded = model(IDS).logits
    assert (rounded - whole).abs().max() > 0.01
    torch.testing.assert_close(one_by_one(model, IDS), rounded, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("arch", ["llama", "gpt2", "gpt_oss"])
def test_texts_are_the_same_through_a_cache_and_without_one(arch: str) -> None:
    model = exact(arch)
    options = {"do_sample": False, "max_new_tokens": 24, "pad_token_id": 0, "eos_token_id": None}
    whole = model.generate(IDS[:, :20], **options)
    quantize(model, kv(2))
    found = model.generate(IDS[:, :20], use_cache=True, **options)
    assert torch.equal(found, model.generate(IDS[:, :20], use_cache=False, **options))
    assert not torch.equal(found, whole)


@pytest.mark.parametrize("arch", ["llama", "qwen3", "mixtral", "gpt2", "opt", "gpt_neox"])
def test_shared_prefixes_score_as_whole_requests_do(arch: str) -> None:
    model = exact(arch)
    lm = scorer(model)
    pairs = multiple_choice(9, seed=1, header="a header that all of the contexts share, ")
    dense = answers(lm, pairs, prefix_cache=False)
    quantize(model, kv(4, activations="fp8"))
    expected = answers(lm, pairs, prefix_cache=False)
    found = answers(lm, pairs, prefix_cache=True)
    assert lm._prefix_checked and lm._prefix_limit > 1000  # the cache was used and found sound
    assert_same(found, expected)
    assert max(abs(a - b) for (a, _), (b, _) in zip(found, dense, strict=True)) > 0.01


def test_it_ends_with_the_model_as_it_was_and_touches_no_other() -> None:
    model, _ = make_model("llama")
    other, _ = make_model("llama")
    before, sha = model(IDS).logits, weights_sha256(model)
    quantize(model, kv(2))
    assert not torch.equal(model(IDS).logits, before)
    assert torch.equal(other(IDS).logits, before)
    assert weights_sha256(model) == sha
    stop_running(model)
    stop_running(model)  # once more is nothing
    assert torch.equal(model(IDS).logits, before)


def test_a_copy_is_refused_for_its_layers_would_not_be_rounded() -> None:
    model, _ = make_model("mixtral")
    quantize(model, kv(2, activations="int8"))
    with pytest.raises(UsageError, match="has activations in int8 and a cache of 2 bits cannot be copied"):
        copy.deepcopy(model)
    stop_running(model)
    assert torch.equal(copy.deepcopy(model)(IDS).logits, model(IDS).logits)


def test_twice_is_refused_until_it_is_taken_off() -> None:
    model, _ = make_model("llama")
    quantize(model, kv(2))
    with pytest.raises(UsageError, match="has a cache of 2 bits already. Take that off first"):
        quantize(model, kv(4))
    stop_running(model)
    assert quantize(model, kv(4)).method == "kv"


TINY = {
    "vocab_size": 100,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "pad_token_id": 0,
}
OTHERS: list[tuple[str, dict[str, Any], str]] = [
    ("bloom", {"n_layer": 2, "n_head": 4}, "does not get them from transformers' interface"),
    ("falcon", {"new_decoder_architecture": False}, "does not get them from transformers' interface"),
    ("mpt", {"d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 64}, "does not get them from transformers' interface"),
    ("mamba", {"state_size": 8}, "a mamba model cannot be simulated so"),
    ("deepseek_v3", {
        "intermediate_size": 48, "moe_intermediate_size": 16, "kv_lora_rank": 16, "q_lora_rank": 16, "qk_rope_head_dim": 8, "v_head_dim": 8,
        "qk_nope_head_dim": 8, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1, "num_key_value_heads": 4,
        "first_k_dense_replace": 1,
    }, "as the cache holds them"),
]  # fmt: skip


@pytest.mark.parametrize("kind,changes,why", OTHERS, ids=[kind for kind, *_ in OTHERS])
def test_a_model_whose_cache_cannot_be_simulated_is_refused_before_anything_is_changed(
    kind: str, changes: dict[str, Any], why: str
) -> None:
    config = AutoConfig.for_model(kind, **{**TINY, **changes})
    model = AutoModelForCausalLM.from_config(config).eval()
    sha = weights_sha256(model)
    with pytest.raises(UsageError, match=why) as error:
        quantize(model, QuantSpec(bits=4, kv_bits=4))
    assert str(error.value).count("\n") == 0 and "Leave kv_bits out" in str(error.value)
    with pytest.raises(UsageError, match=why):
        prune(model, PruneSpec(sparsity=0.5, kv_bits=4))
    assert weights_sha256(model) == sha


def test_an_attention_that_stops_passing_by_is_refused() -> None:
    """One layer of two that computes by itself, as an architecture of one's own may."""
    model, _ = make_model("llama")
    attention = model.model.layers[1].self_attn
    forward = attention.forward

    def by_itself(*args: Any, **kwargs: Any) -> Any:
        from transformers.models.llama import modeling_llama

        functions, modeling_llama.ALL_ATTENTION_FUNCTIONS = modeling_llama.ALL_ATTENTION_FUNCTIONS, _Own()
        try:
            return forward(*args, **kwargs)
        finally:
            modeling_llama.ALL_ATTENTION_FUNCTIONS = functions

    class _Own:
        def get_interface(self, *_: Any) -> Any:
            from transformers.integrations.sdpa_attention import sdpa_attention_forward

            return sdpa_attention_forward

    attention.forward = by_itself
    with pytest.raises(UsageError, match="does not get them from transformers' interface"):
        quantize(model, kv(4))


def test_a_group_that_does_not_divide_a_head_is_refused() -> None:
    model, _ = make_model("llama")
    with pytest.raises(UsageError, match="kv_group_size=3 does not divide the 8 numbers of a head"):
        quantize(model, kv(4, kv_group_size=3))


def test_bits_are_those_of_codes_scales_and_zero_points_and_what_is_saved_is_told() -> None:
    model, config = make_model("llama")
    report = quantize(model, QuantSpec(bits=4, group_size=16, kv_bits=4, kv_tokens=10))
    facts = report.running
    assert facts["kv_effective_bits"] == 4 + (16 + 4) / 8  # heads of 8
    numbers = (
        2 * 2 * config.num_key_value_heads * 8 * 10
    )  # layers, keys and values, heads, their size, tokens
    weights = report.weights_targeted
    assert facts["kv_saved_bits"] == pytest.approx((16 - 6.5) * numbers / weights)
    alone = 4 + (16 + 4) / 16
    assert facts["weights_alone"]["effective_bits"] == alone
    assert report.effective_bits == pytest.approx(alone - (16 - 6.5) * numbers / weights)
    assert facts["kv_tokens"] == 10 and report.method == "rtn-kv4" and report.bits == 4


def test_a_sliding_window_bounds_what_a_layer_keeps() -> None:
    model, _ = make_model("gpt_oss")  # a window of 16 in one layer of two
    facts = quantize(model, kv(4, kv_tokens=100)).running
    numbers = (100 + 16) * 2 * 2 * 8
    weights = quantize_alone_weights()
    assert facts["kv_saved_bits"] == pytest.approx((16 - facts["kv_effective_bits"]) * numbers / weights)


def quantize_alone_weights() -> int:
    return quantize(make_model("gpt_oss")[0], QuantSpec(bits=8)).weights_targeted


def test_a_cache_that_saves_more_than_the_weights_take_counts_zero_bits_and_says_so() -> None:
    model, _ = make_model("llama")
    report = quantize(model, QuantSpec(bits=2, kv_bits=2))
    assert report.effective_bits == 0 and report.running["weights_alone"]["effective_bits"] > 2
    assert any("saves more than the weights take" in warning for warning in report.warnings)


def test_more_tokens_than_the_model_takes_are_refused_before_anything_is_changed() -> None:
    model, _ = make_model("llama")
    sha = weights_sha256(model)
    with pytest.raises(UsageError, match="kv_tokens=129 is more than the 128 tokens"):
        quantize(model, QuantSpec(bits=2, kv_bits=2, kv_tokens=129))
    assert weights_sha256(model) == sha


@pytest.mark.parametrize(
    "spec,method,bits",
    [
        (QuantSpec(method="kv", bits=2), "kv", 2),
        (QuantSpec(method="none", kv_bits=2), "kv", 2),
        (QuantSpec(method="none", kv_bits=2, kv_group_size=4), "kvg4", 2),
        (QuantSpec(method="none", activations="fp8"), "afp8", 8),
        (QuantSpec(method="kv", bits=8, activations="int8"), "aint8-kv", 8),
        (QuantSpec(bits=3, kv_bits=8, activations="int8"), "rtn-aint8-kv8", 3),
        (PruneSpec(sparsity=0, kv_bits=4), "kv", 4),
        (PruneSpec(method="none", kv_bits=4), "kv", 4),
        (PruneSpec(sparsity=0.5, kv_bits=4), "magnitude-kv4", None),
        (PruneSpec(pattern="2:4", bits=4, activations="int8"), "magnitude-aint8", 4),
    ],
)
def test_what_was_done_has_a_name_of_its_own(spec: Any, method: str, bits: int | None) -> None:
    model, _ = make_model("llama")
    report = (quantize if isinstance(spec, QuantSpec) else prune)(model, spec)
    assert (report.method, report.bits) == (method, bits)
