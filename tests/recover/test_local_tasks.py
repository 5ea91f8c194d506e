"""Training on the rows of a benchmark that lie in the user's own folder, asked and answered as lm-eval's task does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from difficulty.errors import UsageError
from junkdna_harness.harness.training import Example
from junkdna_harness.recover.data import load_data

SST2 = [
    {"sentence": "a warm and funny film", "label": 1, "idx": 0},
    {"sentence": "dull", "label": 0, "idx": 1},
]
COLA = [
    {"sentence": "The cat sat.", "label": 1, "idx": 0},
    {"sentence": "Cat the sat.", "label": 0, "idx": 1},
]
QNLI = [{"question": "Who ran?", "sentence": "Ann ran.", "label": 0, "idx": 0}]
RTE = [{"sentence1": "Ann ran home.", "sentence2": "Ann slept.", "label": 1, "idx": 0}]
STSB = [{"sentence1": "A dog runs.", "sentence2": "A dog is running.", "label": 4.8, "idx": 0}]
QQP = [{"question1": "What is a?", "question2": "Who is b?", "label": 0, "idx": 0}]
GSM8K = [
    {"question": f"Two, {n} times?", "answer": f"2 * {n} = {2 * n}\n" * n + f"#### {2 * n}"}
    for n in range(1, 9)
]


def arc(question: str) -> dict[str, Any]:
    choices = {"text": ["one", "two", "three", "four"], "label": ["A", "B", "C", "D"]}
    return {"id": question, "question": question, "choices": choices, "answerKey": "C"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Training and evaluation rows, as a user lays them out."""
    rows = {
        "glue_sst2": ("validation", SST2), "glue_cola": ("validation", COLA), "glue_qnli": ("validation", QNLI),
        "glue_rte": ("validation", RTE), "glue_stsb": ("validation", STSB), "glue_qqp": ("sample", QQP),
        "arc_easy": ("test", [arc("Which is third?"), arc("Which then?")]), "gsm8k": ("test", GSM8K),
    }  # fmt: skip
    for name, (split, content) in rows.items():
        (tmp_path / name).mkdir()
        for file in (split, "train"):
            text = "".join(json.dumps(row) + "\n" for row in content)
            (tmp_path / name / f"{file}.jsonl").write_text(text, encoding="utf-8")
    monkeypatch.setenv("JUNKDNA_DATA", str(tmp_path))
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("group", "answers"),
    [
        ("sentence", [" positive", " negative", " yes", " no"]),
        ("inference", [" yes", " False"]),  # QNLI and RTE as lm-eval asks them
        ("similarity", [" no", " yes"]),  # QQP, and STS-B asked like it
    ],
)
def test_glue_pairs_train_on_local_rows(group: str, answers: list[str]) -> None:
    data = load_data(f"task:difficulty_tiers_families_{group}", seed=0)
    assert sorted(e.answer for e in data.examples) == sorted(answers)
    assert all(e.prompt.strip() for e in data.examples)


@pytest.mark.usefixtures("folder")
def test_a_prompt_is_the_one_that_is_evaluated() -> None:
    data = load_data("task:difficulty_tiers_arc_t1")
    assert data.examples[0] in (
        Example("Question: Which is third?\nAnswer:", " three"),
        Example("Question: Which then?\nAnswer:", " three"),
    )
    solved = load_data("task:difficulty_tiers_gsm8k_steps").examples
    assert Example("Question: Two, 1 times?\nAnswer:", " 2 * 1 = 2\n#### 2") in solved
    assert len(solved) == len(GSM8K)


@pytest.mark.usefixtures("folder")
def test_tiers_of_one_benchmark_bring_its_training_rows_once() -> None:
    """Four tiers of shots ask the same; two, three and four options ask each question three times."""
    assert len(load_data("task:difficulty_tiers_arc_easy_shots")) == 2
    assert len(load_data("task:difficulty_tiers_arc_easy_options")) == 2


def test_without_training_rows_the_folder_is_no_source(folder: Path) -> None:
    (folder / "glue_sst2" / "train.jsonl").unlink()
    with pytest.raises(UsageError, match=r"'difficulty_tiers_families_sentence_t1' has no training split"):
        load_data("task:difficulty_tiers_families_sentence_t1")
