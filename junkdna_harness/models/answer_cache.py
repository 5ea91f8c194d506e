"""What decides the answers of a model, as the key of its answers in the cache of `lm_eval --use_cache`."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from junkdna_harness.compress.hashing import combine, hash_named, weights_sha256
from junkdna_harness.compress.running import facts_of

# What decides an answer beside weights, tokenizer and request; the batch size and the prefix cache do not.
DECIDING = (
    "_max_length", "truncation", "add_bos_token", "custom_prefix_token_id", "softmax_dtype", "mixed_precision_dtype",
    "think_end_token", "enable_thinking", "chat_template_args", "backend",
)  # fmt: skip


def fingerprint(lm: Any) -> str:
    """One sha256 of all that decides what the model answers to a request."""
    config = {
        k: v
        for k, v in lm.model.config.to_dict().items()
        if k not in ("_name_or_path", "transformers_version")
    }
    facts = {
        "weights": weights_sha256(lm.model),
        "buffers": combine(hash_named((n, b.data) for n, b in lm.model.named_buffers())),
        "adapters": str(getattr(lm.model, "peft_config", None)) + str(_active(lm.model)),
        "running": facts_of(lm.model),
        "config": config,
        "tokenizer": _tokenizer(lm.tokenizer),
        **{name: getattr(lm, name, None) for name in DECIDING},
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def _active(model: Any) -> object:
    """Adapters that are still apart from the weights, and in use."""
    return getattr(model, "active_adapters", None) if hasattr(model, "peft_config") else None


def _tokenizer(tokenizer: Any) -> list[Any]:
    fast = getattr(tokenizer, "backend_tokenizer", None)
    rules = fast.to_str() if fast is not None else sorted(tokenizer.get_vocab().items())
    return [rules, str(tokenizer.special_tokens_map), tokenizer.padding_side, type(tokenizer).__name__]
