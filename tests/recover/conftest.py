"""A Llama of two layers with one token per character: small enough to train in a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.models_factory import make_tokenizer


def small_model(seed: int = 0, hidden: int = 32) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(make_tokenizer()), hidden_size=hidden, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=64, bos_token_id=None, eos_token_id=1, pad_token_id=0,
        initializer_range=0.1,
    )  # fmt: skip
    return LlamaForCausalLM(config)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A dense checkpoint on disk."""
    folder = tmp_path / "dense"
    small_model().save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """A file of forty prompts and answers."""
    path = tmp_path / "data.jsonl"
    path.write_text(
        "".join(f'{{"prompt": "rev {i}=", "answer": "{str(i)[::-1]}"}}\n' for i in range(100, 140))
    )
    return path
