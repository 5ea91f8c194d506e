"""How many tokens a model takes, whatever its config calls that."""

from __future__ import annotations

# As lm-eval reads them, then what other configs say: MPT, DBRX, speech decoders.
_NAMES = (
    "n_positions",
    "max_position_embeddings",
    "n_ctx",
    "max_seq_len",
    "max_sequence_length",
    "max_target_positions",
)


def longest_text(config: object) -> int | None:
    """Tokens that a model of this config takes at most, of a composite its text part; None where nothing limits them."""
    getter = getattr(config, "get_text_config", None)
    for part in (getter() if callable(getter) else config, config):
        for name in _NAMES:
            value = getattr(part, name, None)
            if isinstance(value, int) and value > 0:
                return value
    return None
