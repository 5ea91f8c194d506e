"""`experts`: REAP and frequency against plain computations, what is left of a mixture, its checkpoint, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from difficulty import read_runs
from difficulty.errors import UsageError
from difficulty.runs.identity import Method, Run
from junkdna_harness.compress import PruneSpec, find_targets, prune
from junkdna_harness.compress.calibration import load_calibration
from junkdna_harness.compress.checkpoint import inspect_checkpoint, save_checkpoint
from junkdna_harness.compress.experts import expert_scores, find_stacks
from junkdna_harness.compress.hashing import weights_sha256
from junkdna_harness.sweep import Store, build_plan, run_sweep
from junkdna_harness.sweep.pristine import Pristine
from tests.models_factory import make_model, make_tokenizer

SIZE: dict[str, Any] = {"nsamples": 8, "seqlen": 32}
EXPERTS = 8
SMALL: dict[str, Any] = {
    "vocab_size": 100, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 128, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1,
    "num_experts_per_tok": 2, "moe_intermediate_size": 16, "head_dim": 8,
}  # fmt: skip
MIXTURES: dict[str, dict[str, Any]] = {
    "mixtral": {"num_local_experts": EXPERTS},
    "qwen2_moe": {"num_experts": EXPERTS, "shared_expert_intermediate_size": 16},
    "qwen3_moe": {"num_experts": EXPERTS},
    "deepseek_v3": {
        "num_key_value_heads": 4, "n_routed_experts": EXPERTS, "n_group": 2, "topk_group": 1, "first_k_dense_replace": 1,
        "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8,
    },
    "gpt_oss": {"num_local_experts": EXPERTS, "sliding_window": 16},
    "ernie4_5_moe": {"moe_num_experts": EXPERTS, "moe_k": 2, "moe_layer_start_index": 1},
}  # fmt: skip


@pytest.fixture
def text(tmp_path: Path) -> str:
    path = tmp_path / "text.txt"
    path.write_text("The quick brown fox jumps over the lazy dog, 0123456789 times. " * 60)
    return str(path)


def mixture(kind: str, **changes: Any) -> Any:
    """A small mixture of eight experts with random weights, in which a router's bias is not zero either."""
    config = AutoConfig.for_model(kind, **{**SMALL, **MIXTURES.get(kind, {}), **changes})
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.ndim >= 2 or "bias" in name:
                tensor.normal_(0, 0.2)
    return model


def drop(model: Any, text: str, method: str = "experts", sparsity: float = 0.5, **given: Any) -> Any:
    spec = PruneSpec(method=method, sparsity=sparsity, calibration=text, **SIZE, **given)
    return prune(model, spec, make_tokenizer())


def logits(model: Any) -> torch.Tensor:
    ids = torch.randint(2, 99, (2, 12), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=ids).logits
    return found


def plain_scores(model: Any, ids: torch.Tensor) -> tuple[list[list[float]], list[list[int]]]:
    """REAP scores and frequencies of a Mixtral's layers, from the inputs of each mixture: token by token, expert by expert."""
    inputs: list[torch.Tensor] = []
    handles = [
        layer.mlp.register_forward_pre_hook(lambda _, args: inputs.append(args[0].reshape(-1, 32)))
        for layer in model.model.layers
    ]
    with torch.no_grad():
        model(input_ids=ids, use_cache=False)
    for handle in handles:
        handle.remove()
    reap, frequency = [], []
    for layer, tokens in zip(model.model.layers, inputs, strict=True):
        gate_up, down = layer.mlp.experts.gate_up_proj, layer.mlp.experts.down_proj
        probabilities = torch.softmax(tokens @ layer.mlp.gate.weight.T, dim=-1)
        products: list[list[float]] = [[] for _ in range(EXPERTS)]
        for token, chances in zip(tokens, probabilities, strict=True):
            best = sorted(range(EXPERTS), key=lambda e: -float(chances[e]))[:2]
            whole = sum(float(chances[e]) for e in best)
            for expert in best:
                gate, up = (gate_up[expert] @ token).chunk(2)
                output = down[expert] @ (torch.nn.functional.silu(gate) * up)
                products[expert].append(float(chances[expert]) / whole * float(output.norm()))
        reap.append([sum(found) / len(found) if found else 0.0 for found in products])
        frequency.append([len(found) for found in products])
    return reap, frequency


