"""The embedded model's tokenizer: one token a character of printable ASCII, plus newline."""

from __future__ import annotations

import string
from typing import Any

EOS, UNKNOWN = "<eos>", "<unk>"
CHARACTERS = "\n" + "".join(sorted(set(string.printable) - set(string.whitespace) | {" "}))
VOCABULARY: dict[str, int] = {token: i for i, token in enumerate([EOS, UNKNOWN, *CHARACTERS])}
MAX_LENGTH = 256


def encode(text: str) -> list[int]:
    """Token ids of `text`, as the saved tokenizer gives them."""
    return [VOCABULARY.get(character, VOCABULARY[UNKNOWN]) for character in text]


def build_tokenizer() -> Any:
    """A `PreTrainedTokenizerFast` that splits text into characters."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel(VOCABULARY, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=EOS,
        pad_token=EOS,
        unk_token=UNKNOWN,
        model_max_length=MAX_LENGTH,
        clean_up_tokenization_spaces=False,
    )
