"""Training data: nested subsets, no test item, and clear words for what cannot be trained on."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from difficulty.errors import UsageError
from difficulty.graded import FAMILIES, Item, draw_training_item, is_test_item
from junkdna_harness.embedded import model_path
from junkdna_harness.harness.training import Example
from junkdna_harness.recover.data import file_examples, graded_examples, load_data, nested_subset
from junkdna_harness.recover.run import recover
from junkdna_harness.recover.schedule import IGNORED, batches, tokenize
from junkdna_harness.recover.spec import RecoverSpec


@given(
    st.integers(1, 400),
    st.integers(0, 5),
    st.sampled_from([(0.1, 0.25), (0.25, 0.5), (0.5, 0.7), (0.7, 1.0)]),
)
def test_a_smaller_share_is_part_of_a_larger_one(n: int, seed: int, shares: tuple[float, float]) -> None:
    small, large = shares
    if int(n * small + 1e-9) < 1:
        with pytest.raises(UsageError, match="is an empty subset"):
            nested_subset(n, small, seed)
        return
    few, many = nested_subset(n, small, seed), nested_subset(n, large, seed)
    assert set(few) <= set(many)
    assert len(set(few)) == len(few) == int(n * small + 1e-9)
    assert set(nested_subset(n, 1.0, seed)) == set(range(n))


def test_another_seed_draws_another_subset() -> None:
    assert set(nested_subset(1000, 0.1, 0)) != set(nested_subset(1000, 0.1, 1))


def test_all_of_an_endless_generator_is_what_training_sees() -> None:
    """Else a quarter of it and all of it would be one and the same training."""
    shares = {f: load_data("graded", f, seen=640).examples for f in (0.1, 0.25, 0.5, 0.7, 1.0)}
    assert [len(examples) for examples in shares.values()] == [64, 160, 320, 448, 640]
    assert all(shares[1.0][: len(examples)] == examples for examples in shares.values())
    with pytest.raises(UsageError, match=r"fraction=0.01 of the 64 examples of data='graded' is an empty"):
        load_data("graded", 0.01, seen=64)


def test_graded_data_holds_no_test_item_and_every_family(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []

    def record(family: str, tier: int, rng: random.Random) -> Item:
        drawn.append((family, draw_training_item(family, tier, rng)))
        return drawn[-1][1]

    monkeypatch.setattr("junkdna_harness.recover.data.draw_training_item", record)
    examples = graded_examples(100 * len(FAMILIES), 0)
    assert [(e.prompt, e.answer) for e in examples] == [(item.prompt, item.answer) for _, item in drawn]
    assert not any(is_test_item(item) for family, item in drawn if FAMILIES[family].pool is None)
    assert Counter(family for family, _ in drawn) == dict.fromkeys(FAMILIES, 100)
    monkeypatch.undo()
    assert graded_examples(100, 0) == graded_examples(100, 0) != graded_examples(100, 1)


def test_only_the_answer_carries_loss() -> None:
    prompt, answer = "Words: river, stone\nCopy:", " river, stone."
    tokenizer = AutoTokenizer.from_pretrained(model_path())
    asked, whole = tokenizer(prompt)["input_ids"], tokenizer(prompt + answer + "\n")["input_ids"]
    (row,), shortened = tokenize([Example(prompt, answer, "\n")], tokenizer, 64)
    assert not shortened
    assert row["labels"] == [IGNORED] * len(asked) + whole[len(asked) :]
    assert row["input_ids"] == whole


def test_a_prompt_that_is_too_long_loses_its_beginning_and_never_the_answer() -> None:
    tokenizer = AutoTokenizer.from_pretrained(model_path())
    (row,), shortened = tokenize([Example("river," + " river," * 99, " stone.", "\n")], tokenizer, 16)
    assert shortened == 1
    assert len(row["input_ids"]) == 16
    assert [i for i in row["labels"] if i != IGNORED] == tokenizer(" stone.\n")["input_ids"]


def test_a_long_text_is_cut_into_rows_and_nothing_is_lost() -> None:
    tokenizer = AutoTokenizer.from_pretrained(model_path())
    rows, shortened = tokenize([Example("", "abcdefghij" * 7, "")], tokenizer, 16)
    assert not shortened  # a text goes on in the next row
    assert [i for row in rows for i in row["input_ids"]] == tokenizer("abcdefghij" * 7)["input_ids"]
    assert all(row["labels"] == row["input_ids"] for row in rows)


def test_an_epoch_of_batches_holds_every_row_once_and_the_order_follows_the_seed() -> None:
    rows = [{"input_ids": [0] * (i % 7 + 1), "labels": []} for i in range(64)]
    order = batches(rows, 16, 8, seed=0)
    assert sorted(order[:64]) == sorted(order[64:]) == list(range(64))
    assert order == batches(rows, 16, 8, seed=0) != batches(rows, 16, 8, seed=1)
    lengths = [[len(rows[i]["input_ids"]) for i in order[s : s + 8]] for s in range(0, 64, 8)]
    assert (
        sum(max(batch) * 8 - sum(batch) for batch in lengths) < 40
    )  # padding: little, for rows of 1 to 7 tokens


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "x.jsonl",
            '{"text": "a"}\n{"txt": "b"}\n',
            "line 2 of .* has neither 'text' nor 'prompt' and 'answer'",
        ),
        ("x.jsonl", '{"text": "a"\n', "line 1 of .* is no JSON"),
        ("x.txt", "\n\n", "is empty"),
    ],
)
def test_a_broken_file_is_named_with_its_line(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=message):
        file_examples(tmp_path / name)


def test_a_line_separator_within_a_json_string_ends_no_row(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"text": "a\u2028b\x85c"}\n{"text": "d"}\n', encoding="utf-8")
    assert [example.answer for example in file_examples(tmp_path / "x.jsonl")] == ["a\u2028b\x85c", "d"]


def test_unknown_data_says_what_is_allowed() -> None:
    with pytest.raises(UsageError, match=r"data='glue' is unknown. Write graded, task:NAME"):
        load_data("glue")
    with pytest.raises(UsageError, match="there is no file"):
        load_data("nowhere.jsonl")


def test_prompts_that_are_cut_are_told_and_kept_in_the_manifest(
    checkpoint: Path, lines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = RecoverSpec(arm="dense_transfer", data=str(lines), steps=2, batch_size=4, max_length=10)
    done = recover(str(checkpoint), tmp_path / "out", spec)
    assert "8 of 8 examples are longer than max_length=10 tokens" in capsys.readouterr().err
    assert (done.manifest["recovery"]["shortened"], done.manifest["recovery"]["longest_row"]) == (8, 10)
