"""Exactly the requested weights go, in every architecture and scope, and nothing else changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM

from difficulty.errors import UsageError
from junkdna_harness.compress import (
    InputNorm,
    PruneSpec,
    Sparsity,
    find_targets,
    measure,
    prune,
    sparsifier,
    sparsifiers,
    weights_sha256,
)
from junkdna_harness.compress.reading import Whole
from tests.models_factory import ARCHITECTURES, make_model


def zeros(model: Any) -> dict[str, int]:
    return {t.name: int((t.weight == 0).sum()) for t in find_targets(model)}


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("method", ["magnitude", "largest", "random"])
@pytest.mark.parametrize("scope", ["row", "layer", "global"])
def test_every_group_of_the_scope_loses_exactly_its_count(arch: str, method: str, scope: Any) -> None:
    model, _ = make_model(arch)
    report = prune(model, PruneSpec(method=method, sparsity=0.37, scope=scope))
    share, targets = Sparsity(0.37), find_targets(model)
    if scope == "row":
        for target in targets:
            assert set((target.weight == 0).sum(1).tolist()) == {share.removed(target.shape[1])}
    elif scope == "layer":
        assert zeros(model) == {t.name: share.removed(t.numel) for t in targets}
    else:
        assert sum(zeros(model).values()) == share.removed(sum(t.numel for t in targets))
    assert report.sparsity_targeted == sum(zeros(model).values()) / sum(t.numel for t in targets)


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("method", ["magnitude", "largest", "random"])
def test_n_m_holds_in_every_architecture(arch: str, method: str) -> None:
    model, _ = make_model(arch)
    prune(model, PruneSpec(method=method, pattern="2:8"))
    for target in find_targets(model):
        assert bool(((target.weight.reshape(target.shape[0], -1, 8) != 0).sum(-1) == 2).all())


def test_magnitude_keeps_the_largest_and_leaves_them_as_they_were() -> None:
    model, _ = make_model("llama")
    before = {t.name: t.weight.clone() for t in find_targets(model)}
    rest = {n: p.clone() for n, p in model.named_parameters() if "proj" not in n}
    prune(model, PruneSpec(sparsity=0.6))
    for target in find_targets(model):
        kept, old = target.weight != 0, before[target.name]
        assert torch.equal(target.weight[kept], old[kept])
        assert old[kept].abs().min() >= old[~kept].abs().max()
    assert all(torch.equal(dict(model.named_parameters())[n], p) for n, p in rest.items())


def test_global_is_one_threshold_over_all_layers() -> None:
    model, _ = make_model("llama")
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.mul_(0.001)
    old = torch.cat([t.weight.flatten() for t in find_targets(model)])
    prune(model, PruneSpec(sparsity=0.3, scope="global"))
    new = torch.cat([t.weight.flatten() for t in find_targets(model)])
    assert old[new != 0].abs().min() >= old[new == 0].abs().max()
    assert zeros(model)["model.layers.0.mlp.up_proj"] == 32 * 48


def test_sparsity_zero_changes_no_bit() -> None:
    model, _ = make_model("qwen2")
    before = weights_sha256(model)
    report = prune(model, PruneSpec(method="wanda", sparsity=0.0))  # not even calibration is asked for
    assert report.weights_sha256 == before == weights_sha256(model)
    assert report.sparsity_targeted == 0


def test_weights_full_of_ties_lose_no_more_than_asked() -> None:
    model, _ = make_model("llama")
    with torch.no_grad():
        for target in find_targets(model):
            target.weight.copy_(torch.sign(target.weight))
    prune(model, PruneSpec(sparsity=0.25))
    assert zeros(model) == {t.name: t.numel // 4 for t in find_targets(model)}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_what_it_was(dtype: torch.dtype) -> None:
    model, _ = make_model("llama", dtype=dtype)
    prune(model, PruneSpec(sparsity=0.5))
    assert {p.dtype for p in model.parameters()} == {dtype}
    assert zeros(model) == {t.name: t.numel // 2 for t in find_targets(model)}


def test_random_masks_follow_the_seed_and_are_nested() -> None:
    def mask(sparsity: float, seed: int) -> torch.Tensor:
        model, _ = make_model("llama")
        prune(model, PruneSpec(method="random", sparsity=sparsity, seed=seed))
        return torch.cat([(t.weight == 0).flatten() for t in find_targets(model)])

    assert torch.equal(mask(0.5, 1), mask(0.5, 1))
    assert not torch.equal(mask(0.5, 1), mask(0.5, 2))
    assert bool((mask(0.5, 1) | ~mask(0.3, 1)).all())


@pytest.mark.parametrize("value,what", [(float("nan"), "NaN"), (float("inf"), "infinite")])
def test_weights_that_cannot_be_ranked_name_their_layer(value: float, what: str) -> None:
    model, _ = make_model("gpt2")
    with torch.no_grad():
        model.transformer.h[1].mlp.c_fc.weight[3, 5] = value
    before = weights_sha256(model)
    with pytest.raises(UsageError, match=rf"h\.1\.mlp\.c_fc has {what} weights"):
        prune(model)
    assert weights_sha256(model) == before


def test_a_width_that_m_does_not_divide_names_its_layer_and_changes_nothing() -> None:
    model, _ = make_model("llama", intermediate_size=50)
    before = weights_sha256(model)
    with pytest.raises(UsageError, match=r"divisible by 4; model\.layers\.0\.mlp\.down_proj has 50"):
        prune(model, PruneSpec(pattern="2:4"))
    assert weights_sha256(model) == before


def test_a_quantized_checkpoint_is_refused() -> None:
    model, _ = make_model("llama")
    model.config.quantization_config = {"quant_method": "gptq", "bits": 4}
    with pytest.raises(UsageError, match=r"quantized already \(gptq\)"):
        prune(model)
    model, _ = make_model("llama")
    layer = model.model.layers[0].mlp.up_proj
    layer.weight = torch.nn.Parameter(torch.zeros(48, 32, dtype=torch.uint8), requires_grad=False)
    with pytest.raises(UsageError, match=r"up_proj\.weight is stored as uint8"):
        prune(model)


def test_none_measures_a_checkpoint_that_is_pruned_already() -> None:
    model, _ = make_model("llama")
    done = prune(model, PruneSpec(sparsity=0.4))
    seen = measure(model)
    assert seen.method == "none"
    assert seen.sparsity_by_module == done.sparsity_by_module
    assert seen.level == pytest.approx(0.4, abs=1e-3)
    assert seen.weights_sha256 == done.weights_sha256


def test_the_block_for_the_results_file_is_plain_json() -> None:
    import json

    model, _ = make_model("mixtral")
    block = json.loads(json.dumps(prune(model, PruneSpec(pattern="2:4")).to_dict()))
    assert block["schema"] == 1 and block["pattern"] == "2:4" and block["level"] == 0.5
    assert block["effective_bits"] == 9.0  # 16 * 2/4 + two bits for each kept weight
    assert block["versions"]["torch"] == torch.__version__
    assert set(block["sparsity_by_module"].values()) == {0.5}


def test_adapters_are_folded_in_before_pruning() -> None:
    model, _ = make_model("llama")
    tuned = peft.get_peft_model(model, peft.LoraConfig(target_modules=["q_proj"], init_lora_weights=False))
    base = model.model.layers[0].self_attn.q_proj.base_layer.weight.clone()
    report = prune(tuned, PruneSpec(sparsity=0.5))
    left = model.model.layers[0].self_attn.q_proj.base_layer.weight
    assert int((left == 0).sum()) == 512
    assert not torch.equal(left[left != 0], base[left != 0])  # what was ranked is base + adapter
    assert not any("lora" in name for name in report.sparsity_by_module)


@pytest.mark.parametrize("way", ["injected", "adapter folder", "adapter folder, loaded by us"])
def test_adapters_that_a_plain_model_carries_are_folded_in_too(way: str, tmp_path: Path) -> None:
    """As `add_adapter` puts them, or an adapter's folder as the model's name: what is pruned is base and adapter together."""
    model, _ = make_model("llama")
    config = peft.LoraConfig(target_modules=["q_proj", "up_proj"], init_lora_weights=False)
    if way == "injected":
        carries: Any = peft.inject_adapter_in_model(config, model)
    else:
        model.save_pretrained(tmp_path / "base")
        base = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
        peft.get_peft_model(base, config).save_pretrained(tmp_path / "adapter")
        auto = Whole(AutoModelForCausalLM) if way.endswith("us") else AutoModelForCausalLM
        carries = auto.from_pretrained(str(tmp_path / "adapter"))
    layers = [m for m in carries.modules() if hasattr(m, "get_delta_weight")]
    assert len(layers) == 4 and all(float(m.get_delta_weight("default").abs().sum()) > 0 for m in layers)
    together = [m.base_layer.weight + m.get_delta_weight("default") for m in layers]
    prune(carries, PruneSpec(sparsity=0.5))
    for layer, dense in zip(layers, together, strict=True):
        used = layer.base_layer.weight
        assert layer.merged and int((used == 0).sum()) == used.numel() // 2
        torch.testing.assert_close(used[used != 0], dense[used != 0])


def test_anybody_can_add_a_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_method.py").write_text(
        "from junkdna_harness.compress import sparsifier\n"
        "@sparsifier('smallest_first_column', scope='layer')\n"
        "def first_column(weight):\n"
        "    scores = weight.abs() + 100\n"
        "    scores[:, 0] = -1\n"
        "    return scores\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    model, _ = make_model("llama")
    prune(model, PruneSpec(method="their_method:smallest_first_column", sparsity=0.1))
    assert bool((model.model.layers[0].self_attn.q_proj.weight[:, 0] == 0).all())
    assert "smallest_first_column" in sparsifiers()


def test_a_method_that_returns_nonsense_is_named() -> None:
    @sparsifier("test_wrong_shape")
    def wrong_shape(weight: torch.Tensor) -> torch.Tensor:
        return weight.sum(0)

    @sparsifier("test_nan")
    def nan(weight: torch.Tensor) -> torch.Tensor:
        return weight * float("nan")

    model, _ = make_model("llama")
    with pytest.raises(UsageError, match="'test_wrong_shape' returned scores of shape"):
        prune(model, PruneSpec(method="test_wrong_shape"))
    with pytest.raises(UsageError, match="'test_nan' returned NaN"):
        prune(model, PruneSpec(method="test_nan"))


def test_a_taken_name_is_refused() -> None:
    with pytest.raises(UsageError, match="'wanda' exists already"):
        sparsifier("wanda", needs=InputNorm)(lambda weight, inputs: weight)


SPECS = {
    "sparsity=1.5": {"sparsity": "1.5"},
    "were both given": {"sparsity": 0.5, "pattern": "2:4"},
    "Did you mean 'magnitude'": {"method": "magnitud"},
    "Did you mean 'sparsity'": {"sparsty": 0.5},
    "Did you mean 'global'": {"scope": "globl"},
    "works layer by layer": {"method": "wanda", "scope": "global"},
    "has its own groups": {"pattern": "2:4", "scope": "row"},
    "nsamples=0": {"nsamples": 0},
    "seqlen=-3": {"seqlen": "-3"},
    "bits=5.5": {"bits": "5.5"},
    "bits=7 is not supported": {"bits": 7},
    "says how to quantize": {"group_size": 64},
    "two names of one thing": {"seed": 1, "mask_seed": 2},
    "mask_seed=x": {"mask_seed": "x"},
    "removes nothing": {"method": None, "sparsity": 0.5},
    "brings its own": {"mask": "m.safetensors", "sparsity": 0.5},
    "could not be imported": {"method": "no_such_module:mine"},
}


@pytest.mark.parametrize("message", SPECS)
def test_each_mistake_is_one_sentence(message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        PruneSpec.from_strings(SPECS[message])
    assert "\n" not in str(caught.value)


def test_strings_are_read_as_lm_eval_brings_them() -> None:
    spec = PruneSpec.from_strings(
        {"method": "wanda", "sparsity": 0.5, "mask_seed": 3, "targets": "q_proj+mlp.*", "nsamples": 16.0}
    )
    assert (spec.seed, spec.targets, spec.nsamples) == (3, ("q_proj", "mlp.*"), 16)
    assert PruneSpec.from_strings({"seed": "3", "mask_seed": 3}).seed == 3
    assert PruneSpec.from_strings({}).sparsity == 0.5
    assert PruneSpec.from_strings({"method": None}).method == "none"
