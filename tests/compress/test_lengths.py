"""A model takes as many tokens as its config says, by whatever name and in whichever part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

from difficulty.errors import UsageError
from junkdna_harness.compress import PruneSpec, prune
from junkdna_harness.compress.calibration import default_seqlen
from junkdna_harness.models.pruned import PrunedLM
from junkdna_harness.recover.schedule import longest
from junkdna_harness.texts.limit import longest_text
from tests.models_factory import make_tokenizer

_TEXT = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 100,
    "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1,
}  # fmt: skip
_SIGHT = {
    "model_type": "clip_vision_model",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 28,
    "patch_size": 14,
}
KINDS: dict[str, dict[str, Any]] = {
    "mpt": {"d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 64, "vocab_size": 100},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "vocab_size": 100, "bos_token_id": 1, "eos_token_id": 1},
    "llava": {"text_config": {"model_type": "llama", **_TEXT}, "vision_config": _SIGHT, "image_token_id": 99},
}  # fmt: skip


def made(kind: str) -> Any:
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **KINDS[kind])
    auto = AutoModelForImageTextToText if kind == "llava" else AutoModelForCausalLM
    return auto.from_config(config).eval()


@pytest.fixture
def text(tmp_path: Path) -> str:
    file = tmp_path / "text.txt"
    file.write_text("\n".join(f"line {i} of the text says {i * i}" for i in range(300)))
    return str(file)


@pytest.mark.parametrize("kind", KINDS)
def test_the_limit_is_found_in_every_kind_of_config(kind: str, text: str) -> None:
    model = made(kind)
    assert longest_text(model.config) == 64 and default_seqlen(model, "cpu") == 64
    with pytest.raises(UsageError, match="seqlen=65 is more than the 64 tokens that the model takes"):
        prune(
            model,
            PruneSpec(method="wanda", sparsity=0.5, calibration=text, nsamples=2, seqlen=65),
            make_tokenizer(),
        )
    report = prune(
        model, PruneSpec(method="wanda", sparsity=0.5, calibration=text, nsamples=2), make_tokenizer()
    )
    assert report.calibration is not None and report.calibration["seqlen"] == 64
    with pytest.raises(UsageError, match="max_length=65 is more than the model's 64 positions"):
        longest(model, 65)


@pytest.mark.parametrize("kind", KINDS)
def test_scoring_keeps_to_it(kind: str, tmp_path: Path) -> None:
    made(kind).save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    lm = PrunedLM(pretrained=str(tmp_path), method="none", device="cpu")
    assert lm.max_length == 64
    assert PrunedLM(pretrained=str(tmp_path), method="none", device="cpu", max_length=32).max_length == 32


def test_without_a_limit_there_is_none() -> None:
    config = AutoConfig.for_model("mamba")
    assert longest_text(config) is None
    assert longest_text(AutoConfig.for_model("xlnet")) is None  # which says -1
