"""The embedded models' tokenizer: byte-level BPE in which nearly every word of the suite is one token.

Any text comes back as it was: what is no word of the suite falls apart into pieces, at worst bytes. Digits stand alone.
A token never reaches across a word's start, so that a prompt and its answer have the same tokens together and apart.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

from difficulty.graded import FAMILIES, TIERS, Item, draw_training_item
from difficulty.graded.families.facts import LETTERS, given_names

EOS = "<eos>"
MAX_LENGTH = 2048
VOCABULARY_SIZE = 4096  # at most
PIECES = 512  # learned merges, for words that the suite does not have
ITEMS_PER_TIER = 4000  # read to find the suite's words
# A word, a digit or a sign, each with the blank before it; or one blank.
SPLIT = r" ?[^\W\d_]+| ?\d| ?[^\w\s]| ?_|\s"
_SPLIT = re.compile(SPLIT)


def suite_words(items_per_tier: int = ITEMS_PER_TIER) -> Counter[str]:
    """How often each word, digit and sign stands in the suite's training items."""
    counts: Counter[str] = Counter()
    rng = random.Random("vocabulary")
    for item in _items(rng, items_per_tier):
        counts.update(_SPLIT.findall("\n".join([item.prompt + item.answer, *item.choices])))
    return counts


def _items(rng: random.Random, per_tier: int) -> Iterator[Item]:
    for family in FAMILIES:
        for tier in TIERS:
            for _ in range(per_tier):
                yield draw_training_item(family, tier, rng)


def build_tokenizer(counts: Counter[str] | None = None, size: int = VOCABULARY_SIZE) -> Any:
    """A `PreTrainedTokenizerFast` for text with these words; the suite's own without arguments."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    counts = suite_words() if counts is None else counts
    vocabulary, merges = _vocabulary(counts, size)
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=EOS,
        pad_token=EOS,
        model_max_length=MAX_LENGTH,
        clean_up_tokenization_spaces=False,
    )


def _vocabulary(counts: Counter[str], size: int) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Ids of the end, the bytes, the learned pieces, single letters and digits, then words, the most frequent first."""
    from tokenizers import pre_tokenizers

    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    as_bytes = {word: level.pre_tokenize_str(word)[0][0] for word in counts}
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = _merges({as_bytes[word]: min(count, 1000) for word, count in sorted(counts.items())})
    singles = [f"Ġ{sign}" for sign in LETTERS + LETTERS.upper() + "0123456789"]
    invented = {f" {name}" for name in given_names()} | set(given_names())
    words = [
        as_bytes[w] for w, _ in sorted(counts.items(), key=lambda kv: (-kv[1], kv[0])) if w not in invented
    ]
    tokens = dict.fromkeys([EOS, *alphabet, *("".join(pair) for pair in merges), *singles, *words])
    return {token: number for number, token in enumerate(list(tokens)[:size])}, merges


def _merges(words: dict[str, int]) -> list[tuple[str, str]]:
    """The most frequent pairs, joined one after the other; of pairs as frequent, the first in the alphabet."""
    split = {word: tuple(word) for word in words}
    merges: list[tuple[str, str]] = []
    pairs: Counter[tuple[str, str]] = Counter()
    where: dict[tuple[str, str], set[str]] = {}
    for word, parts in split.items():
        _count(pairs, where, word, parts, words[word])
    while len(merges) < PIECES and pairs:
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        if pairs[best] <= 0:
            break
        merges.append(best)
        for word in sorted(where[best]):
            _count(pairs, where, word, split[word], -words[word])
            split[word] = _join(split[word], best)
            _count(pairs, where, word, split[word], words[word])
    return merges


def _count(
    pairs: Counter[tuple[str, str]],
    where: dict[tuple[str, str], set[str]],
    word: str,
    parts: tuple[str, ...],
    count: int,
) -> None:
    for pair in zip(parts, parts[1:], strict=False):
        pairs[pair] += count
        where.setdefault(pair, set()).add(word)


def _join(parts: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    joined: list[str] = []
    for part in parts:
        if joined and (joined[-1], part) == pair:
            joined[-1] += part
        else:
            joined.append(part)
    return tuple(joined)


class Encoder:
    """Token ids as the tokenizer gives them, looked up word by word: training text is made faster than it is learned."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._known: dict[str, list[int]] = {}

    @cached_property
    def eos(self) -> int:
        """The id that pads and ends."""
        return int(self.tokenizer.eos_token_id)

    def __call__(self, text: str) -> list[int]:
        """The ids of `text`."""
        return [number for word in _SPLIT.findall(text) for number in self._word(word)]

    def _word(self, word: str) -> Iterable[int]:
        known = self._known.get(word)
        if known is None:
            known = self._known[word] = self.tokenizer(word)["input_ids"]
        return known
