"""Tiny configs of every architecture that transformers has, made from the config classes themselves."""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from transformers import PreTrainedConfig, PreTrainedTokenizerFast
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
)

VOCABULARY = 128

# Sizes by the names that config classes use for them: what a class does not have is left out.
_WIDTHS = {
    32: "hidden_size d_model n_embd dim embed_dim word_embed_proj_dim input_embedding_size embedding_size lru_width out_hidden_size "
    "vision_output_dim text_hidden_size projection_dim backbone_hidden_size",
    48: "intermediate_size ffn_dim n_inner d_ff dff ffn_hidden_size decoder_ffn_dim encoder_ffn_dim dense_intermediate_size "
    "intermediate_size_mlp prefix_dense_intermediate_size mlp_hidden_size",
    24: "moe_intermediate_size shared_expert_intermediate_size moe_shared_expert_intermediate_size shared_intermediate_size "
    "expert_ffn_hidden_size",
    8: "head_dim global_head_dim kv_channels attention_head_dim qk_nope_head_dim qk_rope_head_dim v_head_dim index_head_dim state_size "
    "ssm_state_size mamba_d_state mamba_n_heads mamba_d_head mamba_head_dim mamba_num_heads chunk_size linear_key_head_dim "
    "linear_value_head_dim linear_head_dim hidden_size_per_layer_input num_mel_bins swa_head_dim pronunciation_embed_dim shape_embed_dim",
    64: "mamba_d_ssm",
    16: "q_lora_rank kv_lora_rank qk_head_dim router_hidden_size sliding_window attention_window local_attention attention_window_size",
}  # fmt: skip
_COUNTS = {
    2: "num_hidden_layers n_layer n_layers num_layers decoder_layers encoder_layers num_decoder_layers num_encoder_layers "
    "num_key_value_heads num_experts_per_tok moe_topk moe_k top_k top_k_experts index_n_heads linear_num_key_heads depth",
    4: "num_attention_heads n_head n_heads num_heads decoder_attention_heads encoder_attention_heads num_decoder_attention_heads "
    "num_encoder_attention_heads num_experts num_local_experts n_routed_experts moe_num_experts index_topk mamba_dt_rank time_step_rank "
    "linear_num_value_heads linear_num_heads laurel_rank rotary_dim mm_tokens_per_image",
    1: "n_shared_experts n_group topk_group mamba_n_groups n_groups num_global_layers bos_token_id eos_token_id decoder_start_token_id",
    0: "pad_token_id",
}  # fmt: skip
_LENGTHS = {
    128: "max_position_embeddings n_positions max_seq_len n_ctx max_sequence_length seq_length vocab_size vocab_size_per_layer_input "
    "unpadded_vocab_size",
    28: "image_size",
    14: "patch_size",
}  # fmt: skip
SMALL = {
    name: size
    for table in (_WIDTHS, _COUNTS, _LENGTHS)
    for size, names in table.items()
    for name in names.split()
}
_TOKENS = ("pad_token_id", "bos_token_id", "eos_token_id")  # written even where a class has none of its own

