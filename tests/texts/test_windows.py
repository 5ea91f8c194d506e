"""Windows: the same as lm-eval's, and the same as a plain reading of llama.cpp's loop; bytes of tokens add up."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from difficulty.errors import UsageError
from junkdna_harness.texts.documents import Document
from junkdna_harness.texts.windows import TokenizedDocument, cut, tokenize
from tests.models_factory import make_tokenizer


def document(n: int) -> TokenizedDocument:
    return TokenizedDocument(Document("t", 0, ""), np.arange(100, 100 + n), None)


@given(n=st.integers(1, 70), size=st.integers(2, 20))
@settings(max_examples=200, deadline=None)
def test_rolling_windows_are_lm_evals(n: int, size: int) -> None:
    reference = [
        make_disjoint_window(pair)
        for pair in get_rolling_token_windows(list(range(100, 100 + n)), 7, size, 1)
    ]
    found = cut([document(n)], size, "rolling", prefix=7)
    assert len(found) == len(reference)
    for window, (context, continuation) in zip(found, reference, strict=True):
        assert window.targets.tolist() == continuation
        assert window.inputs.tolist() == (context + continuation)[:-1]
        assert window.first == len(context) - 1
        assert window.contexts.tolist() == list(range(len(context), len(context) + len(continuation)))
    assert [w.start for w in found] == list(range(0, n, size))


@given(n=st.integers(1, 90), size=st.integers(2, 20), begin=st.sampled_from([None, 1]))
@settings(max_examples=200, deadline=None)
def test_chunks_are_llama_cpps(n: int, size: int, begin: int | None) -> None:
    """Its loop: chunks of n_ctx tokens, BOS in place of the first, logits from n_ctx / 2 on scored against the next token."""
    tokens = list(range(100, 100 + n))
    expected = []
    for i in range(n // size):
        start = i * size
        chunk = tokens[start : start + size]
        seen = [begin if begin is not None else chunk[0], *chunk[1:]]
        for j in range(size // 2, size - 1):
            expected.append((tuple(seen[: j + 1]), tokens[start + j + 1]))
    found = []
    try:
        windows = cut([document(n)], size, "chunks", 7, begin)
    except UsageError as error:
        assert not expected and "less than one window" in str(error)
        return
    for window in windows:
        for i, target in enumerate(window.targets):
            found.append((tuple(window.inputs[: window.first + i + 1].tolist()), int(target)))
            assert window.contexts[i] == len(found[-1][0])
            assert tokens[window.start + i] == target
    assert found == expected


def test_windows_do_not_cross_documents() -> None:
    found = cut([document(5), document(3)], 4, "rolling", 7)
    assert [(w.document, w.start, len(w.targets)) for w in found] == [(0, 0, 4), (0, 4, 1), (1, 0, 3)]


def test_a_window_predicts_something() -> None:
    with pytest.raises(UsageError, match="predicts nothing"):
        cut([document(5)], 1, "rolling", 7)


def lm(**options: Any) -> Any:
    return SimpleNamespace(tokenizer=make_tokenizer(), **options)


def test_the_bytes_of_the_tokens_are_those_of_the_text() -> None:
    text = "some words, and 12 figures"
    (found,) = tokenize([Document("t", 0, text)], lm())
    assert found.n_bytes is not None and len(found.n_bytes) == len(found.ids)
    assert found.n_bytes.sum() == len(text.encode()) and (found.n_bytes >= 0).all()


def test_bytes_of_characters_that_are_split_over_tokens() -> None:
    from transformers import AutoTokenizer

    from junkdna_harness.embedded import model_path

    tokenizer = AutoTokenizer.from_pretrained(model_path())
    text = "naïve 漢字 🙂 end "
    (found,) = tokenize([Document("t", 0, text)], SimpleNamespace(tokenizer=tokenizer))
    assert found.n_bytes is not None and len(found.ids) > len(text.split())
    assert found.n_bytes.sum() == len(text.encode()) and (found.n_bytes >= 0).all()


def test_a_tokenizer_without_places_has_no_bytes() -> None:
    slow = make_tokenizer()
    stub = SimpleNamespace(tokenizer=_Slow(slow))
    (found,) = tokenize([Document("t", 0, "abc")], stub)
    assert found.n_bytes is None and len(found.ids)


class _Slow:
    is_fast = False

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def __call__(self, text: str, **options: Any) -> Any:
        assert "return_offsets_mapping" not in options
        return self.tokenizer(text, **options)
