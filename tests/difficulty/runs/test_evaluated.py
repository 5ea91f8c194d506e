"""A log is known for what was evaluated, whatever evaluated it; where nothing says so, that is called a guess."""

from __future__ import annotations

import json
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from difficulty.errors import UsageError
from difficulty.runs.read import read_runs
from tests.difficulty.runs.logged import generated, results_of, write_log

PRUNED = {
    "kind": "pruned", "method": "magnitude", "level": 0.7, "requested_sparsity": 0.7, "sparsity_targeted": 0.7003, "bits": None,
    "pattern": "0.7", "source": {"pretrained": "base"}, "effective_bits": 5.8, "weights_sha256": "abc",
}  # fmt: skip


def checkpoint(folder: Path, manifest: dict[str, Any] | None = None, **config: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", **config}))
    if manifest:
        (folder / "junkdna.json").write_text(json.dumps(manifest))
    return folder


def weights(folder: Path, zeros: float, dtype: str = "F32") -> Path:
    """A safetensors file of one matrix and an embedding."""
    width = {"F32": 4, "BF16": 2, "F16": 2}[dtype]
    values = np.ones(1000, dtype=f"<u{width}")
    values[: round(1000 * zeros)] = 0
    values[0] = values[0] | (1 << (8 * width - 1))  # minus zero is a zero too
    header = {
        "model.layers.0.mlp.weight": {"dtype": dtype, "shape": [10, 100], "data_offsets": [0, 1000 * width]},
        "model.embed_tokens.weight": {
            "dtype": dtype,
            "shape": [1, 5],
            "data_offsets": [1000 * width, 1005 * width],
        },
    }
    text = json.dumps(header).encode()
    body = values.tobytes() + np.zeros(5, dtype=values.dtype).tobytes()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + body)
    return folder


def run_of(folder: Path, name: str = "ck", arguments: Any = None, **top: Any) -> Any:
    log = write_log(
        folder / "log",
        {"t": [generated(i, acc=1.0) for i in range(3)]},
        model=name,
        model_args=arguments,
        **top,
    )
    read = read_runs(log)
    row = read.runs.iloc[0].to_dict()
    return row["run"], row["known_by"], read


def test_hf_on_our_checkpoint_is_the_run_of_its_manifest(tmp_path: Path) -> None:
    checkpoint(tmp_path / "ck", PRUNED)
    name, known, read = run_of(tmp_path)
    assert (name, known) == ("base magnitude 0.7", "checkpoint")
    assert read.runs["effective_bits"][0] == 5.8 and read.manifests[name]["weights_sha256"] == "abc"
    assert not read.warnings


@pytest.mark.parametrize("key", ["pretrained", "model", "path"])
def test_the_folder_is_found_from_the_log_too_and_by_any_evaluators_argument(
    tmp_path: Path, key: str
) -> None:
    checkpoint(tmp_path / "deep" / "ck", PRUNED)
    log = tmp_path / "deep" / "out"
    write_log(log, {"t": [generated(0, acc=1.0)]}, model="served", model_args=f"{key}=./ck,dtype=float32")
    assert read_runs(log).names == ["base magnitude 0.7"]


def test_a_chain_of_checkpoints_is_named_by_its_root(tmp_path: Path) -> None:
    checkpoint(tmp_path / "first", {**PRUNED, "source": {"pretrained": "org/root"}})
    checkpoint(
        tmp_path / "ck",
        {**PRUNED, "source": {"model": str(tmp_path / "first")}, "method": "magnitude+sparse_to_dense"},
    )
    assert run_of(tmp_path)[0] == "org/root magnitude+sparse_to_dense 0.7"
    checkpoint(tmp_path / "ck", {**PRUNED, "base_model": "embedded"})
    assert run_of(tmp_path)[0] == "embedded magnitude 0.7"


