"""What the `junkdna` block says of a checkpoint that was compressed before: its own method and level, and its root."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from junkdna_harness.compress import PruneSpec, QuantSpec, prune, quantize, sparsifier
from junkdna_harness.compress.checkpoint import save_checkpoint
from junkdna_harness.models.pruned import PrunedLM
from junkdna_harness.models.quantized import QuantizedLM
from tests.models_factory import make_tokenizer, save_tiny

CPU = {"device": "cpu"}


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny("llama", tmp_path_factory.mktemp("dense") / "dense")


def compressed(source: Path, output: Path, spec: PruneSpec | QuantSpec, manifest: bool = True) -> Path:
    """What `junkdna prune` and `junkdna quantize` write; without its manifest, what a stranger's tool does."""
    model = AutoModelForCausalLM.from_pretrained(source)
    change: Any = prune if isinstance(spec, PruneSpec) else quantize
    save_checkpoint(model, make_tokenizer(), change(model, spec), output, {"pretrained": str(source)})
    if not manifest:
        (output / "junkdna.json").unlink()
    return output


@pytest.fixture(scope="module")
def sparse(dense: Path) -> Path:
    """Magnitude at 0.7."""
    return compressed(dense, dense.parent / "sparse", PruneSpec(sparsity=0.7))


def facts(block: dict[str, Any]) -> tuple[Any, ...]:
    level = None if block["level"] is None else round(block["level"], 2)
    return block["model"], block["method"], level, block["bits"]


