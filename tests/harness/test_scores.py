"""What a sweep scores is what the `lm_eval` command scores, whatever the kind of task; a task that fails fails alone."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from difficulty.errors import UsageError
from junkdna_harness.harness.tasks import find_tasks
from junkdna_harness.sweep import Store, build_plan, run_sweep
from junkdna_harness.sweep.engines.local import LocalEngine
from junkdna_harness.sweep.machine import Machine
from junkdna_harness.sweep.plan import Settings
from junkdna_harness.sweep.suite import Scores, build_suite
from tests.commands import lm_eval
from tests.harness.own_tasks import write_tasks

BAD = ("own_too_long", "own_raises_prompt", "own_raises_score", "own_raises_mean", "own_raises_data")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tasks(tmp_path_factory.mktemp("tasks"))


@pytest.fixture(scope="module")
def model() -> Any:
    from junkdna_harness.sweep.session import load_model

    return load_model({}, Machine(device="cpu"))


def score(model: Any, folder: Path, *tasks: str) -> Scores:
    settings = Settings(tasks, include_path=str(folder))
    manager, names = find_tasks(tasks, str(folder))
    return build_suite(model, manager, names, settings).score(model)


def numbers(results: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in results.items() if "," in name and "stderr" not in name}


@pytest.mark.slow
def test_perplexity_and_repeats_score_as_the_lm_eval_command_scores_them(
    folder: Path, tmp_path: Path
) -> None:
    tasks = "own_rolling,own_repeats"
    run = lm_eval(
        *("--model_args", "method=magnitude,sparsity=0.5", "--tasks", tasks, "--include_path", str(folder)),
        *("--log_samples", "--output_path", "out"), cwd=tmp_path,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    theirs = json.loads(next((tmp_path / "out").rglob("results_*.json")).read_text())["results"]

    plan = build_plan(tasks=tasks, methods="magnitude", sparsity="0.5", include_path=str(folder))
    assert run_sweep(plan, tmp_path / "sweep", engine=LocalEngine(workers=1)).exit_code == 0
    store = Store(tmp_path / "sweep")
    (manifest,) = [m for m in store.manifests() if m["run"] == "embedded magnitude 0.5"]
    (cell,) = [cell for cell in plan.cells if cell.level == 0.5]
    rows = store.responses(plan, cell).to_dict("records")
    answers = {(row["task"], row["doc_id"]): json.loads(row["metrics"]) for row in rows}
    for task in tasks.split(","):
        ours = numbers(manifest["results"]["results"][task])
        assert ours and ours == pytest.approx(numbers(theirs[task]), rel=1e-5)
        logged = next((tmp_path / "out").rglob(f"samples_{task}_*.jsonl")).read_text().splitlines()
        for sample in map(json.loads, logged):
            for metric in sample["metrics"]:
                answer = answers[task, sample["doc_id"]][metric]
                assert answer == pytest.approx(sample[metric], abs=1e-3)


def test_a_perplexity_is_the_exponential_of_the_mean_loss_per_word(model: Any, folder: Path) -> None:
    found = score(model, folder, "own_rolling")
    total = [
        sum(part) for part in zip(*(s["word_perplexity"] for s in found.samples["own_rolling"]), strict=True)
    ]
    assert found.results["results"]["own_rolling"]["word_perplexity,none"] == pytest.approx(
        math.exp(-total[0] / total[1])
    )


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("own_too_long", "the model cannot answer it: .*max"),
        ("own_raises_prompt", "it cannot be loaded: this document has no prompt"),
        ("own_raises_score", "its answers cannot be scored: this answer has no score"),
        ("own_raises_mean", "its scores cannot be aggregated: these scores have no mean"),
        ("own_raises_data", "it cannot be loaded: .*file"),
    ],
)
def test_a_task_that_cannot_run_is_named_and_the_others_keep_their_scores(
    model: Any, folder: Path, bad: str, why: str
) -> None:
    alone = score(model, folder, "own_choice", "own_rolling")
    found = score(model, folder, "own_choice", bad, "own_rolling")
    assert list(found.failed) == [bad] and re.search(why, found.failed[bad])
    assert set(found.samples) == set(found.results["results"]) == {"own_choice", "own_rolling"}
    for task in ("own_choice", "own_rolling"):
        assert numbers(found.results["results"][task]) == numbers(alone.results["results"][task])
        assert found.samples[task] == alone.samples[task]


def test_all_failures_of_a_run_are_named(model: Any, folder: Path) -> None:
    assert set(score(model, folder, "own_choice", *BAD).failed) == set(BAD)


def test_a_group_with_a_failed_task_has_no_row(model: Any, folder: Path) -> None:
    found = score(model, folder, "own_group")
    assert list(found.samples) == ["own_choice"] and list(found.failed) == ["own_too_long"]
    assert "own_group" not in found.results["results"]


def test_a_run_in_which_no_task_can_run_fails(model: Any, folder: Path) -> None:
    with pytest.raises(
        UsageError, match="no task can be evaluated: own_too_long: the model cannot answer it"
    ):
        score(model, folder, "own_too_long")
    with pytest.raises(UsageError, match="no task can be evaluated: own_raises_data"):
        score(model, folder, "own_raises_data")


@pytest.mark.parametrize("task", ["own_choice", "own_rolling"])
def test_a_log_likelihood_that_is_no_number_fails_the_run(
    model: Any, folder: Path, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "score", lambda passes, tokens, **_: [(float("nan"), False)] * len(tokens))
    monkeypatch.setattr(model, "loglikelihood_rolling", lambda requests, **_: [float("nan")] * len(requests))
    with pytest.raises(FloatingPointError, match="log-likelihoods are not a number"):
        score(model, folder, task, "own_too_long")


def test_scores_of_numpys_types_are_rows_as_well(folder: Path, tmp_path: Path) -> None:
    plan = build_plan(tasks="own_numpy", methods="magnitude", sparsity="0", include_path=str(folder))
    assert run_sweep(plan, tmp_path / "sweep", engine=LocalEngine(workers=1)).exit_code == 0
    table = Store(tmp_path / "sweep").samples()
    means = table.groupby("metric")["value"].mean()
    assert {name: means[name] for name in ("acc", "hit", "sure")} == {"acc": 0.25, "hit": 1.0, "sure": 1.0}
    assert set(Store(tmp_path / "sweep").items()["target"]) == {"[0, 1]"}


def test_memory_that_runs_out_in_one_task_does_not_cost_the_others(
    model: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def generate(requests: Any, **_: Any) -> list[str]:
        raise torch.OutOfMemoryError("tried to allocate 20 GiB")

    monkeypatch.setattr(model, "generate_until", generate)
    found = score(model, folder, "own_choice", "own_repeats")
    assert found.failed == {"own_repeats": "the model cannot answer it: tried to allocate 20 GiB"}
    assert list(found.samples) == ["own_choice"]


def test_one_kind_of_request_that_fails_in_one_task_is_answered_in_the_others(
    model: Any, folder: Path
) -> None:
    """Two tasks generate text; the model refuses the long one, so that lm-eval's call for both raises."""
    settings = Settings(("own_too_long", "own_repeats"), include_path=str(folder))
    suite = build_suite(model, *find_tasks(settings.tasks, str(folder)), settings)
    told: list[int] = []
    found = suite.score(model, told.append)
    assert sum(told) == suite.n_requests  # whoever draws a bar sees it end
    assert list(found.failed) == ["own_too_long"]
    assert found.samples["own_repeats"] == score(model, folder, "own_repeats").samples["own_repeats"]
    assert all(len(sample["resps"][0]) == 3 for sample in found.samples["own_repeats"])
