"""Checkpoints that are not whole are refused, tensors named, before anything is compressed or measured."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from difficulty.errors import UsageError
from junkdna_harness.compress.loading import Source, load
from junkdna_harness.device import check_device
from junkdna_harness.embedded import model_path
from junkdna_harness.models.pruned import PrunedLM
from junkdna_harness.recover import RecoverSpec
from junkdna_harness.recover.run import recover
from tests.commands import junkdna, lm_eval

FILE = "model.safetensors"
LOST = "model.layers.1.mlp.up_proj.weight"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The embedded model as a user's checkpoint, in fp32."""
    there = tmp_path / "model"
    shutil.copytree(model_path(), there)
    return there


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    tensors = load_file(folder / FILE)
    change(tensors)
    save_file(tensors, folder / FILE, {"format": "pt"})


def cut_off(folder: Path) -> None:
    data = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(data[: len(data) // 2])


def without_a_layer(folder: Path) -> None:
    def change(tensors: dict[str, Any]) -> None:
        for name in [name for name in tensors if ".layers.1." in name]:
            del tensors[name]

    rewrite(folder, change)


def narrower(folder: Path) -> None:
    rewrite(folder, lambda tensors: tensors.update({LOST: tensors[LOST][:10].contiguous()}))


BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "cut off": (cut_off, "cut off or damaged"),
    "empty": (lambda folder: (folder / FILE).write_bytes(b""), "cut off or damaged"),
    "a layer lost": (without_a_layer, r"lack 9 of the model's tensors \(model.layers.1.input_layernorm.weight, .* and 6 more\)"),
    "a matrix lost": (lambda folder: rewrite(folder, lambda t: t.pop(LOST)), rf"lack 1 of the model's tensors \({LOST}\)"),
    "the last norm lost": (
        lambda folder: rewrite(folder, lambda t: t.pop("model.norm.weight")),
        r"lack 1 of the model's tensors \(model.norm.weight\)",
    ),
    "another shape": (narrower, rf"{LOST} \(10, \d+\) instead of \(\d+, \d+\)"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
def test_a_checkpoint_that_is_not_whole_is_refused_wherever_it_is_loaded(folder: Path, kind: str) -> None:
    damage, told = BROKEN[kind]
    damage(folder)
    with pytest.raises(UsageError, match=told):
        load(Source(str(folder)))
    with pytest.raises(UsageError, match=told):
        PrunedLM(pretrained=str(folder), device="cpu")
    with pytest.raises(UsageError, match=told):
        spec = RecoverSpec(arm="dense_transfer", data="graded", steps=1, batch_size=2)
        recover(str(folder), folder.parent / "out", spec)
    assert not (folder.parent / "out").exists()


def test_a_whole_checkpoint_and_one_whose_head_is_its_embedding_are_taken(folder: Path) -> None:
    names = load_file(folder / FILE)
    model, _ = load(Source(str(folder)))
    assert "lm_head.weight" not in names and model.get_output_embeddings() is not None
    rewrite(
        folder,
        lambda t: t.update({"model.layers.0.self_attn.rotary_emb.inv_freq": t["model.norm.weight"].clone()}),
    )
    load(Source(str(folder)))  # what the model does not use harms nothing


def test_tokens_without_an_embedding_are_one_sentence(folder: Path) -> None:
    rewrite(
        folder,
        lambda t: t.update({"model.embed_tokens.weight": t["model.embed_tokens.weight"][:50].contiguous()}),
    )
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 50}))
    (folder.parent / "text.txt").write_text("The river and the stone, the water and the wood. " * 40)
    told = "has embeddings for 50 tokens, and its tokenizer gives number"
    for task in ("difficulty_tiers_hypernyms_t1", "difficulty_tiers_copying_t1"):
        run = lm_eval(
            "--model_args", f"pretrained={folder}", "--tasks", task, "--limit", "2", cwd=folder.parent
        )
        assert run.returncode == 2 and told in run.stderr and "Traceback" not in run.stderr
    for command in (
        [
            "prune",
            str(folder),
            "--method",
            "wanda",
            "--calibration",
            "text.txt",
            "--nsamples",
            "2",
            "--seqlen",
            "16",
            "--output",
            "p",
        ],
        ["fidelity", f"pretrained={folder},sparsity=0.5", "--against", str(folder), "--text", "text.txt"],
    ):
        run = junkdna(*command, cwd=folder.parent)
        assert run.returncode == 2 and told in run.stderr and "Traceback" not in run.stderr


def test_a_model_without_a_tokenizer_is_one_sentence(folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (folder / name).unlink(missing_ok=True)
    with pytest.raises(UsageError, match="has no tokenizer that can be loaded"):
        PrunedLM(pretrained=str(folder), device="cpu")
    with pytest.raises(UsageError, match="has no tokenizer that can be loaded"):
        recover(str(folder), folder.parent / "out", RecoverSpec(arm="dense_transfer", data="graded", steps=1))


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cpu:x", "0"])
def test_a_device_that_is_not_there_is_refused(folder: Path, device: str) -> None:
    with pytest.raises(UsageError, match="device="):
        check_device(device)
    with pytest.raises(UsageError, match="device="):
        load(Source(str(folder), device=device))
    with pytest.raises(UsageError, match="device="):
        PrunedLM(pretrained=str(folder), device=device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_commands_refuse_a_gpu_that_is_not_there_and_lm_eval_s_default_goes_to_the_cpu(
    tmp_path: Path,
) -> None:
    for command in (
        [
            "sweep",
            "--tasks",
            "difficulty_tiers_hypernyms_t1",
            "--limit",
            "2",
            "--methods",
            "magnitude",
            "--sparsity",
            "0,0.5",
            "-o",
            "s",
        ],
        ["fidelity", "--methods", "magnitude", "--sparsity", "0.5"],
        ["study", "--quick", "-o", "t"],
        ["prune", "--output", "p"],
    ):
        run = junkdna(*command, "--device", "cuda:0", cwd=tmp_path)
        assert (
            run.returncode == 2
            and "torch sees no cuda device" in run.stderr
            and "Traceback" not in run.stderr
        )
    run = lm_eval("--tasks", "difficulty_tiers_hypernyms_t1", "--limit", "2", cwd=tmp_path)
    assert run.returncode == 0, run.stderr[-500:]


@pytest.mark.parametrize("device", [None, "auto", "cpu"])
def test_a_device_that_is_there_is_taken(device: str | None) -> None:
    check_device(device)


def test_an_argument_that_asks_to_ignore_other_shapes_is_no_way_around(folder: Path) -> None:
    narrower(folder)
    with pytest.raises(UsageError, match="tensors of other shapes"):
        PrunedLM(pretrained=str(folder), device="cpu", ignore_mismatched_sizes=True)
