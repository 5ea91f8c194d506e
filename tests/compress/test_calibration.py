"""Where calibration text comes from, and what is said when there is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from difficulty.errors import UsageError
from difficulty.graded import MEMORY, TIERS
from difficulty.graded import test_items as asked_items
from junkdna_harness.compress.calibration import Calibration, default_seqlen, load_calibration
from junkdna_harness.embedded import skills_texts
from junkdna_harness.harness.training import task_examples
from tests.models_factory import make_model, make_tokenizer

DOCUMENTS = [f"document {i} " + "words and more " * (i % 5 + 3) for i in range(30)]


@pytest.fixture(scope="module")
def model() -> Any:
    return make_model("llama")[0]


def load(model: Any, source: Any, nsamples: int = 4, seqlen: int | None = 32, seed: int = 0) -> Calibration:
    return load_calibration(str(source), make_tokenizer(), model, nsamples=nsamples, seqlen=seqlen, seed=seed)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    file = tmp_path / "text.txt"
    file.write_text("\n\n".join(DOCUMENTS))
    return file


def test_windows_are_cut_from_the_shuffled_documents_without_overlap(model: Any, text: Path) -> None:
    found = load(model, text)
    assert found.ids.shape == (4, 32) and not found.overlapping
    joined = make_tokenizer().decode(found.ids.flatten()).replace(" ", "")
    whole = [document.replace(" ", "") for document in DOCUMENTS]
    assert any(joined.startswith(document) for document in whole)


def test_the_draw_follows_the_seed(model: Any, text: Path) -> None:
    assert torch.equal(load(model, text).ids, load(model, text).ids)
    assert not torch.equal(load(model, text).ids, load(model, text, seed=1).ids)
    assert (
        load(model, text).to_dict()["tokens_sha256"] != load(model, text, seed=1).to_dict()["tokens_sha256"]
    )


def test_little_text_is_used_again_and_said_so(model: Any, tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("just about fifty characters of text, no more than it")
    found = load(model, tmp_path / "short.txt", nsamples=7)
    assert found.ids.shape == (7, 32) and found.overlapping


def test_too_little_text_says_how_much_there_was(model: Any, tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("ten chars.")
    with pytest.raises(UsageError, match=r"holds 12 tokens, less than one sample of seqlen=32"):
        load(model, tmp_path / "short.txt")


@pytest.mark.parametrize(
    "content,message",
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\x89PNG\x00\x01", "is binary"),
        (b"\xff\xfe\xfa", "is binary"),
    ],
)
def test_files_that_hold_no_text(model: Any, tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "bad.txt").write_bytes(content)
    with pytest.raises(UsageError, match=message):
        load(model, tmp_path / "bad.txt")


def test_jsonl_takes_the_text_field_or_the_one_named(model: Any, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(json.dumps({"text": d, "other": d.upper(), "n": 1}) for d in DOCUMENTS))
    plain, named = load(model, file), load(model, f"{file}:other")
    decode = make_tokenizer().decode
    assert decode(plain.ids[0]).upper() == decode(named.ids[0])
    with pytest.raises(UsageError, match="no text field 'n'"):
        load(model, f"{file}:n")


def test_a_line_separator_within_a_json_string_ends_no_row(model: Any, tmp_path: Path) -> None:
    rows = [json.dumps({"text": f"{d}\u2028and\x85more"}, ensure_ascii=False) for d in DOCUMENTS]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows), encoding="utf-8")
    assert load(model, tmp_path / "rows.jsonl").ids.shape == (4, 32)


def test_rows_of_prompt_and_answer_are_read_as_recovery_reads_them(model: Any, tmp_path: Path) -> None:
    file, joined = tmp_path / "rows.jsonl", tmp_path / "text.jsonl"
    file.write_text("\n".join(json.dumps({"prompt": d, "answer": " yes"}) for d in DOCUMENTS))
    joined.write_text("\n".join(json.dumps({"text": f"{d} yes"}) for d in DOCUMENTS) + "\n")
    assert torch.equal(load(model, file).ids, load(model, joined).ids)
    both = tmp_path / "both.jsonl"
    both.write_text(
        "\n".join(json.dumps({"text": f"{d} yes", "prompt": d, "answer": " no"}) for d in DOCUMENTS)
    )
    assert torch.equal(load(model, both).ids, load(model, joined).ids)


@pytest.mark.parametrize(
    "line,message",
    [
        ("{", "line 1: not JSON"),
        ("[1]", "line 1: not a JSON object"),
        ('{"a": "x", "b": "y"}', "Name one of a, b"),
    ],
)
def test_jsonl_that_cannot_be_read(model: Any, tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "rows.jsonl").write_text(line)
    with pytest.raises(UsageError, match=message):
        load(model, tmp_path / "rows.jsonl")


def test_a_source_that_is_not_there(model: Any) -> None:
    with pytest.raises(UsageError, match=r"'no_such\.txt' is no file"):
        load(model, "no_such.txt")
    with pytest.raises(UsageError, match="write hf:dataset"):
        load(model, "hf:")
    with pytest.raises(UsageError, match="could not be loaded"):
        load(model, "hf:no_such/data_set_of_anyone")


def test_a_model_without_text_of_its_own_asks_for_some(model: Any) -> None:
    with pytest.raises(UsageError, match=r"Give calibration=FILE\.txt"):
        load_calibration(None, make_tokenizer(), model, nsamples=1)
    with pytest.raises(UsageError, match="tokenizer"):
        load_calibration(None, None, model, nsamples=1)


def test_any_model_may_look_at_the_suites_training_items(model: Any) -> None:
    """Each is a document; none is of the families that only the embedded models know."""
    found = load_calibration("graded", make_tokenizer(), model, nsamples=8, seqlen=32)
    assert found.source == "graded" and found.ids.shape == (8, 32) and not found.overlapping
    assert found.rows_there > 8
    texts = skills_texts(20_000, 1)
    assert sum(map(len, texts)) >= 20_000 and texts == skills_texts(20_000, 1) != skills_texts(20_000, 2)
    whole = skills_texts(200_000, 3)
    of_memory = {i.prompt for f in MEMORY for tier in TIERS for i in asked_items(f.name, tier, 40)}
    assert not any(text.startswith(tuple(of_memory)) for text in whole)


def test_the_sample_length_has_bounds(model: Any, text: Path) -> None:
    assert default_seqlen(model) == 128  # on a CPU
    assert default_seqlen(make_model("llama", max_position_embeddings=64)[0]) == 64
    assert default_seqlen(model, "cuda") == 128  # the model takes no more
    with pytest.raises(UsageError, match="seqlen=129 is more than the 128 tokens"):
        load(model, text, seqlen=129)


def test_hub_datasets_are_read_by_split_and_column(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    asked: list[Any] = []

    def fake(name: str, config: str | None, split: str) -> Any:
        asked.append((name, config, split))
        return datasets.Dataset.from_dict({"body": DOCUMENTS, "id": list(range(30))})

    monkeypatch.setattr(datasets, "load_dataset", fake)
    found = load(model, "hf:some/set::validation:body")
    assert asked == [("some/set", None, "validation")]
    assert found.source == "hf:some/set::validation:body" and found.ids.shape == (4, 32)
    with pytest.raises(UsageError, match="no column 'x'"):
        load(model, "hf:some/set:::x")


@pytest.mark.slow
def test_a_task_gives_its_training_split_and_never_its_test_items(model: Any) -> None:
    with pytest.raises(UsageError, match="unknown task 'no_such_task'"):
        load(model, "task:no_such_task")
    with pytest.raises(UsageError, match="has no training split"):
        load(model, "task:difficulty_tiers_agreement_t1")


def test_a_tier_s_training_rows_are_read_as_recovery_trains_on_them(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """STS-B's labels are numbers in the file; the tier asks for yes or no."""
    row = {"sentence1": "a dog runs", "sentence2": "a dog is running", "label": 4.8, "idx": 0}
    (tmp_path / "glue_stsb").mkdir()
    for file in ("train", "validation"):
        (tmp_path / "glue_stsb" / f"{file}.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    monkeypatch.setenv("JUNKDNA_DATA", str(tmp_path))
    task = "difficulty_tiers_families_similarity_t2"
    (example,) = task_examples(task)
    assert example.answer == " yes"
    found = load(model, f"task:{task}")
    shown = f"{example.prompt}{example.answer}\n\n"
    assert found.tokens_read == len(make_tokenizer()(shown, add_special_tokens=False)["input_ids"])