def test_an_adapter_that_recovery_kept_counts_before_its_base(tmp_path: Path) -> None:
    checkpoint(tmp_path / "base", PRUNED)
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    arguments = {"pretrained": str(tmp_path / "base"), "peft": str(adapter)}
    _, known, read = run_of(tmp_path, "base", arguments)
    assert known == "guess" and "what the adapter" in " ".join(read.warnings)
    (adapter / "junkdna.json").write_text(json.dumps({**PRUNED, "method": "magnitude+sparse_transfer_lora"}))
    assert run_of(tmp_path, "base", arguments)[0] == "base magnitude+sparse_transfer_lora 0.7"


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"quant_method": "gptq", "bits": 4}, "ck gptq 4 bits"),
        ({"quant_method": "awq", "bits": 3}, "ck awq 3 bits"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "ck bnb-int8 8 bits"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "ck bnb-nf4 4 bits"),
        ({"quant_method": "fp8"}, "ck fp8 8 bits"),
        ({"quant_method": "mxfp4"}, "ck mxfp4 4 bits"),
        ({"quant_method": "torchao", "quant_type": "int8_weight_only"}, "ck torchao 8 bits"),
        ({"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": {"num_bits": 4}}}}, "ck compressed-tensors 4 bits"),
        ({"quant_method": "hqq"}, "ck hqq"),
    ],
)  # fmt: skip
def test_a_quantized_checkpoint_is_known_by_its_configuration(tmp_path: Path, config: Any, name: str) -> None:
    checkpoint(tmp_path / "ck", quantization_config=config)
    assert run_of(tmp_path)[:2] == (name, "checkpoint")


@pytest.mark.parametrize("dtype", ["F32", "BF16", "F16"])
def test_weights_without_a_manifest_are_looked_at(tmp_path: Path, dtype: str) -> None:
    weights(checkpoint(tmp_path / "ck"), 0.5, dtype)
    name, known, read = run_of(tmp_path)
    assert (name, known) == ("ck none 0.5", "checkpoint") and "written nowhere" in " ".join(read.warnings)
    weights(tmp_path / "ck", 0.001, dtype)
    assert run_of(tmp_path)[:2] == ("ck dense", "checkpoint")


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"pretrained": "org/m", "load_in_4bit": True}, "org/m bnb-nf4 4 bits"),
        ("pretrained=org/m,load_in_8bit=True", "org/m bnb-int8 8 bits"),
        ({"pretrained": "org/m", "quantization": "awq"}, "org/m awq 4 bits"),
        ({"pretrained": "org/m", "quantization": "fp8"}, "org/m fp8 8 bits"),
        ({"pretrained": "org/m", "gguf_file": "m-Q4_K_M.gguf"}, "org/m gguf-q4_k_m 4 bits"),
        ({"pretrained": "org/m", "gguf_file": "m.i1-IQ3_XXS.gguf"}, "org/m gguf-iq3_xxs 3 bits"),
        ({"pretrained": "org/m", "gguf_file": "F16-test-Q8_0-00001-of-00003.gguf"}, "org/m gguf-q8_0 8 bits"),
        ({"pretrained": "org/m", "gguf_file": "m-BF16.gguf"}, "org/m dense"),
        ({"pretrained": "org/m", "gguf_file": "model.gguf"}, "org/m gguf"),
        ({"pretrained": "org/m", "autogptq": "model.safetensors"}, "org/m gptq 4 bits"),
        ({"pretrained": "org/m", "quantization": None}, "org/m dense"),
    ],
)  # fmt: skip
def test_what_the_evaluator_was_told_counts(tmp_path: Path, arguments: Any, name: str) -> None:
    assert run_of(tmp_path, "org/m", arguments)[0] == name


def test_pruned_and_quantized_while_loading_is_both(tmp_path: Path) -> None:
    checkpoint(tmp_path / "ck", PRUNED)
    assert (
        run_of(tmp_path, "ck", {"pretrained": "ck", "load_in_4bit": True})[0] == "base magnitude 0.7 4 bits"
    )


def test_what_cannot_be_read_is_a_guess_that_is_told_and_a_label_settles_it(tmp_path: Path) -> None:
    name, known, read = run_of(tmp_path, "org/unknown")
    assert (name, known, read.guessed) == ("org/unknown dense", "guess", ["org/unknown dense"])
    assert "which is a guess. Settle it with junkdna label" in read.warnings[0]
    log = tmp_path / "log"
    told = read_runs(log, labels=[f"{log}=wanda 0.5"])
    assert (told.names, told.guessed) == (["org/unknown wanda 0.5"], [])
    assert read_runs(log, labels=[f"{log}=rtn 4 bits"]).names == ["org/unknown rtn 4 bits"]
    assert read_runs(log, labels=[f"{log}=dense"]).guessed == []