def call(kind: Any, **arguments: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The block, and the arguments that lm-eval prints."""
    given = {name: str(value) if isinstance(value, Path) else value for name, value in arguments.items()}
    lm = kind.create_from_arg_obj(given, CPU)
    return lm.junkdna, given


def test_a_sparse_checkpoint_is_evaluated_as_it_is_under_its_own_name(
    dense: Path, sparse: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    block, printed = call(PrunedLM, pretrained=sparse)
    assert facts(block) == (str(dense), "magnitude", 0.7, None)
    assert block["sparsity_targeted"] == pytest.approx(0.7, abs=1e-3)
    assert block["weights_sha256"] == json.loads((sparse / "junkdna.json").read_text())["weights_sha256"]
    assert printed == {"pretrained": str(sparse), "method": "none"}
    assert "so nothing more is pruned" in capsys.readouterr().err
    assert block["warnings"] == []


@pytest.mark.parametrize("given", [{"sparsity": 0}, {"method": None}, {"method": "none"}])
def test_nothing_removed_is_never_dense(dense: Path, sparse: Path, given: dict[str, Any]) -> None:
    assert facts(call(PrunedLM, pretrained=sparse, **given)[0]) == (str(dense), "magnitude", 0.7, None)


def test_less_than_is_gone_already_is_reported_as_measured(
    dense: Path, sparse: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    block, _ = call(PrunedLM, pretrained=sparse, sparsity=0.3)
    assert facts(block) == (str(dense), "magnitude", 0.7, None)
    (warning,) = block["warnings"]
    assert "sparsity 0.3 was asked for" in warning and "nothing was removed" in warning
    assert warning in capsys.readouterr().err


def test_another_method_that_finds_nothing_to_remove_is_told(dense: Path, sparse: Path) -> None:
    block, _ = call(PrunedLM, pretrained=sparse, sparsity=0.7)
    assert block["warnings"] == []
    block, _ = call(PrunedLM, pretrained=sparse, method="tests.models.test_what_ran:smallest", sparsity=0.7)
    assert facts(block) == (str(dense), "magnitude", 0.7, None)
    assert "nothing was removed" in block["warnings"][0]


@sparsifier("smallest", scope="layer")
def smallest(weight: torch.Tensor) -> torch.Tensor:
    """As magnitude, by another name."""
    return weight.abs()


def test_more_is_removed_where_it_is_asked_for_and_both_methods_are_named(dense: Path, sparse: Path) -> None:
    block, _ = call(PrunedLM, pretrained=sparse, sparsity=0.9, method="random")
    assert block["method"] == "magnitude+random"
    assert block["level"] == block["sparsity_targeted"]
    block, _ = call(PrunedLM, pretrained=sparse, sparsity=0.9)
    assert facts(block) == (str(dense), "magnitude+magnitude", 0.9, None)
    assert "pruned further" in block["warnings"][0]


def test_a_random_mask_over_zeros_is_not_the_level_that_was_asked_for(dense: Path, sparse: Path) -> None:
    """Zeros go first, so nothing more is removed."""
    block, _ = call(PrunedLM, pretrained=sparse, sparsity=0.3, method="random")
    assert facts(block) == (str(dense), "magnitude", 0.7, None)
    (warning,) = block["warnings"]
    assert "random at sparsity 0.3 was asked for" in warning and "nothing was removed" in warning


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_strangers_sparse_checkpoint_is_measured(
    dense: Path, tmp_path: Path, dtype: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = compressed(dense, tmp_path / "theirs", PruneSpec(sparsity=0.6), manifest=False)
    block, printed = call(PrunedLM, pretrained=folder, dtype=dtype)
    assert facts(block) == (str(folder), "none", 0.6, None)
    assert printed["method"] == "none" and "sparsity" not in printed
    assert "so nothing more is pruned" in capsys.readouterr().err
    assert facts(call(PrunedLM, pretrained=folder, sparsity=0)[0]) == (str(folder), "none", 0.6, None)
    assert call(PrunedLM, pretrained=folder, sparsity=0.9)[0]["method"] == "pruned+magnitude"


def test_a_manifest_is_believed_in_another_dtype_and_not_for_other_weights(
    dense: Path, sparse: Path, tmp_path: Path
) -> None:
    assert facts(call(PrunedLM, pretrained=sparse, dtype="bfloat16")[0])[1:] == ("magnitude", 0.7, None)
    folder = compressed(dense, tmp_path / "changed", PruneSpec(sparsity=0.7))
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] += 1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    block, _ = call(PrunedLM, pretrained=folder)
    assert facts(block) == (str(folder), "none", 0.7, None)
    assert "is not believed: 1 tensors differ" in block["warnings"][0]


def test_n_of_m_keeps_its_pattern(dense: Path, tmp_path: Path) -> None:
    folder = compressed(dense, tmp_path / "nm", PruneSpec(pattern="2:4"))
    block, _ = call(PrunedLM, pretrained=folder)
    assert (block["method"], block["pattern"], block["level"]) == ("magnitude", "2:4", 0.5)
    block, _ = call(PrunedLM, pretrained=folder, sparsity=0.9)
    assert (block["method"], round(block["level"], 2)) == ("magnitude_2:4+magnitude", 0.9)
    block, _ = call(PrunedLM, pretrained=folder, pattern="1:4")
    assert (block["method"], block["pattern"]) == ("magnitude_2:4+magnitude 1:4", "1:4")


def test_the_chain_of_checkpoints_is_followed_to_its_root(dense: Path, sparse: Path, tmp_path: Path) -> None:
    copy = compressed(sparse, tmp_path / "copy", PruneSpec(method="none"))
    again = compressed(copy, tmp_path / "again", PruneSpec(sparsity=0.8))
    assert call(PrunedLM, pretrained=again)[0]["model"] == str(dense)
    for folder in (copy, again):  # as they were before a manifest named its root
        manifest = json.loads((folder / "junkdna.json").read_text())
        del manifest["base_model"]
        (folder / "junkdna.json").write_text(json.dumps(manifest))
    assert call(PrunedLM, pretrained=again)[0]["model"] == str(dense)
    manifest = json.loads((copy / "junkdna.json").read_text())
    for root, told in [("org/model", "org/model"), ("embedded", "embedded"), ("/gone/away", "/gone/away")]:
        (copy / "junkdna.json").write_text(json.dumps({**manifest, "source": {"pretrained": root}}))
        assert call(PrunedLM, pretrained=again)[0]["model"] == told
    (copy / "junkdna.json").write_text(json.dumps({**manifest, "base_model": "org/root"}))
    assert call(PrunedLM, pretrained=again)[0]["model"] == "org/root"
    (copy / "junkdna.json").write_text(json.dumps({**manifest, "source": {"pretrained": str(copy)}}))
    assert call(PrunedLM, pretrained=again)[0]["model"] == str(
        copy
    )  # it was overwritten: the chain ends there


def test_folders_that_were_moved_together_still_find_each_other(
    dense: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(dense)
    for name, source, level in [("first", "org/model", 0.3), ("second", "first", 0.6)]:
        save_checkpoint(
            model, make_tokenizer(), prune(model, PruneSpec(sparsity=level)), name, {"pretrained": source}
        )
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert call(PrunedLM, pretrained=tmp_path / "second")[0]["model"] == "org/model"


@pytest.mark.parametrize("method", ["none", "magnitude"])
def test_a_dense_copy_is_pruned_as_its_model_is(dense: Path, tmp_path: Path, method: str) -> None:
    holed = AutoModelForCausalLM.from_pretrained(dense)
    holed.model.layers[0].mlp.up_proj.weight.data[0, 0] = 0  # as weights happen to be
    holed.save_pretrained(tmp_path / "holed")
    spec = PruneSpec(method="none") if method == "none" else PruneSpec(sparsity=0)
    dense = tmp_path / "holed"
    copy = compressed(dense, tmp_path / "copy", spec)
    block, printed = call(PrunedLM, pretrained=copy)
    assert facts(block) == (str(dense), "magnitude", 0.5, None)
    assert printed["sparsity"] == 0.5


def test_quantizing_a_sparse_checkpoint_is_pruning_with_bits(dense: Path, sparse: Path) -> None:
    block, printed = call(QuantizedLM, pretrained=sparse)
    assert facts(block) == (str(dense), "magnitude", 0.7, 4)
    assert (block["kind"], block["quantizer"]) == ("pruned", "rtn")
    assert printed["method"] == "rtn" and printed["bits"] == 4
    assert facts(call(PrunedLM, pretrained=sparse, bits=4)[0]) == facts(block)
    assert facts(call(QuantizedLM, pretrained=sparse, method="none")[0]) == (
        str(dense),
        "magnitude",
        0.7,
        None,
    )


def test_a_quantized_checkpoint_is_evaluated_as_it_is_by_both(
    dense: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = compressed(dense, tmp_path / "q", QuantSpec(bits=3))
    for kind in (QuantizedLM, PrunedLM):
        block, printed = call(kind, pretrained=folder)
        assert facts(block) == (str(dense), "rtn", None, 3)
        assert printed["method"] == "none" and "bits" not in printed
        assert block["effective_bits"] < 4.5
    capsys.readouterr()
    with pytest.raises(SystemExit):  # as junkdna quantize
        call(QuantizedLM, pretrained=folder, bits=2)
    assert "is quantized already (rtn, 3 bits, by its junkdna.json)" in capsys.readouterr().err
    block, _ = call(PrunedLM, pretrained=folder, sparsity=0.5)
    assert facts(block)[:3] == (str(dense), "rtn+magnitude", 0.5)


def test_a_checkpoint_of_codes_is_left_as_it_is_and_named_by_its_format(dense: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(dense)
    model.config.quantization_config = {"quant_method": "gptq", "bits": 4, "group_size": 16}
    lm = QuantizedLM(pretrained=model, tokenizer=make_tokenizer())
    assert (lm.junkdna["method"], lm.junkdna["bits"]) == ("gptq", 4)
    assert lm.filled["method"] == "none" and "bits" not in lm.filled


def test_a_model_in_memory_is_known_by_its_weights_alone(dense: Path, sparse: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(sparse)
    lm = PrunedLM(pretrained=model, tokenizer=make_tokenizer())
    assert facts(lm.junkdna) == (str(dense), "magnitude", 0.7, None)
    model.model.norm.weight.data += 1  # the files are as they were
    lm = PrunedLM(pretrained=model, tokenizer=make_tokenizer())
    assert facts(lm.junkdna) == (str(sparse), "none", 0.7, None)
    assert "is not believed" in lm.junkdna["warnings"][0]


def test_a_manifest_in_the_hub_s_cache_is_read(
    dense: Path, sparse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    from huggingface_hub import constants
    from transformers.utils import hub

    snapshot = tmp_path / "models--org--sparse" / "snapshots" / ("0" * 40)
    shutil.copytree(sparse, snapshot)
    (tmp_path / "models--org--sparse" / "refs").mkdir()
    (tmp_path / "models--org--sparse" / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path))
    block, _ = call(PrunedLM, pretrained="org/sparse", cache_dir=str(tmp_path))
    assert facts(block) == (str(dense), "magnitude", 0.7, None)


def test_pruned_and_quantized_in_one_keeps_both(dense: Path, tmp_path: Path) -> None:
    folder = compressed(dense, tmp_path / "both", PruneSpec(sparsity=0.5, bits=4))
    for kind in (QuantizedLM, PrunedLM):
        assert facts(call(kind, pretrained=folder)[0]) == (str(dense), "magnitude", 0.5, 4)


def test_zeros_are_counted_where_the_manifest_says_they_are(dense: Path, tmp_path: Path) -> None:
    folder = compressed(dense, tmp_path / "mlp", PruneSpec(sparsity=0.8, targets=("mlp.*",)))
    for kind in (PrunedLM, QuantizedLM):
        block, _ = call(kind, pretrained=folder, method="none")
        assert facts(block) == (str(dense), "magnitude", 0.8, None)
        assert block["sparsity_targeted"] == pytest.approx(0.8, abs=1e-3)
        assert block["warnings"] == []
    assert call(PrunedLM, pretrained=folder)[0]["targets"] == ("mlp.*",)


def test_a_mask_on_a_sparse_checkpoint(dense: Path, sparse: Path, tmp_path: Path) -> None:
    from junkdna_harness.compress.masks import save_mask

    for level, method in [(0.7, "magnitude"), (0.9, "magnitude+magnitude")]:
        model = AutoModelForCausalLM.from_pretrained(dense)
        save_mask(model, prune(model, PruneSpec(sparsity=level)), tmp_path / "mask.safetensors")
        block, _ = call(PrunedLM, pretrained=sparse, mask=tmp_path / "mask.safetensors")
        assert facts(block)[1:3] == (method, level)


def test_a_strangers_adapter_is_another_model(dense: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    model = AutoModelForCausalLM.from_pretrained(dense)
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    adapted.save_pretrained(tmp_path / "adapter")
    block, _ = call(PrunedLM, pretrained=dense, peft=tmp_path / "adapter", sparsity=0)
    assert block["model"] == f"{dense}+{tmp_path / 'adapter'}"
    assert block["weights_sha256"] != call(PrunedLM, pretrained=dense, sparsity=0)[0]["weights_sha256"]
    block, _ = call(
        PrunedLM, pretrained=tmp_path / "adapter", method="none"
    )  # peft wrote down the model's folder
    assert block["model"] == f"{dense}+{tmp_path / 'adapter'}"


def test_sharded_weights_are_refused(dense: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        PrunedLM.create_from_arg_string(f"pretrained={dense},tp_plan=auto", CPU)
    assert left.value.code == 2
    assert "tp_plan='auto' shards each weight" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argument",
    ["dtype=bfloat17", "dtype=load", "dtype=int8", "dtype=float8_e4m3fn", "dtype=fp16", "softmax_dtype=auto", "mixed_precision_dtype=x"],
)  # fmt: skip
def test_a_dtype_that_no_model_computes_in_is_refused(
    dense: Path, argument: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        PrunedLM.create_from_arg_string(f"pretrained={dense},{argument}", CPU)
    assert left.value.code == 2
    name, given = argument.split("=")
    told = capsys.readouterr().err
    assert f"{name}={given!r} is none that a model computes in here. Give float32, bfloat16" in told


def test_dtypes_that_models_compute_in_are_taken(dense: Path) -> None:
    for given in ("auto", "bfloat16", "float64", "half"):
        assert PrunedLM.create_from_arg_string(f"pretrained={dense},dtype={given},softmax_dtype=float32", CPU)


@pytest.mark.parametrize("content", ["[", "[]", '{"level": "much"}', '{"kind": "pruned", "level": []}'])
def test_a_damaged_manifest_is_one_sentence(
    dense: Path, tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = compressed(dense, tmp_path / "bad", PruneSpec(sparsity=0.5))
    (folder / "junkdna.json").write_text(content)
    with pytest.raises(SystemExit):
        call(PrunedLM, pretrained=folder)
    assert "Restore it or remove it." in capsys.readouterr().err
