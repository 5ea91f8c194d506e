"""Tiers of tokens against plain readings of their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from junkdna_harness.texts.documents import Document
from junkdna_harness.texts.tiers import copy, frequency, position, quarters
from junkdna_harness.texts.tokens import BLOCK, TokenizedText
from junkdna_harness.texts.windows import TokenizedDocument, cut


def text(*documents: list[int], size: int = 512) -> TokenizedText:
    tokenized = [
        TokenizedDocument(Document("t", i, str(ids)), np.asarray(ids), np.ones(len(ids), dtype=np.int64))
        for i, ids in enumerate(documents)
    ]
    return TokenizedText(tokenized, cut(tokenized, size, "rolling", prefix=0))


def test_a_token_is_as_frequent_as_in_the_other_half() -> None:
    """Block 0 holds 1s and 2s, block 1 holds 2s and 3s: in the other half, 1 never occurs, 2 often, 3 never."""
    n = BLOCK // 2
    found = frequency(text([1] * n + [2] * n + [2] * n + [3] * n))
    assert (found[:n] == found[-1]).all() and (found[n : 3 * n] == found[n]).all()
    assert found[n] < found[0]  # 2 is easier, although 1 and 3 are as frequent in the whole


def test_positions_are_the_tokens_that_are_seen() -> None:
    for size, begins in ((512, (16, 64, 256)), (128, (4, 16, 64))):
        sample = text(list(range(1, 1500)), size=size)
        found, context = position(sample), sample.context
        for tier, low, high in zip((4, 3, 2, 1), (1, *begins), (*begins, 10**9), strict=True):
            assert ((found == tier) == ((context >= low) & (context < high))).all() and (found == tier).any()


def test_copies_are_the_longest_runs_that_the_window_showed() -> None:
    rng = np.random.default_rng(0)
    ids = rng.integers(1, 5, 400).tolist()
    sample = text(ids, size=100)
    found = copy(sample)
    at = 0
    for window in sample.windows:
        whole = [*window.inputs.tolist(), int(window.targets[-1])]
        for i in range(window.first + 1, len(whole)):
            longest = 0
            for n in range(1, 5):
                run = whole[i - n + 1 : i + 1]
                if i - n + 1 >= 0 and any(whole[j : j + n] == run for j in range(i - n + 1)):
                    longest = n
            expected = {0: 4, 1: 3, 2: 2, 3: 2, 4: 1}[longest]
            assert found[at] == expected
            at += 1
    assert at == len(found) and set(found.tolist()) == {1, 2, 3, 4}


def test_quarters_keep_equal_values_together() -> None:
    assert quarters(np.arange(8.0)).tolist() == [1, 1, 2, 2, 3, 3, 4, 4]
    assert quarters(np.array([5.0, 1.0, 1.0, 1.0])).tolist() == [4, 2, 2, 2]
    assert len(set(quarters(np.zeros(9)).tolist())) == 1
    assert quarters(np.random.default_rng(0).random(1000)).tolist().count(3) == 250


def test_blocks_and_hashes() -> None:
    one, two = text([1] * 300, [2] * 10), text([1] * 300, [2] * 11)
    assert one.block.tolist() == [0] * 256 + [1] * 44 + [2] * 10
    assert one.sha256 != two.sha256 and one.sha256 == text([1] * 300, [2] * 10).sha256
    assert one.sha256 != text([1] * 300, [2] * 10, size=100).sha256
    assert one.n_bytes.sum() == 310 and one.source[0] == "t"


@pytest.mark.parametrize("family", [frequency, position, copy])
def test_every_token_has_a_tier(family: object) -> None:
    sample = text(np.random.default_rng(1).integers(1, 50, 900).tolist(), [3, 4], size=64)
    found = family(sample)  # type: ignore[operator]
    assert found.shape == (902,) and set(found.tolist()) <= {1, 2, 3, 4}
