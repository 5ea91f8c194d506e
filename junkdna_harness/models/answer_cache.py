"""`lm_eval --use_cache` keyed by the model: lm-eval's own key is the request alone, so a pruned model got dense answers."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from typing import Any

from lm_eval.api.model import CacheHook

from difficulty.errors import UsageError
from junkdna_harness.compress import weights_sha256
from junkdna_harness.compress.hashing import combine, hash_named

# What decides an answer beside weights, tokenizer and request; the batch size and the prefix cache do not.
DECIDING = (
    "_max_length", "truncation", "add_bos_token", "custom_prefix_token_id", "softmax_dtype", "mixed_precision_dtype",
    "think_end_token", "enable_thinking", "chat_template_args", "backend",
)  # fmt: skip


class KeyedHook(CacheHook):  # type: ignore[misc]
    """lm-eval's hook, for one model: entries of other models in the same file, and those of `hf`, are not seen."""

    def __init__(self, hook: Any, lm: Any) -> None:
        super().__init__(None)
        self.dbdict = hook.dbdict
        if self.dbdict is not None:
            key_by(self.dbdict, fingerprint(lm))

    def add_partial(self, attr: str, req: Iterable[Any], res: Any) -> None:
        """Keep an answer, unless it is none: what is not a number is refused, and must not be found the next time."""
        value = res[0] if isinstance(res, tuple) else res
        if not (isinstance(value, float) and (math.isnan(value) or value == math.inf)):
            super().add_partial(attr, req, res)


def key_by(database: Any, prefix: str) -> None:
    """Put `prefix` before every key of the database that lm-eval opened; it reads and writes through the same object.

    Raises:
        UsageError: the package below it is too old for that.
    """
    if not hasattr(database, "encode_key"):
        raise UsageError(
            "--use_cache needs sqlitedict 2.0 or newer: its keys must hold which model answered. Update it, or leave "
            "--use_cache out."
        )
    database.encode_key = lambda key: f"{prefix}/{key}"
    database.decode_key = lambda key: key.partition("/")[2]


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
