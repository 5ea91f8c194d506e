"""`layers`: block influence against a plain computation, what is left of a model, its checkpoint, and what is refused."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM
from typer.testing import CliRunner

from difficulty import fit, read_runs
from difficulty.errors import UsageError
from junkdna_harness.cli import app
from junkdna_harness.compress import PruneSpec, QuantSpec, find_blocks, find_targets, prune, quantize
from junkdna_harness.compress.calibration import load_calibration
from junkdna_harness.compress.checkpoint import inspect_checkpoint, save_checkpoint
from junkdna_harness.compress.hashing import weights_sha256
from junkdna_harness.compress.layers import block_influence, layer_changes
from junkdna_harness.compress.masks import save_mask
from junkdna_harness.models.pruned import PrunedLM
from junkdna_harness.recover.run import begin
from junkdna_harness.recover.spec import RecoverSpec
from junkdna_harness.sweep import Store, build_plan, run_sweep
from junkdna_harness.sweep.pristine import Pristine
from tests.models_factory import make_model, make_tokenizer, save_tiny

SIZE: dict[str, Any] = {"nsamples": 8, "seqlen": 32}
BLOCKS = 5
SMALL: dict[str, Any] = {
    "vocab_size": 100, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": BLOCKS, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 128, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1,
}  # fmt: skip
MIXTURE: dict[str, Any] = {
    "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16
}  # fmt: skip


@pytest.fixture
def text(tmp_path: Path) -> str:
    path = tmp_path / "text.txt"
    path.write_text("The quick brown fox jumps over the lazy dog, 0123456789 times. " * 60)
    return str(path)


def five(arch: str, **changes: Any) -> Any:
    """A model of five blocks."""
    depth = {"gpt2": "n_layer"}.get(arch, "num_hidden_layers")
    return make_model(arch, **{depth: BLOCKS, **changes})[0]


def of_kind(kind: str, **changes: Any) -> Any:
    """A model of five blocks that the factory does not have."""
    config = AutoConfig.for_model(kind, **{**SMALL, **changes})
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.normal_(0, 0.2)
    return model


def drop(model: Any, text: str, sparsity: float = 0.4, **given: Any) -> Any:
    spec = PruneSpec(method="layers", sparsity=sparsity, calibration=text, **SIZE, **given)
    return prune(model, spec, make_tokenizer())


def some_ids() -> torch.Tensor:
    return torch.randint(2, 99, (2, 12), generator=torch.Generator().manual_seed(1))


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=some_ids()).logits
    return found


def test_block_influence_is_one_minus_the_mean_cosine(text: str) -> None:
    model = five("llama")
    ids = load_calibration(text, make_tokenizer(), model, seed=0, **SIZE).ids
    last: list[torch.Tensor] = []
    handle = model.model.layers[-1].register_forward_hook(lambda *seen: last.append(seen[2]))
    with (
        torch.no_grad()
    ):  # hidden_states ends with what the last norm gives, so the last block's output is caught
        states = list(model(input_ids=ids, output_hidden_states=True, use_cache=False).hidden_states)
    handle.remove()
    states[-1] = last[0]
    expected = []
    for before, after in zip(states, states[1:], strict=False):
        cosines = [
            float(x @ y / (x.norm() * y.norm()))
            for x, y in zip(before.reshape(-1, 32), after.reshape(-1, 32), strict=True)
        ]
        expected.append(1 - sum(cosines) / len(cosines))
    assert block_influence(model, ids) == pytest.approx(expected, abs=1e-5)


def test_influence_needs_no_logits(text: str) -> None:
    for arch in ("llama", "tied"):
        model, called = five(arch), []
        ids = load_calibration(text, make_tokenizer(), model, seed=0, **SIZE).ids
        handle = model.lm_head.register_forward_hook(lambda *_: called.append(1))  # noqa: B023
        block_influence(model, ids)
        assert not called
        model(input_ids=ids)  # and the model has them still
        assert called
        handle.remove()


def test_the_blocks_of_lowest_influence_go(text: str) -> None:
    model = five("llama")
    ids = load_calibration(text, make_tokenizer(), model, seed=0, **SIZE).ids
    influence = block_influence(model, ids)
    lowest = sorted(sorted(range(BLOCKS), key=lambda block: influence[block])[:2])
    left = [block for index, block in enumerate(model.model.layers) if index not in lowest]
    targeted = sum(t.numel for t in find_targets(model))
    every = sum(p.numel() for p in model.parameters())
    report = drop(model, text)
    assert list(model.model.layers) == left
    assert report.structure is not None
    assert report.structure["removed"] == lowest
    assert report.structure["scores"] == pytest.approx(influence)
    assert (report.method, report.level, report.bits, report.warnings) == ("layers", 0.4, None, ())
    assert report.sparsity_targeted == pytest.approx(0.4)
    assert report.effective_bits == pytest.approx(16 * 0.6)  # no bitmap
    assert (report.weights_targeted, report.weights_all) == (targeted, every)
    here = sum(p.numel() for p in model.parameters())
    assert report.sparsity_all == pytest.approx(1 - here / every)
    assert report.effective_bits_all == pytest.approx(16 * here / every)


@pytest.mark.parametrize("arch", ["llama", "tied", "qwen2", "mixtral", "gpt_oss", "gpt2", "opt", "gpt_neox"])
def test_what_is_left_is_an_ordinary_checkpoint(arch: str, text: str, tmp_path: Path) -> None:
    model = five(arch)
    name, _ = find_blocks(model)

    def hand_on(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        into = args[0] if args else kwargs["hidden_states"]
        return into if isinstance(output, torch.Tensor) else (into, *output[1:])

    before = copy.deepcopy(model)
    report = drop(model, text)
    assert report.structure is not None
    for index in report.structure["removed"]:  # the model in which these blocks hand on their input
        before.get_submodule(f"{name}.{index}").register_forward_hook(hand_on, with_kwargs=True)
    with torch.no_grad():
        expected = before(input_ids=some_ids(), use_cache=False).logits
    assert torch.allclose(logits(model), expected, atol=1e-5)
    save_checkpoint(model, make_tokenizer(), report, tmp_path / "left")
    assert inspect_checkpoint(tmp_path / "left").intact
    told = CliRunner().invoke(app, ["inspect", str(tmp_path / "left")])
    assert told.exit_code == 0 and "2 of 5 layers: " in told.output
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "left").eval()
    assert again.config.num_hidden_layers == len(find_blocks(again)[1]) == 3
    assert torch.equal(logits(again), logits(model))
    for one in (model, again):
        numbers = [m.layer_idx for m in find_blocks(one)[1].modules() if hasattr(m, "layer_idx")]
        assert sorted(set(numbers)) == ([0, 1, 2] if numbers else [])
        texts = [
            one.generate(some_ids(), max_new_tokens=6, min_new_tokens=6, do_sample=False, use_cache=cache)
            for cache in (True, False)
        ]
        assert torch.equal(*texts)


def test_lists_of_the_configuration_are_cut() -> None:
    kept = [0, 2, 3]
    config = AutoConfig.for_model(
        "qwen2", **{**SMALL, "use_sliding_window": True, "sliding_window": 16, "max_window_layers": 2}
    )
    config.layer_types = [f"kind {index}" for index in range(BLOCKS)]
    assert layer_changes(config, kept) == {
        "num_hidden_layers": 3,
        "layer_types": ["kind 0", "kind 2", "kind 3"],
    }
    config = AutoConfig.for_model("qwen2_moe", **{**SMALL, **MIXTURE, "mlp_only_layers": [1, 3]})
    config.layer_types = None
    assert layer_changes(config, kept) == {"num_hidden_layers": 3, "mlp_only_layers": [2]}
    config.mlp_only_layers, config.eos_token_id = [], [1, 2, 3, 4, 5]  # tokens, whatever their number
    assert layer_changes(config, kept) == {"num_hidden_layers": 3}


@pytest.mark.parametrize(
    "changes",
    [
        {"mlp_only_layers": [1, 3]},
        {"decoder_sparse_step": 2},
        {"use_sliding_window": True, "sliding_window": 8},
    ],
)
def test_blocks_of_several_kinds_are_cut_where_the_configuration_can_say_it(
    changes: dict[str, Any], text: str, tmp_path: Path
) -> None:
    model = of_kind("qwen2_moe", **MIXTURE, **changes)
    before = weights_sha256(model)
    try:
        report = drop(model, text)
    except UsageError as error:
        assert "cannot be made smaller by its configuration" in str(error)
        assert "decoder_sparse_step" in changes
        assert weights_sha256(model) == before
        return
    save_checkpoint(model, make_tokenizer(), report, tmp_path / "left")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "left").eval()
    assert torch.equal(logits(again), logits(model))


def test_leading_dense_blocks_stay_leading(text: str, tmp_path: Path) -> None:
    model = of_kind(
        "glm4_moe", n_routed_experts=4, num_experts_per_tok=2, moe_intermediate_size=16, first_k_dense_replace=2,
        head_dim=8,
    )  # fmt: skip
    report = drop(model, text)
    assert report.structure is not None
    gone = report.structure["removed"]
    assert model.config.first_k_dense_replace == 2 - sum(index < 2 for index in gone)
    save_checkpoint(model, make_tokenizer(), report, tmp_path / "left")
    assert torch.equal(logits(AutoModelForCausalLM.from_pretrained(tmp_path / "left").eval()), logits(model))


def test_blocks_of_unequal_size_have_the_level_that_was_measured(text: str) -> None:
    model = of_kind("qwen2_moe", **MIXTURE, mlp_only_layers=[1, 3])
    sizes: dict[int | None, int] = {}
    for target in find_targets(model):
        sizes[target.block] = sizes.get(target.block, 0) + target.numel
    report = drop(model, text)
    assert report.structure is not None
    share = sum(sizes[index] for index in report.structure["removed"]) / sum(sizes.values())
    assert abs(share - 0.4) > 0.01
    assert report.level == pytest.approx(share)
    assert report.effective_bits == pytest.approx(16 * (1 - share))
    assert any("asked for 0.4 of the layers" in warning for warning in report.warnings)


REFUSED = {
    "keys and values of other blocks": ("gemma3n_text", {
        "head_dim": 8, "num_kv_shared_layers": 2, "vocab_size_per_layer_input": 100, "hidden_size_per_layer_input": 8,
        "layer_types": ["sliding_attention", "full_attention"] * 2 + ["sliding_attention"], "laurel_rank": 8,
        "intermediate_size": [48] * BLOCKS, "activation_sparsity_pattern": [0.0] * BLOCKS, "altup_num_inputs": 2,
    }),
    "a scale by the block's number": ("gpt2", {
        "n_embd": 32, "n_layer": BLOCKS, "n_head": 4, "n_positions": 128, "scale_attn_by_inverse_layer_idx": True,
    }),
    "a pattern by the block's number": ("gpt_neo", {
        "num_hidden_layers": 4, "attention_types": [[["global", "local"], 2]], "window_size": 8,
    }),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_cut_is_refused_and_left_whole(what: str, text: str) -> None:
    kind, changes = REFUSED[what]
    model = of_kind(kind, **changes)
    before, depth, config = weights_sha256(model), len(find_blocks(model)[1]), model.config.to_dict()
    expected = logits(model)
    with pytest.raises(UsageError) as error:
        drop(model, text, sparsity=0.5)
    assert str(error.value).count("\n") == 0
    assert (weights_sha256(model), len(find_blocks(model)[1]), model.config.to_dict()) == (
        before,
        depth,
        config,
    )
    assert torch.equal(logits(model), expected)


@pytest.mark.parametrize("sparsity", [0.05, 0.95])
def test_none_and_all_are_refused(sparsity: float, text: str) -> None:
    model = five("llama")
    with pytest.raises(UsageError, match="rounded"):
        drop(model, text, sparsity=sparsity)
    assert len(model.model.layers) == BLOCKS


def test_no_sparsity_leaves_the_model_dense() -> None:
    model = five("llama")
    before = weights_sha256(model)
    report = prune(model, PruneSpec(method="layers", sparsity=0.0))
    assert (report.level, report.structure, report.weights_sha256) == (0.0, None, before)


@pytest.mark.parametrize(
    "given",
    [
        {"pattern": "2:4"},
        {"scope": "row"},
        {"targets": ("mlp.*",)},
        {"exclude": ("mlp.*",)},
        {"criterion": "reap"},
    ],
)
def test_what_has_no_meaning_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="Leave it out"):
        PruneSpec(method="layers", **given)


@pytest.mark.parametrize("arm", ["sparse_transfer", "dense_freezing"])
def test_no_training_under_a_mask_begins_with_it(arm: str) -> None:
    model = five("llama")
    with pytest.raises(UsageError, match="train that with arm=dense_transfer"):
        begin(model, make_tokenizer(), RecoverSpec(arm=arm), PruneSpec(method="layers", sparsity=0.4), {})
    assert len(model.model.layers) == BLOCKS


def test_a_mask_of_it_is_refused(text: str, tmp_path: Path) -> None:
    model = five("llama")
    report = drop(model, text)
    with pytest.raises(UsageError, match="removes whole parts"):
        save_mask(model, report, tmp_path / "mask.safetensors")


def test_what_is_done_after_it_counts_from_the_dense_model(text: str, tmp_path: Path) -> None:
    source = save_tiny("llama", tmp_path / "dense", num_hidden_layers=BLOCKS)
    model = AutoModelForCausalLM.from_pretrained(source)
    save_checkpoint(
        model, make_tokenizer(), drop(model, text), tmp_path / "left", {"pretrained": str(source)}
    )

    left = AutoModelForCausalLM.from_pretrained(tmp_path / "left")
    found = prune(left, PruneSpec(method="none"))
    assert (found.method, found.level) == ("layers", 0.4)
    assert found.effective_bits == pytest.approx(9.6)

    pruned = prune(left, PruneSpec(method="magnitude", sparsity=0.5), make_tokenizer())
    assert (pruned.method, pruned.on_top_of) == ("magnitude", "layers")
    assert pruned.level == pytest.approx(0.7)  # 1 - 0.6 x 0.5
    assert pruned.effective_bits == pytest.approx(0.6 * (8 + 1))

    left = AutoModelForCausalLM.from_pretrained(tmp_path / "left")
    rounded = quantize(left, QuantSpec(bits=4, group_size=16))
    assert (rounded.kind, rounded.method, rounded.level, rounded.bits) == ("pruned", "layers", 0.4, 4)
    assert rounded.effective_bits == pytest.approx(0.6 * (4 + 20 / 16))

    left = AutoModelForCausalLM.from_pretrained(tmp_path / "left")
    again = drop(left, text, sparsity=0.34)
    assert (again.method, again.on_top_of) == ("layers", "layers")
    assert again.sparsity_targeted == pytest.approx(0.6)
    assert again.weights_targeted == pruned.weights_targeted == found.weights_targeted


def test_what_is_left_is_quantized_with_bits(text: str) -> None:
    for quantizer in ("rtn", "gptq"):
        model = five("llama")
        report = drop(model, text, bits=4, group_size=16, quantizer=quantizer)
        assert (report.method, report.level, report.bits, report.quantizer) == ("layers", 0.4, 4, quantizer)
        assert report.effective_bits == pytest.approx(0.6 * (4 + 20 / 16))
        assert all(len(target.weight[0, :16].unique()) <= 16 for target in find_targets(model))


def test_its_manifest_beside_another_model_is_not_believed(text: str, tmp_path: Path) -> None:
    model = five("llama")
    save_checkpoint(model, make_tokenizer(), drop(model, text), tmp_path / "left")
    other = five("llama")
    other.config._name_or_path = str(tmp_path / "left")
    found = prune(other, PruneSpec(method="none"))
    assert (found.method, found.level, found.effective_bits) == ("none", 0.0, 16)
    assert any("weights are left" in warning for warning in found.warnings)


def test_the_wrapper_is_what_the_checkpoint_is(text: str, tmp_path: Path) -> None:
    source = save_tiny("llama", tmp_path / "dense", num_hidden_layers=BLOCKS)
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    report = drop(model, text)
    save_checkpoint(model, make_tokenizer(), report, tmp_path / "left", {"pretrained": str(source)})
    wrapped = PrunedLM(str(source), method="layers", sparsity=0.4, calibration=text, device="cpu", **SIZE)
    loaded = PrunedLM(str(tmp_path / "left"), device="cpu")
    for lm in (wrapped, loaded):
        block = lm.junkdna
        assert block["weights_sha256"] == report.weights_sha256
        assert (block["method"], block["level"]) == ("layers", 0.4)
        assert block["effective_bits"] == pytest.approx(9.6)
        assert block["structure"]["removed"] == report.structure["removed"]


@pytest.mark.parametrize("arch", ["llama", "gpt2", "mixtral"])
def test_what_was_kept_aside_is_put_back(arch: str, text: str) -> None:
    model = five(arch)
    before, expected, config = weights_sha256(model), logits(model), model.config.to_dict()
    pristine = Pristine(model, (), ())
    for _ in range(2):
        drop(model, text)
        assert weights_sha256(model) != before
        pristine.restore()
        assert weights_sha256(model) == before
        assert torch.equal(logits(model), expected)
        assert model.config.to_dict() == config
        assert [m.layer_idx for m in model.modules() if hasattr(m, "layer_idx")] == sorted(
            m.layer_idx for m in model.modules() if hasattr(m, "layer_idx")
        )


@pytest.mark.parametrize("one_shot", [False, True])
def test_a_sweep_has_the_levels_that_were_measured(one_shot: bool, tmp_path: Path) -> None:
    plan = build_plan(
        "difficulty_tiers_copying_t1,difficulty_tiers_copying_t3",
        methods="layers,magnitude",
        one_shot=one_shot,
        sparsity="0.2,0.25,0.5",
        quantize="rtn:8",
        limit=20,
    )
    outcome = run_sweep(plan, tmp_path / "s")
    assert list(outcome.failed) == ["embedded layers 0.25"]  # one of four blocks, as 0.2
    assert "as sparsity=0.2 does" in outcome.failed["embedded layers 0.25"]
    found = {m["run"]: m for m in Store(tmp_path / "s").manifests()}
    assert found["embedded layers 0.25"]["planned"] == "embedded layers 0.2"
    assert found["embedded layers 0.25"]["effective_bits"] == pytest.approx(12)
    assert found["embedded layers 0.5"]["effective_bits"] == pytest.approx(8)
    runs = read_runs(tmp_path / "s")
    table = runs.runs[runs.runs["method"] == "layers"]
    assert list(table["level"]) == [0.25, 0.5]
    assert list(table["effective_bits"]) == pytest.approx([12, 8])
    assert len(runs.runs["n_weights"].unique()) == 1  # the dense model's, as that of other methods
    assert {"layers", "magnitude", "rtn"} <= set(fit(runs, n_resamples=100).cells["method"])


def test_the_weights_after_a_sweep_are_the_loaded_ones(tmp_path: Path) -> None:
    plan = build_plan("difficulty_tiers_copying_t1", methods="layers,magnitude", sparsity="0.5", limit=10)
    run_sweep(plan, tmp_path / "both")
    alone = build_plan("difficulty_tiers_copying_t1", methods="magnitude", sparsity="0.5", limit=10)
    run_sweep(alone, tmp_path / "alone")
    name = "embedded magnitude 0.5"
    hashes = [
        {m["run"]: m["weights_sha256"] for m in Store(tmp_path / folder).manifests()}[name]
        for folder in ("both", "alone")
    ]
    assert hashes[0] == hashes[1]
