"""Tiny random models of every architecture that the tests speak of, and a tokenizer to save beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

VOCABULARY = 100
_COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 1,
}
_LLAMA: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "tie_word_embeddings": False,
}
_CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", _LLAMA),
    "tied": ("llama", {**_LLAMA, "tie_word_embeddings": True}),
    "qwen2": ("qwen2", {**_LLAMA, "use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1}),
    "qwen3": ("qwen3", {**_LLAMA, "head_dim": 8}),
    "mixtral": ("mixtral", {**_LLAMA, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "gpt_oss": (
        "gpt_oss",
        {**_LLAMA, "head_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 16},
    ),
    "gpt2": ("gpt2", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}),
    "opt": (
        "opt",
        {
            "hidden_size": 32,
            "ffn_dim": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 128,
            "word_embed_proj_dim": 32,
        },
    ),
    "gpt_neox": (
        "gpt_neox",
        {
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 128,
        },
    ),
}
ARCHITECTURES = tuple(_CONFIGS)


def make_model(
    arch: str, seed: int = 0, dtype: torch.dtype = torch.float32, **changes: Any
) -> tuple[PreTrainedModel, Any]:
    """A random model in evaluation mode and its config; `changes` override config values."""
    kind, values = _CONFIGS[arch]
    config = AutoConfig.for_model(kind, **{**_COMMON, **values, **changes})
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    # The usual initial values are so small that attention is flat; wider ones give inputs worth calibrating on.
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.normal_(0, 0.2)
    return model.eval(), config


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token a character, for printable ASCII and the line break."""
    characters = ["<pad>", "<eos>", "\n", *(chr(code) for code in range(32, 127)), "<unk>"]
    vocabulary = {character: index for index, character in enumerate(characters)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Split("", "isolated")
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", bos_token="<eos>", unk_token="<unk>"
    )
    fast.model_max_length = 128
    return fast


def save_tiny(arch: str, path: Path, seed: int = 0, **changes: Any) -> Path:
    """The folder `path` with a tiny random checkpoint and its tokenizer."""
    model, _ = make_model(arch, seed, **changes)
    model.save_pretrained(path)
    make_tokenizer().save_pretrained(path)
    return path
