"""Claims about parting local rows into training and test rows."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from difficulty.errors import UsageError
from junkdna_harness.tiers.split import Split, normalised

SPLIT = Split(("first", "second"), 0.6, label="label")
WORDS = ("ann", "bob", "ran", "slept", "home", "far")


def rows(seed: int, n: int = 60) -> list[dict[str, Any]]:
    """Rows of few words, so that texts come again, in other letters and with other marks."""
    rng = random.Random(seed)

    def text() -> str:
        words = " ".join(rng.choices(WORDS, k=4))
        return rng.choice((words, words.title(), f" {words} !", words.replace(" ", ", ")))

    return [{"first": text(), "second": text(), "label": rng.randint(0, 1)} for _ in range(n)]


def texts(of: list[dict[str, Any]], chosen: list[int]) -> set[str]:
    return {normalised(of[i][column]) for i in chosen for column in SPLIT.texts}


@given(st.integers(0, 50), st.integers(0, 3))
def test_every_row_is_on_one_side_and_no_text_on_both(seed: int, drawn: int) -> None:
    found = rows(seed)
    train, test = Split(SPLIT.texts, SPLIT.train, drawn, SPLIT.label).of(found, "rows")
    assert sorted(train + test) == list(range(len(found)))
    assert not texts(found, train) & texts(found, test)


def test_rows_go_where_their_texts_and_the_seed_say_whatever_their_order() -> None:
    found = rows(1)
    shuffled = random.Random(9).sample(found, len(found))
    sides = [
        Counter(str(of[i]) for i in SPLIT.of(of, "rows")[0])
        for of in (found, shuffled, list(reversed(found)))
    ]
    assert sides[0] == sides[1] == sides[2]
    assert SPLIT.of(found, "rows") == SPLIT.of(found, "rows")
    assert Split(SPLIT.texts, SPLIT.train, 1, SPLIT.label).of(found, "rows") != SPLIT.of(found, "rows")


def test_labels_are_as_frequent_among_the_training_rows_as_among_all() -> None:
    found = [{"text": f"row number {i}", "label": int(i % 10 == 0)} for i in range(200)]
    train, test = Split(("text",), 0.6, label="label").of(found, "rows")
    assert (len(train), len(test)) == (120, 80)
    assert sum(found[i]["label"] for i in train) == 12


def test_a_label_may_be_left_out() -> None:
    found = [{"text": f"row number {i}", "score": i / 10} for i in range(10)]
    assert [len(side) for side in Split(("text",), 0.5).of(found, "rows")] == [5, 5]


def test_what_is_a_text_is_its_words() -> None:
    assert normalised("It 's FINE , really .") == normalised("it's fine, really") == "it s fine really"
    assert normalised(" ... ") == "..." != normalised("?")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"texts": ["a"], "train": 1.5}, "train: 1.5. Give the share"),
        ({"texts": ["a"], "train": True}, "train: True. Give the share"),
        ({"texts": "a", "train": 0.5}, "texts: 'a'. List the columns"),
        ({"texts": ["a"], "train": 0.5, "lable": "x"}, "no key 'lable'.*Did you mean 'label'"),
        ({"texts": ["a"], "train": 0.5, "seed": "x"}, "seed: 'x'. Give a whole number"),
    ],
)
def test_what_cannot_be_asked_for(given: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        Split.from_config(given)


def test_rows_that_cannot_be_parted_are_named() -> None:
    with pytest.raises(UsageError, match="here has a row without 'second'"):
        SPLIT.of([{"first": "a", "label": 1}], "here")
    alike = [{"first": "the same", "second": str(i), "label": 0} for i in range(8)]
    with pytest.raises(UsageError, match="here has 8 rows, which cannot be parted"):
        SPLIT.of(alike, "here")
