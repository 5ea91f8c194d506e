"""The decoder's matrices are found in every architecture, in one orientation."""

from __future__ import annotations

import pytest
import torch

from difficulty.errors import UsageError
from junkdna_harness.compress import PruneSpec, find_blocks, find_targets, prune
from tests.models_factory import ARCHITECTURES, make_model

BLOCKS = {"gpt2": "transformer.h", "opt": "model.decoder.layers", "gpt_neox": "gpt_neox.layers"}
# linear layers (or experts' matrices) in one block, counted by hand from the architecture
NUMBER = {"gpt2": 4, "opt": 6, "gpt_neox": 4, "mixtral": 4 + 2 * 4, "gpt_oss": 4 + 2 * 4}


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_architecture_has_its_blocks_and_matrices(arch: str) -> None:
    model, _ = make_model(arch)
    name, blocks = find_blocks(model)
    assert name == BLOCKS.get(arch, "model.layers")
    targets = find_targets(model)
    assert len(targets) == len(blocks) * NUMBER.get(arch, 7)
    assert all(t.name.startswith(f"{name}.{t.block}.") for t in targets)
    assert not any(word in t.name for t in targets for word in ("embed", "norm", "head", "router"))


def test_weights_are_views_with_one_row_an_output() -> None:
    model, _ = make_model("gpt2")
    wide = next(t for t in find_targets(model) if t.name.endswith("mlp.c_fc"))  # Conv1D keeps (in, out)
    assert wide.shape == (128, 32)
    before = model(torch.arange(20)[None]).logits
    wide.weight[:] = 0
    assert int((wide.parameter == 0).sum()) == 128 * 32
    assert not torch.equal(model(torch.arange(20)[None]).logits, before)


@pytest.mark.parametrize("arch,out_of_gate_up", [("mixtral", 96), ("gpt_oss", 96)])
def test_experts_are_seen_one_by_one_in_either_storage_order(arch: str, out_of_gate_up: int) -> None:
    model, _ = make_model(arch)
    experts = [t for t in find_targets(model) if "gate_up_proj" in t.name and t.block == 0]
    assert [t.name[-3:] for t in experts] == ["[0]", "[1]", "[2]", "[3]"]
    assert {t.shape for t in experts} == {(out_of_gate_up, 32)}


@pytest.mark.parametrize(
    "pattern,number",
    [
        ("q_proj", 2),
        ("mlp.*", 6),
        ("mlp", 6),
        ("layers.0", 7),
        ("model.layers.1.mlp.up_proj", 1),
        ("*_proj", 14),
    ],
)
def test_patterns_match_whole_parts_of_names(pattern: str, number: int) -> None:
    model, _ = make_model("llama")
    assert len(find_targets(model, [pattern])) == number
    assert len(find_targets(model, exclude=[pattern]) if number < 14 else []) == 14 - number


def test_a_block_number_is_no_prefix() -> None:
    model, _ = make_model("llama", num_hidden_layers=11)
    assert {t.block for t in find_targets(model, ["layers.1"])} == {1}


@pytest.mark.parametrize("argument", ["targets", "exclude"])
def test_a_pattern_that_matches_nothing_is_refused_with_a_suggestion(argument: str) -> None:
    model, _ = make_model("llama")
    with pytest.raises(UsageError, match=r"'q_porj' matches no module.*Did you mean 'q_proj'\?"):
        find_targets(model, **{argument: ["q_porj"]})


def test_everything_excluded_is_refused() -> None:
    model, _ = make_model("llama")
    with pytest.raises(UsageError, match="leaves nothing"):
        find_targets(model, exclude=["*"])


def test_the_head_is_reached_only_by_name() -> None:
    model, _ = make_model("llama")
    assert [t.name for t in find_targets(model, ["lm_head"])] == ["lm_head"]
    assert not any("head" in t.name for t in find_targets(model, ["*"]))


def test_tied_twins_are_pruned_together_and_said_so() -> None:
    model, _ = make_model("tied")
    report = prune(model, PruneSpec(targets=("lm_head",), sparsity=0.5))
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert int((model.model.embed_tokens.weight == 0).sum()) == model.lm_head.weight.numel() // 2
    assert "embed_tokens" in report.warnings[0]


def test_experts_in_an_unknown_form_are_reported() -> None:
    model, _ = make_model("mixtral")
    for block in model.model.layers:
        for name in ("gate_up_proj", "down_proj"):  # one matrix of all experts, which nothing tells apart
            block.mlp.experts.register_parameter(
                name, torch.nn.Parameter(getattr(block.mlp.experts, name).detach().flatten(0, 1))
            )
    report = prune(model, PruneSpec(sparsity=0.5))
    assert any("not targeted" in warning for warning in report.warnings)


def test_a_model_without_blocks_is_refused() -> None:
    with pytest.raises(UsageError, match="no list of decoder blocks"):
        find_blocks(torch.nn.Linear(2, 2))
