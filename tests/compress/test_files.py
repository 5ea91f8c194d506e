"""Masks and checkpoints on disk: whole or absent, verified, and of use without us."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer import Typer
from typer.testing import CliRunner

from difficulty.errors import StorageError, UsageError
from junkdna_harness.commands.inspect import inspect
from junkdna_harness.commands.prune import prune as prune_command
from junkdna_harness.commands.quantize import quantize as quantize_command
from junkdna_harness.compress import PruneSpec, find_targets, prune, weights_sha256
from junkdna_harness.compress.checkpoint import MANIFEST, inspect_checkpoint, save_checkpoint
from junkdna_harness.compress.masks import save_mask
from tests.models_factory import ARCHITECTURES, make_model, make_tokenizer, save_tiny

app = Typer()
app.command()(prune_command)
app.command()(quantize_command)
app.command()(inspect)


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny("llama", tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("text") / "text.txt"
    file.write_text("\n\n".join(f"Some words, number {i}, and again some words." for i in range(60)))
    return file


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_checkpoint_loads_without_us_and_is_the_same_model(arch: str, tmp_path: Path) -> None:
    model, _ = make_model(arch)
    report = prune(model, PruneSpec(sparsity=0.5))
    save_checkpoint(model, make_tokenizer(), report, tmp_path / "out")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    ids = torch.randint(2, 98, (1, 20))
    assert torch.equal(again(ids).logits, model(ids).logits)
    assert weights_sha256(again) == report.weights_sha256
    assert AutoTokenizer.from_pretrained(tmp_path / "out")("ab").input_ids == make_tokenizer()("ab").input_ids
    assert inspect_checkpoint(tmp_path / "out").intact


def test_inspect_names_the_tensor_that_changed(tmp_path: Path) -> None:
    model, _ = make_model("llama")
    save_checkpoint(model, None, prune(model), tmp_path / "out", {"pretrained": "tiny"})
    good = run("inspect", tmp_path / "out")
    assert good.exit_code == 0 and "hashes and zeros are as written" in good.output
    file = tmp_path / "out" / "model.safetensors"
    tensors = load_file(file)
    tensors["model.layers.0.mlp.up_proj.weight"][0, 0] += 1
    tensors["new"] = tensors.pop("model.norm.weight")
    save_file(tensors, file, metadata={"format": "pt"})
    bad = run("inspect", tmp_path / "out")
    assert bad.exit_code == 1
    assert "3 of 22 tensors are not as written" in bad.output
    states = {t.name: t.state for t in inspect_checkpoint(tmp_path / "out").tensors if t.state != "ok"}
    assert states == {
        "model.layers.0.mlp.up_proj.weight": "changed",
        "model.norm.weight": "missing",
        "new": "unknown",
    }
    parsed = json.loads(run("inspect", tmp_path / "out", "--json").stdout)
    assert parsed["intact"] is False and parsed["manifest"]["source"] == {"pretrained": "tiny"}


@pytest.mark.parametrize("damage", ["cut", "no manifest", "bad manifest", "no folder"])
def test_inspect_refuses_what_it_cannot_read(damage: str, tmp_path: Path) -> None:
    model, _ = make_model("llama")
    folder = tmp_path / "out"
    save_checkpoint(model, None, prune(model), folder)
    if damage == "cut":
        (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:5000])
    elif damage == "no manifest":
        (folder / MANIFEST).unlink()
    elif damage == "bad manifest":
        (folder / MANIFEST).write_text('{"tensors": 3}')
    else:
        folder = tmp_path / "nowhere"
    with pytest.raises(UsageError):
        inspect_checkpoint(folder)


def test_a_tied_model_is_saved_with_one_twin_and_loads_tied(tmp_path: Path) -> None:
    model, _ = make_model("tied")
    save_checkpoint(model, None, prune(model, PruneSpec(targets=("lm_head",))), tmp_path / "out")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert again.lm_head.weight is again.model.embed_tokens.weight
    assert int((again.lm_head.weight == 0).sum()) == again.lm_head.weight.numel() // 2


def test_an_interruption_leaves_nothing_that_looks_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = make_model("llama")
    report = prune(model)

    def interrupted(folder: Path) -> Any:
        (Path(folder) / "model.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(model, "save_pretrained", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(model, None, report, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = make_model("llama")

    def full(folder: Path) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model, "save_pretrained", full)
    with pytest.raises(StorageError, match=r"No space left on device.*Nothing half was left there"):
        save_checkpoint(model, None, prune(model), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_mask_makes_another_checkpoint_zero_in_the_same_places(tmp_path: Path) -> None:
    model, _ = make_model("mixtral", seed=0)
    report = prune(model, PruneSpec(pattern="2:4"))
    save_mask(model, report, tmp_path / "m.safetensors")
    weights = sum(t.numel for t in find_targets(model))
    assert (tmp_path / "m.safetensors").stat().st_size < weights / 8 + 10_000
    other, _ = make_model("mixtral", seed=1)
    applied = prune(other, PruneSpec(mask=str(tmp_path / "m.safetensors")))
    for mine, theirs in zip(find_targets(model), find_targets(other), strict=True):
        assert torch.equal(mine.weight == 0, theirs.weight == 0)
    assert (applied.method, applied.pattern, applied.level) == ("magnitude", "2:4", 0.5)


def test_a_mask_of_other_shapes_is_refused_by_name(tmp_path: Path) -> None:
    model, _ = make_model("llama")
    file = tmp_path / "m.safetensors"
    save_mask(model, prune(model), file)
    wider, _ = make_model("llama", intermediate_size=64)
    before = weights_sha256(wider)
    with pytest.raises(
        UsageError, match=r"layers\.0\.mlp\.gate_proj has shape \(64, 32\), its mask \(48, 32\)"
    ):
        prune(wider, PruneSpec(mask=str(file)))
    deeper, _ = make_model("llama", num_hidden_layers=3)
    with pytest.raises(UsageError, match=r"only the model has it: model\.layers\.2\."):
        prune(deeper, PruneSpec(mask=str(file)))
    assert weights_sha256(wider) == before


def test_a_mask_that_does_not_match_its_manifest_is_refused(tmp_path: Path) -> None:
    model, _ = make_model("llama")
    file = tmp_path / "m.safetensors"
    save_mask(model, prune(model), file)
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    (tmp_path / "flipped.safetensors").write_bytes(raw)
    (tmp_path / "cut.safetensors").write_bytes(raw[:-100])
    save_file({"a": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    for name, message in (("flipped", "is damaged"), ("cut", "is damaged"), ("foreign", "no mask of ours")):
        with pytest.raises(UsageError, match=message):
            prune(make_model("llama")[0], PruneSpec(mask=str(tmp_path / f"{name}.safetensors")))
    with pytest.raises(UsageError, match="is no file"):
        prune(model, PruneSpec(mask="nowhere.safetensors"))


@pytest.mark.parametrize("method", ["magnitude", "largest", "random", "wanda", "sparsegpt"])
def test_the_command_writes_a_checkpoint_that_inspect_accepts(
    method: str, tiny: Path, text: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    options = ("--method", method, "--calibration", text, "--nsamples", 4, "--seqlen", 32, "--output", out)
    result = run("prune", tiny, *options)
    assert result.exit_code == 0, result.output
    assert "0.5000 of the targeted weights" in result.output
    assert run("inspect", out).exit_code == 0
    again = run("prune", tiny, *options)
    assert isinstance(again.exception, UsageError) and "--force" in str(again.exception)
    assert run("prune", tiny, *options, "--force").exit_code == 0


def test_masks_by_command(tiny: Path, tmp_path: Path) -> None:
    mask, out = tmp_path / "m.safetensors", tmp_path / "out"
    assert run("prune", tiny, "--pattern", "2:4", "--save-mask", mask).exit_code == 0
    assert run("prune", tiny, "--mask", mask, "-o", out).exit_code == 0
    assert json.loads((out / MANIFEST).read_text())["pattern"] == "2:4"


def test_quantize_by_command(tiny: Path, text: Path, tmp_path: Path) -> None:
    for method, name in (("rtn", "a"), ("gptq", "b")):
        options = ("--method", method, "--bits", 3, "--calibration", text, "--nsamples", 4, "--seqlen", 32)
        result = run("quantize", tiny, *options, "-o", tmp_path / name)
        assert result.exit_code == 0, result.output
        manifest = json.loads((tmp_path / name / MANIFEST).read_text())
        assert manifest["bits"] == 3 and manifest["effective_bits"] == pytest.approx(3 + 19 / 16)
        assert run("inspect", tmp_path / name).exit_code == 0


def test_a_dry_run_writes_and_loads_nothing(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loaded(*_: Any, **__: Any) -> Any:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr("junkdna_harness.compress.loading.load", loaded)
    arguments = (
        "--method",
        "sparsegpt",
        "--calibration",
        str(tmp_path / "text.txt"),
        "--output",
        tmp_path / "out",
    )
    (tmp_path / "text.txt").write_text("some words " * 5000)
    result = run("prune", tiny, *arguments, "--dry-run")
    assert result.exit_code == 0 and "of memory" in result.output
    assert not (tmp_path / "out").exists()
    with pytest.raises(AssertionError, match="were loaded"):
        raise run("prune", tiny, *arguments).exception  # type: ignore[misc]


@pytest.mark.parametrize(
    "options,message",
    [
        (("--sparsity", "1.5", "-o", "x"), "--sparsity 1.5"),
        (("--method", "wandda", "-o", "x"), "Did you mean 'wanda'"),
        (("--method", "wanda", "-o", "x"), "needs text"),
        ((), "Give --output"),
        (("--dtype", "int3", "-o", "x"), "--dtype 'int3'"),
        (("--bits", "5.5", "-o", "x"), "--bits 5.5"),
    ],
)
def test_mistakes_on_the_command_line(
    options: tuple[str, ...], message: str, tiny: Path, tmp_path: Path
) -> None:
    fixed = [str(tmp_path / o) if o == "x" else o for o in options]
    result = run("prune", tiny, *fixed)
    assert isinstance(result.exception, UsageError) and message in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    result = run("prune", tmp_path, "-o", tmp_path / "out")
    assert isinstance(result.exception, UsageError) and "holds no weights" in str(result.exception)
