"""dtype=auto-cpu: weights are changed in float32 and asked in bfloat16, where this CPU computes in it; and what is said where not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance
from torch import nn
from transformers import AutoModelForCausalLM

from difficulty.errors import UsageError
from junkdna_harness import precision
from junkdna_harness.compress import PruneSpec, QuantSpec, prune, quantize
from junkdna_harness.compress.hashing import weights_sha256
from junkdna_harness.fidelity.load import load_side, tell_of_dtypes
from junkdna_harness.models.narrowing import narrow, narrowed, refuse_codes
from junkdna_harness.models.pruned import PrunedLM
from junkdna_harness.models.quantized import QuantizedLM
from tests.models_factory import ARCHITECTURES, save_tiny

HALF = torch.bfloat16


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "native_bfloat16", lambda: True)


@pytest.fixture
def imitated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "native_bfloat16", lambda: False)


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny("llama", tmp_path_factory.mktemp("dense") / "dense")


def load(kind: Any, folder: Path, **arguments: Any) -> Any:
    return kind(pretrained=str(folder), device="cpu", batch_size=2, **arguments)


def requests() -> list[Instance]:
    pairs = [("what is red", " apple"), ("what is red", " a tree"), ("say no", " no"), ("say no", " yes")]
    return [Instance("loglikelihood", {}, pair, 0, ("t", i, 1)) for i, pair in enumerate(pairs)]


@pytest.mark.parametrize(
    ("there", "found"),
    [
        ({"avx512_bf16": True}, True), ({"avx512_bf16": False, "amx_bf16": True}, True), ({"bf16": True}, True),
        ({"avx512_bf16": False, "avx512_f": True, "architecture": "x86_64"}, False), ({"neon": True}, False),
    ],
)  # fmt: skip
def test_the_instructions_of_the_cpu_decide(
    there: dict[str, object], found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: there, raising=False)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    assert precision.native_bfloat16() is found
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert precision.native_bfloat16() is False, "torch without oneDNN uses none of them"


@pytest.mark.parametrize("found", [True, False])
def test_an_older_torch_is_asked_otherwise(found: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: found, raising=False)
    assert precision.native_bfloat16() is found


@pytest.mark.usefixtures("native")
def test_a_gpu_is_told_that_it_is_of_cpus() -> None:
    found = precision.choose("cuda:0")
    assert found.dtype == "float32"
    assert found.why == (
        "dtype=auto-cpu: forward passes are in float32, because the model is on cuda:0, and auto-cpu is of CPUs; give "
        "dtype=bfloat16 to compute in it there."
    )


@pytest.mark.usefixtures("imitated")
def test_a_cpu_that_imitates_it_computes_in_float32_and_says_why(
    dense: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lm = load(PrunedLM, dense, dtype="auto-cpu", sparsity=0.5)
    assert "forward passes are in float32, because this CPU" in capsys.readouterr().err
    assert (lm.dtype, lm.junkdna["dtype"], lm.model.dtype) == ("float32", "float32", torch.float32)
    assert lm.softmax_dtype is None
    assert lm.loglikelihood(requests()) == load(PrunedLM, dense, sparsity=0.5).loglikelihood(requests())


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_narrowed_model_answers_as_one_that_was_loaded_so(arch: str, tmp_path: Path) -> None:
    folder = save_tiny(arch, tmp_path / "m")
    ids = torch.arange(2, 26).view(2, 12)
    model, expected = (
        AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval() for dtype in (torch.float32, HALF)
    )
    before = {name: (value, value.clone()) for name, value in model.state_dict().items()}
    with torch.no_grad():
        in_float32 = model(ids).logits
        with narrowed(model, HALF):
            found = model(ids).logits
        again = model(ids).logits
        assert torch.equal(found, expected(ids).logits) and found.dtype == HALF
        assert torch.equal(in_float32, again) and not torch.equal(found.float(), in_float32)
    for name, value in model.state_dict().items():
        assert value.data_ptr() == before[name][0].data_ptr() and torch.equal(value, before[name][1])


def test_what_transformers_keeps_in_float32_stays_so() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model.register_buffer("table", torch.ones(2), persistent=False)
    model.register_buffer("mean", torch.ones(2))
    model._keep_in_fp32_modules_strict = {"1.weight"}
    narrow(model, HALF)
    assert {name: value.dtype for name, value in (*model.named_parameters(), *model.named_buffers())} == {
        "0.weight": HALF, "0.bias": HALF, "1.weight": torch.float32, "1.bias": HALF, "table": torch.float32, "mean": HALF,
    }  # fmt: skip


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize(
    "how",
    [{"method": "magnitude"}, {"method": "wanda", "calibration": "graded", "nsamples": 2, "seqlen": 16}],
)
def test_the_mask_is_that_of_float32_and_the_passes_are_not(dense: Path, how: dict[str, Any]) -> None:
    half = load(PrunedLM, dense, dtype="auto-cpu", sparsity=0.5, **how)
    wide = load(PrunedLM, dense, dtype="float32", sparsity=0.5, **how)
    assert (half.dtype, half.junkdna["dtype"], wide.junkdna["dtype"]) == ("bfloat16", "bfloat16", "float32")
    assert half.junkdna["weights_sha256"] == wide.junkdna["weights_sha256"] == weights_sha256(wide.model)
    for ours, theirs in zip(half.model.parameters(), wide.model.parameters(), strict=True):
        assert torch.equal(ours, theirs.to(HALF))


def test_a_checkpoint_in_half_precision_is_widened_without_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_tiny("llama", tmp_path / "m", dtype=HALF)
    monkeypatch.setattr(precision, "native_bfloat16", lambda: True)
    half, own = load(PrunedLM, folder, dtype="auto-cpu", sparsity=0), load(PrunedLM, folder, sparsity=0)
    assert own.dtype == "bfloat16"
    assert half.loglikelihood(requests()) == own.loglikelihood(requests())


@pytest.mark.parametrize("there", [True, False])
def test_a_model_that_is_given_in_half_precision_is_changed_in_float32_too(
    there: bool, dense: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "native_bfloat16", lambda: there)
    model, wide = (AutoModelForCausalLM.from_pretrained(dense, dtype=HALF) for _ in range(2))
    lm = PrunedLM(
        pretrained=model, tokenizer=str(dense), device="cpu", dtype="auto-cpu", method="random", sparsity=0.5
    )
    assert lm.dtype == str(lm.model.dtype).removeprefix("torch.")
    assert lm.junkdna["weights_sha256"] == prune(wide.float(), PruneSpec("random", 0.5)).weights_sha256


@pytest.mark.usefixtures("native")
def test_codes_are_made_in_float32_and_rounded_once_more(dense: Path) -> None:
    lm = load(QuantizedLM, dense, dtype="auto-cpu", bits=4, kv_bits=8, activations="int8")
    model = AutoModelForCausalLM.from_pretrained(dense, dtype=torch.float32)
    report = quantize(model, QuantSpec(bits=4))
    for ours, theirs in zip(lm.model.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs.to(HALF))
    assert lm.junkdna["weights_sha256"] == report.weights_sha256
    assert all(value < 0 for value, _ in lm.loglikelihood(requests())), (
        "the cache and the inputs of layers are rounded in bfloat16"
    )


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("given", ["auto-cpu", "bfloat16"])
@pytest.mark.parametrize("cached", [True, False])
def test_all_that_follows_the_logits_is_in_float32(dense: Path, given: str, cached: bool) -> None:
    """By hand: logits of the model in bfloat16, each option alone, log-softmax and sum in float64."""
    lm = load(PrunedLM, dense, dtype=given, sparsity=0, prefix_cache=cached)
    found = lm.loglikelihood(requests())
    for request, (value, _) in zip(requests(), found, strict=True):
        context, option = (lm.tok_encode(text) for text in request.args)
        with torch.no_grad():
            logits = lm.model(torch.tensor([context + option])[:, :-1]).logits
        assert logits.dtype == HALF
        rows = logits[0, -len(option) :].double().log_softmax(-1)
        by_hand = float(rows[torch.arange(len(option)), torch.tensor(option)].sum())
        # Batches are padded and shared, so that logits differ in their last bits of bfloat16.
        assert value == pytest.approx(by_hand, rel=0.02)
        assert value != torch.tensor(value).to(HALF).item(), "not rounded to 8 bits"


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("given", ["auto-cpu", "bfloat16"])
def test_the_check_of_shared_prefixes_is_in_float32(dense: Path, given: str) -> None:
    """Between two passes in bfloat16 rounding alone may be more than what a broken cache is known by."""
    lm, seen = load(PrunedLM, dense, dtype=given, sparsity=0), []
    lm.model.register_forward_pre_hook(lambda model, _: seen.append(model.dtype))
    lm.loglikelihood(requests())
    assert seen[0] == torch.float32 and seen[-1] == HALF == lm.model.dtype
    assert torch.float32 not in seen[seen.index(HALF) :], "the check comes first, and once"


def test_softmax_dtype_is_the_users_where_it_is_given(dense: Path) -> None:
    lm = load(PrunedLM, dense, dtype="bfloat16", softmax_dtype="bfloat16", sparsity=0, prefix_cache=False)
    assert lm.softmax_dtype == HALF


def test_explicit_dtypes_load_the_weights_in_them(dense: Path) -> None:
    for given in ("bfloat16", "float16"):
        lm = load(PrunedLM, dense, dtype=given, sparsity=0.5)
        assert lm.dtype == lm.junkdna["dtype"] == given and not lm.narrows
        model = AutoModelForCausalLM.from_pretrained(dense, dtype=getattr(torch, given))
        assert prune(model, PruneSpec(sparsity=0.5)).weights_sha256 == lm.junkdna["weights_sha256"]


def test_under_autocast_it_is_that_dtype(dense: Path) -> None:
    lm = load(PrunedLM, dense, dtype="float32", mixed_precision_dtype="bfloat16", sparsity=0)
    assert (lm.dtype, lm.model.dtype, lm.softmax_dtype) == ("bfloat16", torch.float32, torch.float32)


def test_packed_codes_cannot_be_narrowed() -> None:
    packed = SimpleNamespace(parameters=lambda: [torch.zeros(3, dtype=torch.int8)])
    with pytest.raises(UsageError, match="'m' are packed codes. Leave it out, or name a dtype"):
        refuse_codes(packed, "m")


@pytest.mark.usefixtures("native")
def test_two_models_in_different_numbers_are_told(dense: Path, capsys: pytest.CaptureFixture[str]) -> None:
    half = load_side({"pretrained": str(dense)}, "cpu", "auto-cpu").lm
    wide = load_side({"pretrained": str(dense), "sparsity": 0.5}, "cpu").lm
    capsys.readouterr()
    tell_of_dtypes(half, half)
    assert not capsys.readouterr().err
    tell_of_dtypes(half, wide)
    assert "the dense model computes in bfloat16 and the other in float32" in capsys.readouterr().err