# What a class asks for beyond small numbers.
SPECIAL: dict[str, dict[str, Any]] = {
    "bailing_hybrid": {"num_experts": 8, "num_expert_group": 2},
    "blt": {"encoder_hash_byte_group_vocab": 200},
    "bamba": {"attn_layer_indices": [1]},
    "cohere_compass_text": {"rope_parameters": {"full_attention": None, "sliding_attention": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}}},
    "dbrx": {"attn_config": {"kv_n_heads": 2, "clip_qkv": 8, "rope_theta": 1e4}, "ffn_config": {"ffn_hidden_size": 24, "hidden_size": 32, "moe_num_experts": 4, "moe_top_k": 2, "ffn_act_fn": {"name": "silu"}}},
    "deepseek_v2": {"first_k_dense_replace": 1, "num_experts_per_tok": 2, "topk_method": "greedy"},
    "doge": {"is_moe": True, "num_experts": 16, "num_experts_per_tok": 2},
    "dory": {"num_hidden_layers": 4, "layer_types": ["sliding_attention", "full_attention"] * 2, "n_input_layers": 1, "n_output_layers": 1},
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2, "first_k_dense_replace": 1},
    "dots3_note_text": {"swa_head_dim": 8},
    "emu3": {"vocabulary_map": {"<image>": 99}},
    "gemma3n_text": {"num_kv_shared_layers": 0, "intermediate_size": [48, 48], "activation_sparsity_pattern": [0.0, 0.0], "altup_num_inputs": 2},
    "gemma4_text": {"enable_moe_block": True, "num_experts": 4, "top_k_experts": 2, "moe_intermediate_size": 24},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"]},
    "hunyuan_v1_dense": {"head_dim": 8, "num_key_value_heads": 2},
    "hunyuan_v1_moe": {"head_dim": 8, "num_key_value_heads": 2},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "kimi_linear": {"num_experts": 8, "num_expert_group": 2},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "mamba2": {"num_heads": 8},
    "ministral": {"head_dim": 8},
    "nemotron": {"num_key_value_heads": 2, "head_dim": 8},
    "qwen4_exp_text": {"indexer_n_heads": 2, "indexer_kv_heads": 1, "indexer_head_dim": 8, "indexer_budget": 8, "indexer_compress_ratio": 4, "hc_lowrank": 8, "ngram_vocab_size_base": 100, "split_ngram_parts": 1},
    "recurrent_gemma": {"block_types": ["recurrent", "attention"]},
    "reformer": {"is_decoder": True, "axial_pos_shape": [8, 16], "axial_pos_embds_dim": [16, 16], "attn_layers": ["local", "lsh"], "num_buckets": 2},
    "roc_bert": {"shape_vocab_size": 128, "pronunciation_vocab_size": 128},
    "xlm": {"emb_dim": 32, "n_langs": 1},
    "xmod": {"default_language": "en_XX"},
    "xlstm": {"hidden_size": 128},
    "zamba": {"num_hidden_layers": 4, "attn_layer_period": 2, "attn_layer_offset": 1, "num_key_value_heads": 4, "attention_head_dim": 16, "layers_block_type": ["mamba", "hybrid"] * 2},
    "zamba2": {"num_hidden_layers": 4, "layers_block_type": ["mamba", "hybrid"] * 2, "num_key_value_heads": 4, "adapter_rank": 4, "mamba_headdim": 8, "n_mamba_heads": 8},
    "zaya": {"num_experts_per_tok": 1},
}  # fmt: skip


def kinds() -> tuple[str, ...]:
    """The kinds of model that `AutoModelForCausalLM` of the installed transformers makes."""
    return tuple(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def kinds_with_images() -> tuple[str, ...]:
    """The kinds that only `AutoModelForImageTextToText` makes."""
    return tuple(
        kind
        for kind in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
        if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    )


def tiny_config(kind: str, **changes: Any) -> PreTrainedConfig:
    """A config of `kind` with two or three layers, and widths of some tens; `changes` override."""
    made = CONFIG_MAPPING[kind]
    values = {**_small(made), **SPECIAL.get(kind, {}), **changes}
    config: PreTrainedConfig = made(**values)
    return config


def _small(made: type[PreTrainedConfig]) -> dict[str, Any]:
    """The arguments of a config class, its parts' too."""
    default = made()
    have = default.to_dict()
    own = (
        getattr(made, "attribute_map", None) or {}
    )  # what the class calls a size that others call something else
    values: dict[str, Any] = {
        own.get(name, name): size
        for name, size in SMALL.items()
        if (there := own.get(name, name)) in have
        and not isinstance(have[there], (list, tuple, dict))
        and (have[there] is not None or name in _TOKENS)
    }
    if "kv_lora_rank" in have and "num_key_value_heads" in values:
        values["num_key_value_heads"] = 4  # latent attention has as many of both
    _layers(have, values)
    for name in getattr(made, "sub_configs", {}) or {}:
        part = getattr(default, name, None)
        if part is not None:
            values[name] = {
                **_small(type(part)),
                **SPECIAL.get(part.model_type, {}),
                "model_type": part.model_type,
            }
    return values


def _layers(have: dict[str, Any], values: dict[str, Any]) -> None:
    """One layer of each type that a class has, at least two."""
    types = have.get("layer_types")
    if isinstance(types, (list, tuple)) and types:
        chosen = list(dict.fromkeys(types))
        chosen += chosen[-1:] * (2 - len(chosen))
        values["layer_types"] = chosen
        values["num_hidden_layers"] = len(chosen)
    kinds_of_mlp = have.get("mlp_layer_types")
    if isinstance(kinds_of_mlp, (list, tuple)) and kinds_of_mlp:
        number = values.get("num_hidden_layers", 2)
        chosen = list(dict.fromkeys(kinds_of_mlp))
        values["mlp_layer_types"] = (chosen + chosen[-1:] * number)[:number]


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """One token a character, for printable ASCII and the line break."""
    characters = ["<pad>", "<eos>", "\n", *map(chr, range(32, 127)), "<unk>"]
    tokenizer = Tokenizer(
        WordLevel({character: i for i, character in enumerate(characters)}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = Split("", "isolated")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", bos_token="<eos>", unk_token="<unk>"
    )
