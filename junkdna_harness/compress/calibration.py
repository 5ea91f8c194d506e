"""The text that calibrated methods look at: a file, a data set, a task's training split, or the embedded model's own."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from difficulty.errors import UsageError
from difficulty.runs.checkpoint import EMBEDDED
from junkdna_harness.compress.sources import NO_SOURCE, texts_of
from junkdna_harness.compress.targets import device_of
from junkdna_harness.embedded import SUITE_MARK, calibration_text, is_embedded
from junkdna_harness.texts.limit import longest_text
from junkdna_harness.texts.vocabulary import refuse_unknown_tokens

LONG = 2048  # tokens a sample on an accelerator, as in the papers
SHORT = 128  # tokens a sample on a CPU, where the papers' amount would take hours


@dataclass(frozen=True)
class Calibration:
    """Token numbers, int64, shape (nsamples, seqlen), and where they came from.

    `rows` are the texts that they were cut from, each as the first bytes of its sha256, of `rows_there` different ones.
    """

    ids: Tensor
    source: str
    seed: int
    tokens_read: int
    overlapping: bool
    rows: frozenset[bytes] = frozenset()
    rows_there: int = 0

    def to_dict(self) -> dict[str, Any]:
        """For the manifest: the source, the amount, and the sha256 of the tokens used."""
        return {
            "source": self.source,
            "nsamples": self.ids.shape[0],
            "seqlen": self.ids.shape[1],
            "seed": self.seed,
            "tokens_read": self.tokens_read,
            "overlapping": self.overlapping,
            "tokens_sha256": hashlib.sha256(self.ids.contiguous().numpy().tobytes()).hexdigest(),
        }


def load_calibration(
    source: str | None,
    tokenizer: Any,
    model: nn.Module,
    *,
    nsamples: int,
    seqlen: int | None = None,
    seed: int = 0,
) -> Calibration:
    """`nsamples` windows of `seqlen` tokens, drawn with `seed`.

    `source`: a text or jsonl file (`FILE.jsonl:FIELD` names the field), `hf:dataset[:config[:split[:column]]]`,
    `task:NAME` (the training split of an lm-eval task), `graded` (training items of the suite in plain English), or None for the embedded model's own text. The documents are
    shuffled and joined; the windows do not overlap unless there is too little text.

    Raises:
        UsageError: no source, an unreadable one, or less text than one window.
    """
    if tokenizer is None:
        raise UsageError(
            "calibration needs the model's tokenizer. Pass tokenizer=, or name a model that has one."
        )
    length = _length(model, seqlen)
    name, documents = _documents(source, model, nsamples * length, seed)
    random.Random(seed).shuffle(documents)
    tokens, read = _tokens(documents, tokenizer, nsamples * length)
    if len(tokens) < length:
        raise UsageError(
            f"calibration {name!r} holds {len(tokens)} tokens, less than one sample of seqlen={length}. "
            f"Give more text, or a smaller seqlen."
        )
    refuse_unknown_tokens(getattr(model, "name_or_path", "") or "the model", int(tokens.max()), model)
    enough = len(tokens) >= nsamples * length
    generator = torch.Generator().manual_seed(seed)
    if enough:
        starts = torch.arange(nsamples) * length
    else:
        starts = torch.randint(len(tokens) - length + 1, (nsamples,), generator=generator)
    ids = tokens[starts[:, None] + torch.arange(length)]
    rows = frozenset(hashlib.sha256(text.encode()).digest()[:8] for text in documents[:read])
    return Calibration(ids, name, seed, len(tokens), not enough, rows, len(set(documents)))


def default_seqlen(model: nn.Module, device: str | None = None) -> int:
    """Tokens a sample where the user names none: 2048 on an accelerator, 128 on a CPU, at most what the model takes."""
    wish = SHORT if (device or device_of(model).type) == "cpu" else LONG
    return min(wish, longest_input(model) or wish)


def longest_input(model: nn.Module) -> int | None:
    """As many tokens as the model takes; None where its config does not say."""
    return longest_text(getattr(model, "config", None))


def _length(model: nn.Module, given: int | None) -> int:
    if given is None:
        return default_seqlen(model)
    longest = longest_input(model)
    if longest is not None and given > longest:
        raise UsageError(f"seqlen={given} is more than the {longest} tokens that the model takes. Give less.")
    return given


def _tokens(documents: Sequence[str], tokenizer: Any, wanted: int) -> tuple[Tensor, int]:
    """Token numbers of the documents, joined, until there are `wanted`; and how many documents that took."""
    found: list[int] = []
    read = 0
    for document in documents:
        found += tokenizer(document, add_special_tokens=False, verbose=False)["input_ids"]
        read += 1
        if len(found) >= wanted:
            break
    return torch.tensor(found, dtype=torch.int64), read


def _documents(source: str | None, model: nn.Module, wanted: int, seed: int) -> tuple[str, list[str]]:
    """The source's name for the manifest, and its texts, each ending in a blank line."""
    if source is None or is_embedded(source):
        if not hasattr(getattr(model, "config", None), SUITE_MARK):
            raise UsageError(NO_SOURCE)
        return EMBEDDED, [calibration_text(wanted * 2, seed)]
    return source, [f"{text.strip()}\n\n" for text in texts_of(source, wanted, seed) if text.strip()]