@pytest.mark.parametrize(
    ("label", "said"),
    [("nothing", "is not FOLDER=METHOD LEVEL"), ("/absent/x=wanda 0.5", "there is no '/absent/x'"), ("{}=wanda", "needs a level"),
     ("{}=wanda 1.5", "not in \\[0, 1\\)"), ("{}=my method 0.5", "one word")],
)  # fmt: skip
def test_a_wrong_label_is_one_sentence(tmp_path: Path, label: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_runs(tmp_path, labels=[label.format(tmp_path)])


def test_a_damaged_label_or_manifest_is_refused(tmp_path: Path) -> None:
    _, _, _ = run_of(tmp_path, "ck")
    log = tmp_path / "log"
    beside = results_of(log, "ck").with_name(results_of(log, "ck").name.replace("results", "label"))
    beside.write_text('{"kind": "other"}')
    with pytest.raises(UsageError, match="the label .* is damaged"):
        read_runs(log)
    beside.unlink()
    checkpoint(tmp_path / "ck", PRUNED)
    (tmp_path / "ck" / "junkdna.json").write_text("[")
    with pytest.raises(UsageError, match="junkdna.json' is not whole JSON"):
        read_runs(log)


def test_a_manifest_written_after_the_evaluation_is_not_believed(tmp_path: Path) -> None:
    checkpoint(tmp_path / "ck", {**PRUNED, "created": "2026-06-01T00:00:00+00:00"})
    name, known, read = run_of(tmp_path, date=time.mktime((2026, 5, 1, 0, 0, 0, 0, 0, 0)))
    assert (name, known) == ("ck dense", "guess") and "was written after this evaluation" in " ".join(
        read.warnings
    )
    assert run_of(tmp_path, date=time.mktime((2026, 7, 1, 0, 0, 0, 0, 0, 0)))[0] == "base magnitude 0.7"


def test_the_level_is_what_was_measured(tmp_path: Path) -> None:
    block = {**PRUNED, "model": "m", "level": 0.3, "requested_sparsity": 0.3, "sparsity_targeted": 0.7}
    name, _, read = run_of(tmp_path, "m", block=block)
    assert name == "m magnitude 0.7" and "asked for 0.3, measured 0.7" in " ".join(read.warnings)
    near = {**block, "level": 0.705, "requested_sparsity": 0.705}
    assert run_of(tmp_path, "m", block=near)[0] == "m magnitude 0.705"
    grown = {**block, "method": "magnitude+sparse_to_dense", "level": 0.5, "sparsity_targeted": 0.0}
    assert run_of(tmp_path, "m", block=grown)[0] == "m magnitude+sparse_to_dense 0.5"
    none = {
        **block,
        "method": "none",
        "level": 0.0004,
        "requested_sparsity": None,
        "sparsity_targeted": 0.0004,
    }
    assert run_of(tmp_path, "m", block=none)[0] == "m dense"


def test_one_name_for_two_checkpoints_is_refused(tmp_path: Path) -> None:
    block = {"kind": "pruned", "method": "none", "level": 0.0, "model": "m", "sparsity_targeted": 0.0}
    one = write_log(tmp_path / "a", {"t": [generated(0, acc=1.0)]}, block={**block, "weights_sha256": "aa"})
    two = write_log(tmp_path / "b", {"u": [generated(0, acc=1.0)]}, block={**block, "weights_sha256": "bb"})
    with pytest.raises(UsageError, match="was evaluated with other weights"):
        read_runs([one, two])


def test_two_guessed_dense_runs_with_other_scores_ask_for_a_label(tmp_path: Path) -> None:
    one = write_log(tmp_path / "a", {"t": [generated(0, acc=1.0)]})
    two = write_log(tmp_path / "b", {"t": [generated(0, acc=0.0)]})
    with pytest.raises(UsageError, match="if they are not one model, say so with junkdna label"):
        read_runs([one, two])
    settled = read_runs([one, two], labels=[f"{two}=magnitude 0.5"])
    assert settled.names == ["m dense", "m magnitude 0.5"]
