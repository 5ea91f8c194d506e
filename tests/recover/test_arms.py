"""The four arms, checked against what the paper says of each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from difficulty.errors import UsageError
from difficulty.runs.identity import PAPER_ARMS
from junkdna_harness.compress import PruneSpec, find_targets, prune, weights_sha256
from junkdna_harness.compress.checkpoint import inspect_checkpoint
from junkdna_harness.recover import RecoverSpec
from junkdna_harness.recover.masks import kept_masks
from junkdna_harness.recover.run import recover
from tests.recover.conftest import small_model

PRUNING = PruneSpec(sparsity=0.5)


def run(
    checkpoint: Path, lines: Path, output: Path, arm: str, **options: Any
) -> tuple[Any, dict[str, torch.Tensor]]:
    spec = RecoverSpec(arm=arm, data=str(lines), steps=4, batch_size=4, lr=0.01, **options)
    done = recover(str(checkpoint), output, spec, None if arm == "dense_transfer" else PRUNING)
    model = AutoModelForCausalLM.from_pretrained(output)
    return done, {name: p.detach() for name, p in model.named_parameters()}


@pytest.fixture
def start() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The dense weights and the mask (True = kept) of magnitude pruning at 50 %."""
    model = small_model()
    dense = {name: p.detach().clone() for name, p in model.named_parameters()}
    prune(model, PRUNING)
    return dense, kept_masks(model)


def test_sparse_transfer_trains_the_kept_weights_and_no_others(
    checkpoint: Path, lines: Path, tmp_path: Path, start: Any
) -> None:
    dense, masks = start
    _, after = run(checkpoint, lines, tmp_path / "out", "sparse_transfer")
    for name, mask in masks.items():
        assert not after[name][~mask].any()
        assert (after[name][mask] != dense[name][mask]).float().mean() > 0.9


def test_what_was_trained_in_mixed_precision_is_written_in_its_own(
    checkpoint: Path, lines: Path, tmp_path: Path
) -> None:
    """Its forward pass in bfloat16 is not what a checkpoint in float32 computes when it is loaded again."""
    done, after = run(checkpoint, lines, tmp_path / "out", "sparse_transfer", trainer={"bf16": True})
    assert done.manifest["recovery"]["steps"] == 4
    assert all(value.dtype == torch.float32 for value in after.values())


def test_sparse_to_dense_lets_zeros_grow(checkpoint: Path, lines: Path, tmp_path: Path, start: Any) -> None:
    _, masks = start
    done, after = run(checkpoint, lines, tmp_path / "out", "sparse_to_dense")
    assert all((after[name][~mask] != 0).float().mean() > 0.9 for name, mask in masks.items())
    assert done.manifest["sparsity_targeted"] < 0.1
    assert done.manifest["level"] == 0.5


@pytest.mark.parametrize("freeze", ["removed", "kept"])
def test_freezing_keeps_one_side_of_the_mask_at_its_pretrained_value(
    checkpoint: Path, lines: Path, tmp_path: Path, start: Any, freeze: str
) -> None:
    dense, masks = start
    _, after = run(checkpoint, lines, tmp_path / "out", "dense_freezing", freeze=freeze)
    for name, mask in masks.items():
        still = ~mask if freeze == "removed" else mask
        assert torch.equal(after[name][still], dense[name][still])
        assert (after[name][~still] != dense[name][~still]).float().mean() > 0.9


def test_dense_transfer_trains_everything(checkpoint: Path, lines: Path, tmp_path: Path, start: Any) -> None:
    dense, masks = start
    done, after = run(checkpoint, lines, tmp_path / "out", "dense_transfer")
    assert all((after[name] != dense[name]).float().mean() > 0.9 for name in masks)
    assert (done.manifest["method"], done.manifest["level"]) == ("dense+dense_transfer", 0.0)


def test_all_arms_see_the_same_number_of_tokens(checkpoint: Path, lines: Path, tmp_path: Path) -> None:
    seen = {arm: run(checkpoint, lines, tmp_path / arm, arm)[0].training for arm in PAPER_ARMS}
    assert len({(training.steps, training.tokens) for training in seen.values()}) == 1


