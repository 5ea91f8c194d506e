"""What a language model must be able to do so that lm-eval's tasks can be asked of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class LanguageModel(Protocol):
    """The part of `lm_eval.api.model.LM` that is used here. Each method gets requests and answers in their order."""

    tokenizer_name: str

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Of each (context, continuation): the log-likelihood in nats, and whether every token is the argmax."""

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """Of each (text,): its log-likelihood in nats, from the first token on."""

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Of each (context, generation arguments): the text generated."""

    def apply_chat_template(self, chat_history: Any, add_generation_prompt: bool = True) -> str:
        """The turns of a chat as one prompt."""
