"""A metric of a whole, such as CoLA's correlation, has its standard error also where a worker of a sweep aggregates."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from junkdna_harness.harness import results
from junkdna_harness.harness.results import aggregate
from junkdna_harness.harness.tasks import find_tasks, load_tasks

TASK = "difficulty_tiers_finetune_sentence_t2"


def test_what_is_bootstrapped_is_bootstrapped_in_a_worker_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "glue_cola").mkdir()
    rows = [{"sentence": f"row {i} it is", "label": i % 2, "idx": i} for i in range(20)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "glue_cola" / "validation.jsonl").write_text(text)
    monkeypatch.setenv("JUNKDNA_DATA", str(tmp_path))
    monkeypatch.setattr(results, "BOOTSTRAP_DRAWS", 20)
    tasks = load_tasks(*find_tasks((TASK,))).tasks
    raw: Any = {TASK: {("mcc", "none"): [(i % 2, int(i % 3 == 0)) for i in range(12)]}}
    here = aggregate(tasks, {}, raw)["results"][TASK]
    assert here["mcc_stderr,none"] > 0
    assert "bootstrapping" not in capfd.readouterr().out
    context = multiprocessing.get_context("fork")
    told = context.SimpleQueue()

    def work() -> None:
        try:
            told.put(aggregate(tasks, {}, raw)["results"][TASK])
        except Exception as error:
            told.put(repr(error))

    worker = context.Process(target=work, daemon=True)  # as those of a sweep are
    worker.start()
    assert told.get() == here
    worker.join()
