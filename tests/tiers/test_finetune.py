"""Claims about the groups for fine-tuning: which rows are trained on and which are asked, and that it is said wherever it matters."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from difficulty.runs.read import read_runs
from junkdna_harness.harness.tasks import find_tasks, leaves, load_tasks
from junkdna_harness.recover.data import load_data
from junkdna_harness.tiers.split import normalised
from tests.commands import lm_eval

PAIRS = "difficulty_tiers_finetune"
SST2 = "difficulty_tiers_finetune_sentence_t1"
REAL = {  # of these rows
    "difficulty_tiers_finetune_sentence_t1": (523, 349),
    "difficulty_tiers_finetune_sentence_t2": (625, 418),
    "difficulty_tiers_finetune_inference_t1": (900, 600),
    "difficulty_tiers_finetune_inference_t2": (167, 110),
}


def films(n: int, first: int = 0) -> list[dict[str, Any]]:
    words = ("dull", "fine")
    return [{"sentence": f"film {i} is {words[i % 2]}", "label": i % 2, "idx": i} for i in range(first, n)]


def write(folder: Path, split: str, rows: list[dict[str, Any]]) -> None:
    (folder / "glue_sst2").mkdir(exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "glue_sst2" / f"{split}.jsonl").write_text(text, encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Validation rows alone."""
    write(tmp_path, "validation", films(50))
    monkeypatch.setenv("JUNKDNA_DATA", str(tmp_path))
    return tmp_path


def task(name: str = SST2) -> Any:
    return load_tasks(*find_tasks((name,))).tasks[name]


@pytest.mark.usefixtures("folder")
def test_validation_rows_are_parted_where_there_are_no_training_rows() -> None:
    found = task()
    assert (len(list(found.training_docs())), len(found.eval_docs)) == (30, 20)
    assert found.config.metadata["data_rows"] == "validation rows split by seed 0: 30 train, 20 test"
    assert found.config.metadata["chance"] == 0.5
    data = load_data(f"task:{SST2}")
    assert (len(data), data.rows) == (30, found.config.metadata["data_rows"])
    group = load_data("task:difficulty_tiers_finetune_sentence_t[1]")
    assert group.rows == data.rows


def test_real_training_rows_are_used_and_all_validation_rows_are_the_test(folder: Path) -> None:
    write(folder, "train", films(90, 50))
    found = task()
    assert (len(list(found.training_docs())), len(found.eval_docs)) == (40, 50)
    assert found.config.metadata["data_rows"] == "rows of local files: 40 train (train), 50 test (validation)"


def test_chance_is_what_knowing_the_labels_shares_scores(folder: Path) -> None:
    write(folder, "train", films(90, 50))
    write(folder, "validation", [{**row, "label": int(row["idx"] >= 10)} for row in films(50)])
    assert task().config.metadata["chance"] == 0.8


def test_a_log_of_lm_eval_says_which_rows_were_asked(folder: Path) -> None:
    out = lm_eval("--model_args", "sparsity=0", "--tasks", SST2, "--limit", "4", "--output_path", str(folder / "out"),
                  "--log_samples", cwd=folder)  # fmt: skip
    assert out.returncode == 0, out.stderr
    assert read_runs(folder / "out").warnings == (
        f"training and test rows: {SST2}: validation rows split by seed 0: 30 train, 20 test.",
    )


def test_runs_that_were_asked_other_rows_are_told(folder: Path) -> None:
    logs = []
    for n, out in ((50, "a"), (60, "b")):
        write(folder, "validation", films(n))
        sparsity = f"method=magnitude,sparsity={0.5 if logs else 0}"
        done = lm_eval("--model_args", sparsity, "--tasks", SST2, "--output_path", str(folder / out), "--log_samples",
                       cwd=folder)  # fmt: skip
        assert done.returncode == 0, done.stderr
        logs.append(folder / out)
    told = [w for w in read_runs(logs).warnings if "rows" in w]
    assert told[1] == f"the runs did not see the same rows of {SST2}: their scores do not compare."


def test_no_test_item_of_the_real_rows_is_in_training(
    benchmark_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUNKDNA_DATA", str(benchmark_data))
    names = list(leaves(*find_tasks((PAIRS,))))
    assert names == list(REAL)

    def digest(text: str) -> str:
        return hashlib.sha256(normalised(text).encode()).hexdigest()

    for name in names:
        found = task(name)
        data = load_data(f"task:{name}")
        trained = {digest(example.prompt) for example in data.examples}
        asked = {digest(found.doc_to_text(doc)) for doc in found.eval_docs}
        assert (len(data), len(found.eval_docs)) == REAL[name]
        assert not trained & asked
        texts = [
            column
            for column in ("sentence", "question", "sentence1", "sentence2")
            if column in found.eval_docs[0]
        ]
        sides = [
            {digest(doc[column]) for doc in docs for column in texts}
            for docs in (found.training_docs(), found.eval_docs)
        ]
        assert not sides[0] & sides[1]
        assert re.fullmatch(r"validation rows split by seed 0: \d+ train, \d+ test", str(data.rows))


def test_shares_of_the_training_rows_are_nested(folder: Path) -> None:
    shares = [set(load_data(f"task:{SST2}", share, 0).examples) for share in (0.1, 0.25, 0.5, 1.0)]
    assert [len(share) for share in shares] == [3, 7, 15, 30]
    assert all(a < b for a, b in zip(shares, shares[1:], strict=False))
    shutil.rmtree(folder / "glue_sst2")
