"""Options of unequal length in tokens are counted, and told where they matter."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from lm_eval.api.instance import Instance

from junkdna_harness.models.option_lengths import note_on_lengths, option_lengths
from junkdna_harness.sweep.plan import build_plan
from junkdna_harness.sweep.run import run_sweep
from tests.commands import lm_eval
from tests.models_factory import save_tiny

TASK = """\
task: TASK
dataset_path: json
dataset_kwargs: {data_files: {test: DATA}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{text}}"
doc_to_choice: "{{options}}"
doc_to_target: 0
target_delimiter: ""
metric_list: [{metric: acc}, {metric: acc_norm}]
metadata: {version: 1.0}
"""
# The tests' tokenizer has a token a character.
ITEMS = [["1", "2"], ["12", "3"], ["12", "34", "5"], ["12", "34"]]
TOLD = "the options differ in tokens in 2 of 4 items of some_options: acc favours the shorter option there. Read acc_norm"


def requests(task: str, *documents: tuple[int, ...], repeats: int = 1) -> list[tuple[Any, list[int]]]:
    """A request for each option of each document, by the number of its tokens."""
    return [
        (Instance("loglikelihood", {}, ("c", "o"), k, (task, number, repeats)), [0] * n)
        for number, lengths in enumerate(documents)
        for k, n in enumerate(lengths)
        for _ in range(repeats)
    ]


def counted(*asked: tuple[Any, list[int]]) -> dict[str, dict[str, int]]:
    return option_lengths([i for i, _ in asked], [tokens for _, tokens in asked])


def test_items_whose_options_differ_are_counted_by_task() -> None:
    some, none = requests("some", (1, 1), (1, 2), (2, 1, 3), (4, 4)), requests("none", (1, 1), (2, 2))
    assert counted(*some, *none) == {"some": {"items": 4, "unequal": 2}}


def test_a_single_continuation_is_no_option_and_repeats_count_once() -> None:
    assert counted(*requests("copy", (1,), (3,))) == {}
    assert counted(*requests("copy", (1,), (3,), repeats=3)) == {}
    assert counted(*requests("some", (1, 2), (1, 1), repeats=3)) == {"some": {"items": 2, "unequal": 1}}


def test_the_note_names_the_worst_tasks_and_counts_the_others() -> None:
    lengths = {f"t{k}": {"items": 10, "unequal": k} for k in range(1, 6)}
    told = note_on_lengths(lengths)
    assert (
        "in 5 of 10 items of t5, in 4 of 10 items of t4, in 3 of 10 items of t3, and in 2 more tasks:" in told
    )
    assert note_on_lengths({}) == ""


def test_counting_costs_next_to_nothing() -> None:
    asked = requests("many", *[(1, 1, 2, 1)] * 25_000)
    started = time.perf_counter()
    assert counted(*asked) == {"many": {"items": 25_000, "unequal": 25_000}}
    assert (
        time.perf_counter() - started < 2
    )  # of 100,000 requests; an eighth of a second where nothing else runs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_tiny("llama", tmp_path / "model")
    (tmp_path / "tasks").mkdir()
    data = tmp_path / "items.jsonl"
    data.write_text("".join(json.dumps({"text": "add 1", "options": o}) + "\n" for o in ITEMS))
    (tmp_path / "tasks" / "some_options.yaml").write_text(
        TASK.replace("TASK", "some_options").replace("DATA", str(data))
    )
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("cached", ["true", "false"])
def test_lm_eval_says_it_once_and_writes_it_down(cached: str, folder: Path) -> None:
    run = lm_eval(
        *("--model_args", f"pretrained=model,sparsity=0,prefix_cache={cached}", "--tasks", "some_options"),
        *("--include_path", "tasks", "--output_path", "out"),
        cwd=folder,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    (line,) = [line for line in run.stderr.splitlines() if "differ in tokens" in line]
    assert line.startswith(f"junkdna-pruned: note: {TOLD}")
    (results,) = folder.glob("out/**/results_*.json")
    block = json.loads(results.read_text())["config"]["junkdna"]
    assert block["option_lengths"] == {"some_options": {"items": 4, "unequal": 2}}


def test_a_sweep_notes_it_once_and_writes_it_down(folder: Path) -> None:
    plan = build_plan(
        tasks="some_options", model_args=f"pretrained={folder / 'model'}", methods="magnitude",
        sparsity="0.3,0.6", include_path=str(folder / "tasks"),
    )  # fmt: skip
    outcome = run_sweep(plan, folder / "sweep")
    assert [note for note in outcome.notes if "differ in tokens" in note] == [
        f"{TOLD} (divided by the option's characters) beside acc."
    ]
    manifests = [json.loads(path.read_text()) for path in (folder / "sweep" / "runs").glob("*.json")]
    assert len(manifests) == 3
    for manifest in manifests:
        assert manifest["manifest"]["option_lengths"] == {"some_options": {"items": 4, "unequal": 2}}