def test_scores_are_those_of_a_plain_computation(text: str) -> None:
    model = mixture("mixtral")
    ids = load_calibration(text, make_tokenizer(), model, seed=0, **SIZE).ids
    with torch.no_grad():
        reap, frequency = plain_scores(model, ids)
    stacks = find_stacks(model, find_targets(model))
    assert [stack.name for stack in stacks] == [f"model.layers.{i}.mlp.experts" for i in range(3)]
    found = expert_scores(model, stacks, ids, "reap")
    for stack, expected in zip(stacks, reap, strict=True):
        assert found[stack.name].tolist() == pytest.approx(expected, rel=1e-4)
    counted = expert_scores(model, stacks, ids, "frequency")
    assert [counted[stack.name].tolist() for stack in stacks] == frequency


@pytest.mark.parametrize("criterion", ["reap", "frequency"])
def test_the_lowest_go_and_the_others_are_what_they_were(criterion: str, text: str) -> None:
    model, dense = mixture("mixtral"), mixture("mixtral")
    ids = load_calibration(text, make_tokenizer(), dense, seed=0, **SIZE).ids
    with torch.no_grad():
        scores = plain_scores(dense, ids)[criterion == "frequency"]
    report = drop(model, text, criterion=criterion, sparsity=0.25)
    assert report.structure is not None
    for old, new, found in zip(dense.model.layers, model.model.layers, scores, strict=True):
        gone = sorted(range(EXPERTS), key=lambda e: (found[e], e))[:2]
        kept = [expert for expert in range(EXPERTS) if expert not in gone]
        assert torch.equal(new.mlp.gate.weight, old.mlp.gate.weight[kept])
        assert torch.equal(new.mlp.experts.gate_up_proj, old.mlp.experts.gate_up_proj[kept])
        assert torch.equal(new.mlp.experts.down_proj, old.mlp.experts.down_proj[kept])
    assert report.method == ("experts" if criterion == "reap" else "experts-frequency")
    assert model.config.num_local_experts == 6


@pytest.mark.parametrize("kind", MIXTURES)
@pytest.mark.parametrize("criterion", ["reap", "random"])
def test_what_is_left_is_an_ordinary_checkpoint(kind: str, criterion: str, text: str, tmp_path: Path) -> None:
    model = mixture(kind)
    targeted, every = sum(t.numel for t in find_targets(model)), sum(p.numel() for p in model.parameters())
    report = drop(model, text, criterion=criterion)
    left = sum(t.numel for t in find_targets(model))
    assert report.level == report.sparsity_targeted == pytest.approx(1 - left / targeted)
    assert report.effective_bits == pytest.approx(16 * left / targeted)
    assert (report.weights_targeted, report.weights_all) == (targeted, every)
    assert any("asked for 0.5 of the experts" in warning for warning in report.warnings)
    save_checkpoint(model, make_tokenizer(), report, tmp_path / "left")
    assert inspect_checkpoint(tmp_path / "left").intact
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "left").eval()
    assert torch.equal(logits(again), logits(model))
    names = {"num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"}
    assert {getattr(again.config, name) for name in names if hasattr(again.config, name)} == {4}
    assert {stack.number for stack in find_stacks(again, find_targets(again))} == {4}
    texts = [
        one.generate(
            torch.tensor([[5, 6, 7]]), max_new_tokens=5, min_new_tokens=5, do_sample=False, use_cache=cache
        )
        for one in (model, again)
        for cache in (True, False)
    ]
    assert all(torch.equal(texts[0], one) for one in texts[1:])