def test_the_manifest_says_from_what_and_how(checkpoint: Path, lines: Path, tmp_path: Path) -> None:
    pruned = tmp_path / "pruned"
    model = small_model()
    prune(model, PRUNING)
    model.save_pretrained(pruned)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (pruned / name).write_bytes((checkpoint / name).read_bytes())
    spec = RecoverSpec(data=str(lines), steps=2, batch_size=4, lr=0.01)
    recover(str(pruned), tmp_path / "out", spec)
    manifest = json.loads((tmp_path / "out" / "junkdna.json").read_text())
    after = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert manifest["method"] == "pruned+sparse_transfer"
    assert manifest["recovery"]["weights_sha256_before"] == weights_sha256(model)
    assert (
        manifest["weights_sha256"] == weights_sha256(after) != manifest["recovery"]["weights_sha256_before"]
    )
    assert manifest["recovery"]["steps_done"] == 2
    assert manifest["recovery"]["tokens_seen"] > 0
    assert inspect_checkpoint(tmp_path / "out").intact
    assert (
        sum(int((t.weight == 0).sum()) for t in find_targets(after))
        == sum(t.numel for t in find_targets(after)) / 2
    )


def test_an_n_m_pattern_is_part_of_the_method(checkpoint: Path, lines: Path, tmp_path: Path) -> None:
    spec = RecoverSpec(data=str(lines), steps=1, batch_size=2, lr=0.01, fraction=0.5)
    done = recover(str(checkpoint), tmp_path / "out", spec, PruneSpec(pattern="4:8"))
    assert done.manifest["method"] == "magnitude 4:8+sparse_transfer@0.5"


@pytest.mark.parametrize(
    ("arm", "pruning", "message"),
    [
        ("sparse_transfer", None, "needs a pruned model, and no weight here is zero"),
        ("dense_freezing", None, "needs the dense model and a way to prune it"),
        ("dense_transfer", PRUNING, "trains the dense model, so method and sparsity have no meaning"),
    ],
)
def test_an_arm_without_its_mask_is_refused(
    checkpoint: Path, lines: Path, tmp_path: Path, arm: str, pruning: PruneSpec | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        recover(str(checkpoint), tmp_path / "out", RecoverSpec(arm=arm, data=str(lines), steps=1), pruning)
    assert not (tmp_path / "out").exists()


def test_a_quantized_checkpoint_takes_adapters_only(checkpoint: Path, lines: Path, tmp_path: Path) -> None:
    (checkpoint / "junkdna.json").write_text(
        json.dumps({"kind": "quantized", "method": "rtn", "level": None, "bits": 4})
    )
    with pytest.raises(UsageError, match="only an adapter can be trained beside them"):
        recover(str(checkpoint), tmp_path / "out", RecoverSpec(data=str(lines), steps=1))
    spec = RecoverSpec(
        arm="dense_transfer", data=str(lines), steps=2, batch_size=4, lr=0.01, adapter="lora", rank=2, merge="keep",
    )  # fmt: skip
    done = recover(str(checkpoint), tmp_path / "out", spec)
    assert done.manifest["method"] == "rtn+dense_transfer_lora"
    assert done.manifest["recovery"]["adapter_merged"] == "no"
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    original = dict(small_model().named_parameters())
    for name, parameter in loaded.named_parameters():
        plain = name.replace(".base_layer", "")
        if plain in original:
            assert torch.equal(parameter, original[plain])


def test_a_recovered_checkpoint_evaluated_as_it_is_keeps_its_name_in_tables_unless_its_weights_were_changed(
    checkpoint: Path, lines: Path, tmp_path: Path
) -> None:
    from junkdna_harness.models.pruned import PrunedLM

    run(checkpoint, lines, tmp_path / "out", "sparse_transfer")
    block = PrunedLM(pretrained=str(tmp_path / "out"), method="none", device="cpu").junkdna
    assert (block["model"], block["method"], block["level"]) == (
        str(checkpoint),
        "magnitude+sparse_transfer",
        0.5,
    )
    assert block["recovery"]["arm"] == "sparse_transfer"
    weights = load_file(tmp_path / "out" / "model.safetensors")
    weights["model.norm.weight"] += 1
    save_file(weights, tmp_path / "out" / "model.safetensors", metadata={"format": "pt"})
    block = PrunedLM(pretrained=str(tmp_path / "out"), method="none", device="cpu").junkdna
    assert block["method"] == "none"
    assert "recovery" not in block
