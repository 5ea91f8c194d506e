"""What is written: the same model when it is loaded again, with what lay beside the source's weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    CLIPImageProcessor,
    LlavaProcessor,
)
from typer import Typer
from typer.testing import CliRunner

from difficulty.errors import UsageError
from junkdna_harness.commands.prune import prune as prune_command
from junkdna_harness.commands.quantize import quantize as quantize_command
from junkdna_harness.compress import PruneSpec, find_targets, prune, weights_sha256
from junkdna_harness.compress.again import expect, release
from junkdna_harness.compress.carried import LARGEST, carry_over
from junkdna_harness.compress.checkpoint import MANIFEST, NOT_FINITE, inspect_checkpoint, save_checkpoint
from tests.models_factory import make_model, make_tokenizer, save_tiny

app = Typer()
app.command()(prune_command)
app.command()(quantize_command)

_TEXT = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 100,
    "max_position_embeddings": 128, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1, "head_dim": 8,
}  # fmt: skip
_SIGHT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 28,
    "patch_size": 14,
}
SEEING: dict[str, dict[str, Any]] = {
    "llava": {
        "text_config": {"model_type": "llama", **_TEXT}, "vision_config": {"model_type": "clip_vision_model", **_SIGHT}, "image_token_id": 99,
    },
    "qwen2_vl": {
        "text_config": {"model_type": "qwen2_vl_text", **_TEXT, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}},
        "vision_config": {"model_type": "qwen2_vl_vision", "embed_dim": 32, "hidden_size": 32, "num_heads": 4, "depth": 2},
        "image_token_id": 98, "video_token_id": 97,
    },
    "gemma3": {
        "text_config": {"model_type": "gemma3_text", **_TEXT}, "vision_config": {"model_type": "siglip_vision_model", **_SIGHT},
        "mm_tokens_per_image": 4, "image_token_index": 99,
    },
}  # fmt: skip


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def seeing(kind: str, folder: Path) -> Path:
    """A tiny model of images and text, and the files of its processor."""
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(AutoConfig.for_model(kind, **SEEING[kind]))
    model.save_pretrained(folder)
    if kind == "llava":
        LlavaProcessor(
            CLIPImageProcessor(), make_tokenizer(), patch_size=14, vision_feature_select_strategy="default"
        ).save_pretrained(folder)
    else:
        make_tokenizer().save_pretrained(folder)
        (folder / "preprocessor_config.json").write_text('{"image_processor_type": "CLIPImageProcessor"}')
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    return folder


@pytest.mark.parametrize("kind", SEEING)
@pytest.mark.parametrize("verb", ["prune", "quantize"])
def test_models_of_images_and_text_stay_whole(kind: str, verb: str, tmp_path: Path) -> None:
    folder, out = seeing(kind, tmp_path / "in"), tmp_path / "out"
    options = ["--method", "magnitude"] if verb == "prune" else ["--method", "rtn"]
    result = run(verb, folder, "--output", out, *options)
    assert result.exit_code == 0, result.output
    assert "not targeted" not in result.output
    before, after = (AutoModelForImageTextToText.from_pretrained(path) for path in (folder, out))
    assert type(after) is type(before)
    old, new = dict(before.named_parameters()), dict(after.named_parameters())
    assert old.keys() == new.keys()
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert changed == {f"{target.name}.weight" for target in find_targets(after)}
    assert not any("vision" in name or "visual" in name for name in changed) and len(changed) == 14
    assert {path.name for path in folder.iterdir()} <= {path.name for path in out.iterdir()}
    if kind == "llava":
        assert type(AutoProcessor.from_pretrained(out)).__name__ == "LlavaProcessor"


def test_wanda_sees_the_text_of_such_a_model(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("\n".join(f"line {i} says {i * i}" for i in range(200)))
    out = tmp_path / "out"
    result = run(
        "prune",
        seeing("llava", tmp_path / "in"),
        "-o",
        out,
        "--method",
        "wanda",
        "--calibration",
        text,
        "--nsamples",
        4,
        "--seqlen",
        16,
    )
    assert result.exit_code == 0, result.output
    model = AutoModelForImageTextToText.from_pretrained(out)
    assert all(int((t.weight == 0).sum()) == t.numel // 2 for t in find_targets(model))


def full(folder: Path) -> Path:
    """A checkpoint with all that may lie beside its weights."""
    save_tiny("llama", folder)
    for name in ("LICENSE", "README.md", "vocab.txt", "notes.md"):
        (folder / name).write_text(name)
    (folder / "preprocessor_config.json").write_text("{}")
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tool.jinja").write_text("tool")
    for name in ("pytorch_model.bin", "optimizer.pt", "x.pth", "data.pkl", "old.ckpt", "model.safetensors.index.json", "adapter_config.json", "results_2026.json"):  # fmt: skip
        (folder / name).write_text("left")
    (folder / "original").mkdir()
    (folder / "original" / "consolidated.pth").write_text("left")
    (folder / "original" / "params.json").write_text("left")
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text("left")
    (folder / "modeling_mine.py").write_text("code")
    (folder.parent / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(folder.parent / "secret.txt")
    (folder / "inside.txt").symlink_to(folder / "LICENSE")
    with (folder / "huge.json").open("wb") as file:
        file.truncate(LARGEST + 1)
    return folder


CARRIED = {
    "LICENSE",
    "README_source.md",
    "preprocessor_config.json",
    "vocab.txt",
    "notes.md",
    "additional_chat_templates",
    "inside.txt",
}
WRITTEN = {
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "README.md",
    MANIFEST,
}


def test_what_lies_beside_the_weights_goes_along(tmp_path: Path) -> None:
    folder, out = full(tmp_path / "in"), tmp_path / "out"
    (folder / "adapter_config.json").unlink()  # transformers would look for the adapter
    (folder / "model.safetensors.index.json").unlink()
    result = run("prune", folder, "-o", out)
    assert result.exit_code == 0, result.output
    assert {path.name for path in out.iterdir()} == CARRIED | WRITTEN
    assert (out / "additional_chat_templates" / "tool.jinja").read_text() == "tool"
    assert (out / "README_source.md").read_text() == "README.md"  # the source's card, whose text that is
    assert json.loads((out / MANIFEST).read_text())["left_behind"] == [
        "huge.json (64 MiB)", "link.txt (a link to elsewhere)", "modeling_mine.py (code; --trust-remote-code takes it along)",
    ]  # fmt: skip
    assert "not carried over" in result.output and "modeling_mine.py" in result.output
    assert inspect_checkpoint(out).intact


def test_code_goes_along_where_it_may_run_and_own_files_stay(tmp_path: Path) -> None:
    folder, out = full(tmp_path / "in"), tmp_path / "out"
    out.mkdir()
    (out / "config.json").write_text("mine")
    left = carry_over(folder, out, code=True)
    assert not any("modeling" in name for name in left) and (out / "modeling_mine.py").read_text() == "code"
    assert (out / "config.json").read_text() == "mine"
    assert not (out / "pytorch_model.bin").exists() and not (out / "original").exists()


def test_a_hub_models_files_come_from_its_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    cache = tmp_path / "hub" / "models--org--tiny"
    (cache / "snapshots" / "abc").mkdir(parents=True)
    (cache / "blobs").mkdir()
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("abc")
    (cache / "blobs" / "1").write_text("licence")
    (cache / "snapshots" / "abc" / "LICENSE").symlink_to(cache / "blobs" / "1")
    (tmp_path / "secret").write_text("secret")
    (cache / "snapshots" / "abc" / "other.txt").symlink_to(tmp_path / "secret")
    model, _ = make_model("llama")
    manifest = save_checkpoint(
        model, None, prune(model), tmp_path / "out", {"pretrained": "org/tiny", "revision": None}
    )
    assert (tmp_path / "out" / "LICENSE").read_text() == "licence" and not (
        tmp_path / "out" / "LICENSE"
    ).is_symlink()
    assert manifest["left_behind"] == ["other.txt (a link to elsewhere)"]


def changed_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    tensors["model.layers.1.mlp.up_proj.weight"] *= 2
    save_file(tensors, file, {"format": "pt"})


def lost_tensor(folder: Path) -> None:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, file, {"format": "pt"})


def other_width(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 10.0}))


def fewer_layers(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 1}))


@pytest.mark.parametrize(
    "spoil,said",
    [
        (changed_weights, "gives other logits"), (lost_tensor, "lack 1 of the model's tensors"), (other_width, "gives other logits"),
        (fewer_layers, "other parameters"),
    ],
)  # fmt: skip
def test_what_is_another_model_when_it_is_loaded_again_is_not_kept(
    spoil: Any, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = make_model("llama")
    report, save = prune(model), model.save_pretrained

    def spoiled(folder: Path) -> None:
        save(folder)
        spoil(Path(folder))

    monkeypatch.setattr(model, "save_pretrained", spoiled)
    with pytest.raises(UsageError, match=said):
        save_checkpoint(model, None, report, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_the_last_use_of_a_model_gives_its_memory_up(tmp_path: Path) -> None:
    model, _ = make_model("tied")
    sha = prune(model).weights_sha256
    report = prune(model, PruneSpec(method="none"))
    save_checkpoint(model, make_tokenizer(), report, tmp_path / "out", last=True)
    assert all(parameter.is_meta for parameter in model.parameters())
    assert weights_sha256(AutoModelForCausalLM.from_pretrained(tmp_path / "out")) == sha


def test_a_model_that_takes_more_than_tokens_is_held_against_its_structure_alone() -> None:
    model, _ = make_model("llama")
    model.forward = lambda **_: (_ for _ in ()).throw(TypeError("needs more"))
    assert expect(model).logits is None
    release(model)
    assert all(parameter.is_meta for parameter in model.parameters())


def test_a_model_that_gives_no_numbers_is_written_with_a_warning(tmp_path: Path) -> None:
    model, _ = make_model("llama")
    model.model.norm.weight.data[3] = float("nan")
    model.save_pretrained(tmp_path / "in")
    make_tokenizer().save_pretrained(tmp_path / "in")
    result = run("prune", tmp_path / "in", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "warning: its logits are NaN or infinite" in result.output
    assert NOT_FINITE in json.loads((tmp_path / "out" / MANIFEST).read_text())["warnings"]


def test_what_is_rounded_while_it_runs_is_no_part_of_the_files(tmp_path: Path) -> None:
    folder = save_tiny("llama", tmp_path / "in")
    result = run(
        "quantize", folder, "-o", tmp_path / "out", "--method", "rtn", "--activations", "int8", "--kv-bits", 4
    )
    assert result.exit_code == 0, result.output
    plain = run("quantize", folder, "-o", tmp_path / "plain", "--method", "rtn")
    assert plain.exit_code == 0, plain.output
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("out", "plain"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_mask_is_written_before_the_model_is_given_up(tmp_path: Path) -> None:
    folder = save_tiny("llama", tmp_path / "in")
    result = run("prune", folder, "-o", tmp_path / "out", "--save-mask", tmp_path / "mask.safetensors")
    assert result.exit_code == 0, result.output
    again = run("prune", folder, "-o", tmp_path / "again", "--mask", tmp_path / "mask.safetensors")
    assert again.exit_code == 0, again.output
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("out", "again"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def adapted(tmp_path: Path) -> tuple[Any, Path]:
    """A model of peft, and the folder of its adapter."""
    from peft import LoraConfig, get_peft_model

    base = AutoModelForCausalLM.from_pretrained(save_tiny("llama", tmp_path / "base"))
    model = get_peft_model(
        base, LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM", init_lora_weights=False)
    )
    model.save_pretrained(tmp_path / "adapter")
    return model.eval(), tmp_path / "adapter"


def test_a_model_with_an_adapter_is_written_whole(tmp_path: Path) -> None:
    model, _ = adapted(tmp_path)
    report = prune(model, PruneSpec(sparsity=0.5))
    with torch.no_grad():
        expected = model(torch.arange(2, 12)[None]).logits
    manifest = save_checkpoint(model, make_tokenizer(), report, tmp_path / "out")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert not (tmp_path / "out" / "adapter_config.json").exists()
    with torch.no_grad():
        torch.testing.assert_close(again(torch.arange(2, 12)[None]).logits, expected)
    assert manifest["weights_sha256"] == weights_sha256(again)
    assert set(manifest["sparsity_by_module"]) == {target.module_name for target in find_targets(again)}


@pytest.mark.parametrize("config", [False, True])
@pytest.mark.parametrize("verb", ["prune", "quantize"])
def test_an_adapters_folder_names_peft(config: bool, verb: str, tmp_path: Path) -> None:
    _, folder = adapted(tmp_path)
    if config:
        (folder / "config.json").write_bytes((tmp_path / "base" / "config.json").read_bytes())
    result = run(verb, folder, "-o", tmp_path / "out")
    assert isinstance(result.exception, UsageError)
    assert f"Give pretrained=MODEL,peft={folder}" in str(result.exception)
    assert not (tmp_path / "out").exists()