def test_biases_of_the_router_go_with_its_rows_and_groups_stay_of_one_size(text: str) -> None:
    model, dense = mixture("deepseek_v3"), mixture("deepseek_v3")
    report = drop(model, text)
    assert report.structure is not None
    for name, gone in report.structure["removed"].items():
        kept = [expert for expert in range(EXPERTS) if expert not in gone]
        assert sum(expert < EXPERTS // 2 for expert in kept) == 2  # of each group of four
        old, new = (one.get_submodule(name.rpartition(".")[0]).gate for one in (dense, model))
        assert torch.equal(new.weight, old.weight[kept])
        assert torch.equal(new.e_score_correction_bias, old.e_score_correction_bias[kept])
        assert float(new.e_score_correction_bias.abs().max()) > 0
    assert len(report.structure["removed"]) == 2  # the first block has no experts


def test_random_depends_on_the_seed_alone(text: str) -> None:
    removed = [
        prune(mixture("mixtral"), PruneSpec(method="experts-random", sparsity=0.5, seed=seed)).structure
        for seed in (0, 0, 1)
    ]
    assert all(found is not None for found in removed)
    first, second, other = (found["removed"] for found in removed if found is not None)
    assert first == second != other
    assert len({tuple(one) for one in first.values()}) > 1  # layers differ


REFUSED = [
    ("llama", {}, 0.5, "no stacked experts"),
    ("mixtral", {}, 0.9, "each token goes to 2. Give at most 0.75."),
    ("mixtral", {}, 0.01, "rounded"),
    ("deepseek_v3", {}, 0.375, "lie in 2 groups"),
    ("deepseek_v3", {}, 0.75, "does not run with 2 experts"),
    ("llama4_text", {"num_local_experts": 8, "num_experts_per_tok": 1, "intermediate_size_mlp": 48}, 0.5, "criterion=random"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "changes", "sparsity", "said"), REFUSED)
def test_what_cannot_be_cut_is_refused_and_left_whole(
    kind: str, changes: dict[str, Any], sparsity: float, said: str, text: str
) -> None:
    model = make_model("llama")[0] if kind == "llama" else mixture(kind, **changes)
    before, expected, config = weights_sha256(model), logits(model), model.config.to_dict()
    with pytest.raises(UsageError) as error:
        drop(model, text, sparsity=sparsity)
    assert said in str(error.value) and "\n" not in str(error.value)
    assert weights_sha256(model) == before
    assert torch.equal(logits(model), expected)
    assert model.config.to_dict() == config


def test_names() -> None:
    assert PruneSpec(method="experts").name == PruneSpec(method="experts-reap").name == "experts"
    for criterion in ("frequency", "random"):
        spec = PruneSpec(method="experts", criterion=criterion, sparsity=0.5)
        assert spec == PruneSpec(method=f"experts-{criterion}", sparsity=0.5)
        assert str(Method.parse(spec.name)) == spec.name == f"experts-{criterion}"
        run = Run("m", Method.parse(spec.name), 0.5)
        assert Run.parse(str(run)) == run
    with pytest.raises(UsageError, match="unknown"):
        PruneSpec.from_strings({"method": "experts", "criterion": "size"})
    with pytest.raises(UsageError, match="both given"):
        PruneSpec(method="experts-random", criterion="frequency")
    with pytest.raises(UsageError, match="is for method=experts"):
        PruneSpec(method="wanda", criterion="frequency")


def test_what_is_read_and_drawn() -> None:
    reap, lot = PruneSpec(method="experts"), PruneSpec(method="experts-random")
    assert (reap.calibrated, reap.drawn, lot.calibrated, lot.drawn) == (True, True, False, True)


def test_single_weights_after_experts(text: str) -> None:
    model = mixture("mixtral")
    first = drop(model, text)
    assert first.level is not None
    manifest = first.to_dict()
    report = prune(model, PruneSpec(method="magnitude", sparsity=0.5), manifest=manifest)
    assert (report.method, report.on_top_of) == ("magnitude", "experts")
    assert report.level == pytest.approx(1 - (1 - first.level) / 2)
    assert report.effective_bits == pytest.approx((1 - first.level) * 9)


@pytest.mark.parametrize("kind", ["mixtral", "deepseek_v3", "gpt_oss"])
def test_what_was_kept_aside_is_put_back(kind: str, text: str) -> None:
    model = mixture(kind)
    before, expected, config = weights_sha256(model), logits(model), model.config.to_dict()
    pristine = Pristine(model, (), ())
    for sparsity in (0.25, 0.5):
        try:
            drop(model, text, sparsity=sparsity)
        finally:
            pristine.restore()
        assert weights_sha256(model) == before
        assert torch.equal(logits(model), expected)
        assert model.config.to_dict() == config


def test_a_sweep_has_the_levels_that_were_measured(text: str, tmp_path: Path) -> None:
    model = mixture("mixtral")
    targets = find_targets(model)
    of_experts = sum(t.numel for t in targets if t.expert is not None) / sum(t.numel for t in targets)
    model.save_pretrained(tmp_path / "mixture")
    make_tokenizer().save_pretrained(tmp_path / "mixture")
    plan = build_plan(
        "difficulty_tiers_copying_t1",
        model_args={"pretrained": str(tmp_path / "mixture"), "calibration": text, **SIZE},
        methods="experts,experts-random,magnitude",
        sparsity="0.25,0.5",
        limit=4,
    )
    assert run_sweep(plan, tmp_path / "s").failed == {}
    found = [m for m in Store(tmp_path / "s").manifests() if m["method"] == "experts"]
    assert [m["level"] for m in found] == pytest.approx([0.25 * of_experts, 0.5 * of_experts])
    runs = read_runs(tmp_path / "s").runs
    for method in ("experts", "experts-random"):
        here = runs[runs["method"] == method]
        assert list(here["level"]) == pytest.approx([0.25 * of_experts, 0.5 * of_experts])
        assert list(here["effective_bits"]) == pytest.approx([16 * (1 - level) for level in here["level"]])
    assert run_sweep(plan, tmp_path / "s").finished == []  # all of them were there
