"""The embedded models' tokenizer: lossless, one token a word of the suite, none across the start of an answer."""

from __future__ import annotations

import random
import re
import string
from typing import Any

import pytest

from difficulty.graded import FAMILIES, TIERS
from difficulty.graded import test_items as items_for_test
from difficulty.graded.families.facts import given_names
from junkdna_harness.embedded.tokenizer import (
    EOS,
    SPLIT,
    VOCABULARY_SIZE,
    Encoder,
    build_tokenizer,
    suite_words,
)


@pytest.fixture
def tokenizer(suite_tokenizer: Any) -> Any:
    return suite_tokenizer


@pytest.mark.parametrize(
    "text",
    [
        "Anna lives in Harwick.\n",
        "def f(x):\n    return x_1 + 22\n\n",
        "Straße, naïve, 日本語, emoji \U0001f600, \x00\x7f, tab\tand\r\n  two blanks ",
        string.printable,
    ],
)
def test_any_text_comes_back(tokenizer: Any, text: str) -> None:
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids) == text
    assert tokenizer.eos_token_id not in ids


def test_quick_encoding_gives_the_same_tokens(tokenizer: Any) -> None:
    encode = Encoder(tokenizer)
    text = "Anna's 2 cats, and Ben_1: é ünd\n  x 345"
    assert encode(text) == tokenizer(text)["input_ids"]
    assert encode.eos == tokenizer.convert_tokens_to_ids(EOS)


def test_letters_and_digits_are_one_token_each(tokenizer: Any) -> None:
    for sign in string.ascii_letters + string.digits:
        assert len(tokenizer(sign)["input_ids"]) == len(tokenizer(f" {sign}")["input_ids"]) == 1
    assert len(tokenizer("1234")["input_ids"]) == 4


def test_words_of_test_items_are_one_token_each_but_for_invented_names(tokenizer: Any) -> None:
    encode = Encoder(tokenizer)
    invented, words, whole = set(given_names()), 0, 0
    for family in FAMILIES:
        for tier in TIERS:
            for item in items_for_test(family, tier, 100):
                for word in re.findall(SPLIT, f"{item.prompt}{item.answer}"):
                    if word.strip() not in invented:
                        words += 1
                        whole += len(encode(word)) == 1
    assert whole / words > 0.99


def test_no_token_reaches_from_a_prompt_into_its_answer(tokenizer: Any) -> None:
    for family in FAMILIES:
        for tier in TIERS:
            for item in items_for_test(family, tier, 100):
                for answer in item.choices or (item.answer,):
                    apart = tokenizer(item.prompt)["input_ids"] + tokenizer(answer)["input_ids"]
                    assert tokenizer(item.prompt + answer)["input_ids"] == apart


def test_the_vocabulary_is_small_and_the_same_every_time(tokenizer: Any) -> None:
    assert len(tokenizer) <= VOCABULARY_SIZE
    counts = suite_words(items_per_tier=50)
    shuffled = list(counts.items())
    random.Random(0).shuffle(shuffled)
    assert build_tokenizer(counts).get_vocab() == build_tokenizer(type(counts)(dict(shuffled))).get_vocab()
