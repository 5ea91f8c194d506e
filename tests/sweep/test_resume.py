"""A folder's runs are of one model, one calibration text and one set of items: what differs is refused before anything is run."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from difficulty.errors import UsageError
from junkdna_harness.sweep import Store, build_plan, run_sweep
from junkdna_harness.sweep.engines.local import LocalEngine
from junkdna_harness.sweep.machine import Machine
from tests.conftest import ROOT
from tests.models_factory import save_tiny

TASK = "difficulty_tiers_copying_t1"
HERE = LocalEngine(workers=1)
QUESTIONS = [
    ("how many is one and one", "two"),
    ("what is red and round", "apple"),
    ("say yes", "yes"),
    ("say no", "no"),
]
YAML = """
task: own_questions
dataset_path: json
dataset_kwargs: {{data_files: {{test: "{data}", train: "{data}"}}}}
test_split: test
fewshot_split: train
output_type: multiple_choice
doc_to_text: "{{{{question}}}}?"
doc_to_choice: ["two", "apple", "yes", "no"]
doc_to_target: answer
num_fewshot: 2
metric_list: [{{metric: acc}}{more}]
metadata: {{version: {version}}}
"""


def sweep(
    folder: Path, *, extend: bool = False, machine: Machine | None = None, engine: Any = HERE, **options: Any
):
    given = {"tasks": TASK, "methods": "magnitude", "sparsity": "0.5", "limit": 6, **options}
    return run_sweep(build_plan(**given), folder, machine, engine, extend)


def runs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "runs").glob("*.json")}


def refused(folder: Path, told: str, **options: Any) -> None:
    """More levels are refused, and nothing in the folder is touched."""
    before = runs(folder)
    with pytest.raises(UsageError, match=told):
        sweep(folder, extend=True, sparsity="0.5,0.7", **options)
    assert runs(folder) == before


def text(path: Path, word: str) -> Path:
    path.write_text("\n\n".join(f"{word} {i} of many words in a row" for i in range(200)))
    return path


def tasks(
    folder: Path, answers: Callable[[int], str] = lambda i: QUESTIONS[i][1], more: str = "", version: int = 1
) -> Path:
    """A folder with a task of one's own, and its data."""
    folder.mkdir(exist_ok=True)
    data = folder / "data.jsonl"
    data.write_text(
        "".join(
            json.dumps({"question": q, "answer": answers(i)}) + "\n" for i, (q, _) in enumerate(QUESTIONS)
        )
    )
    (folder / "own.yaml").write_text(YAML.format(data=data, more=more, version=version))
    from junkdna_harness.harness import tasks as looked_up

    looked_up._found.clear()  # as in a new process
    return folder


def change_config(model: Path, **values: Any) -> None:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, **values}))


def change_tokenizer(model: Path) -> None:
    path = model / "tokenizer.json"
    content = json.loads(path.read_text())
    vocabulary = content["model"]["vocab"]
    first, second = [word for word in vocabulary if len(word) == 1][:2]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda m: save_tiny("llama", m, seed=1), r"its weights \(sha256\) was .*\.\.\., and is now"),
        (lambda m: save_tiny("llama", m, dtype="bfloat16"), "its dtype was float32, and is now bfloat16"),
        (lambda m: change_tokenizer(m), r"its tokenizer \(sha256\) was"),
        (lambda m: (m / "chat_template.jinja").write_text("{{ messages[0].content }}"), "its tokenizer"),
        (lambda m: change_config(m, rms_norm_eps=0.1), r"its configuration \(sha256\) was"),
    ],
    ids=["weights", "dtype", "tokenizer", "chat template", "configuration"],
)
def test_another_model_under_the_same_name_is_refused(tmp_path, change, told):
    model = save_tiny("llama", tmp_path / "m")
    given = {"model_args": f"pretrained={model}"}
    sweep(tmp_path / "s", **given)
    change(model)
    refused(tmp_path / "s", told, **given)
    shutil.rmtree(model)
    save_tiny("llama", model)  # brought back
    assert len(sweep(tmp_path / "s", extend=True, sparsity="0.5,0.7", **given).finished) == 1


def test_a_store_of_an_older_version_is_checked_by_what_its_runs_say(tmp_path):
    model = save_tiny("llama", tmp_path / "m")
    given = {
        "model_args": f"pretrained={model},nsamples=2,seqlen=16,calibration={text(tmp_path / 'c.txt', 'word')}"
    }
    sweep(tmp_path / "s", methods="wanda", **given)
    make_old(tmp_path / "s")
    text(tmp_path / "c.txt", "other")
    refused(tmp_path / "s", "its calibration was", methods="wanda", **given)
    text(tmp_path / "c.txt", "word")
    save_tiny("llama", model, seed=1)
    refused(tmp_path / "s", r"its weights \(sha256\) was", methods="wanda", **given)
    save_tiny("llama", model)
    outcome = sweep(tmp_path / "s", extend=True, methods="wanda", sparsity="0.5,0.7", **given)
    assert len(outcome.finished) == 1 and len(outcome.skipped) == 2 and not outcome.notes
    assert (tmp_path / "s" / "identity.json").is_file()


def make_old(folder: Path) -> None:
    """The folder as a version wrote it that recorded neither hashes nor what was loaded."""
    (folder / "identity.json").unlink()
    plan = json.loads((folder / "plan.json").read_text())
    del plan["runs"]
    (folder / "plan.json").write_text(json.dumps(plan))
    for path in (folder / "runs").glob("*.json"):
        manifest = json.loads(path.read_text())
        for name in ("schema", "files", "failed_tasks", "made_of"):
            del manifest[name]
        path.write_text(json.dumps(manifest))


def test_another_calibration_text_in_the_same_file_is_refused(tmp_path):
    given = {
        "model_args": f"calibration={text(tmp_path / 'c.txt', 'word')},nsamples=2,seqlen=16",
        "methods": "wanda",
    }
    sweep(tmp_path / "s", **given)
    text(tmp_path / "c.txt", "other")
    refused(tmp_path / "s", r"its calibration was .*c\.txt with seed 0.*tokens_sha256", **given)
    refused(tmp_path / "s", "its calibration was", quantize="gptq:4", **given)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"answers": lambda i: "yes"}, r"its items \(sha256\) of task was own_questions"),
        ({"version": 2}, "its version of task was own_questions: 1, and is now own_questions: 2"),
        ({"more": ", {metric: acc_norm}"}, r"its configuration \(sha256\) of task was own_questions"),
    ],
    ids=["data", "version", "metrics"],
)
def test_another_task_under_the_same_name_is_refused(tmp_path, change, told):
    given = {"tasks": "own_questions", "include_path": str(tasks(tmp_path / "t"))}
    sweep(tmp_path / "s", **given)
    tasks(tmp_path / "t", **change)
    refused(tmp_path / "s", told, **given)


def test_a_function_that_a_tasks_own_function_calls_is_part_of_the_task(tmp_path):
    folder = tasks(tmp_path / "t")
    with (folder / "own.yaml").open("a") as handle:
        handle.write("process_results: !function judge.judge\n")
    code = "def value():\n    return {}\n\n\ndef judge(doc, results):\n    return {{'acc': value()}}\n"
    given = {"tasks": "own_questions", "include_path": str(folder)}
    (folder / "judge.py").write_text(code.format(1.0))
    sweep(tmp_path / "s", **given)
    from junkdna_harness.harness import tasks as looked_up

    looked_up._found.clear()
    (folder / "judge.py").write_text(code.format(0.0))
    refused(tmp_path / "s", r"its configuration \(sha256\) of task was own_questions", **given)


def test_one_of_two_models_that_changed_is_refused_by_name(tmp_path):
    first, second = save_tiny("llama", tmp_path / "a"), save_tiny("llama", tmp_path / "b", seed=1)
    given = {"model_args": [f"pretrained={first}", f"pretrained={second}"]}
    sweep(tmp_path / "s", **given)
    save_tiny("llama", second, seed=2)
    with pytest.raises(UsageError, match=r"model '.*/b' is not what the runs"):
        sweep(tmp_path / "s", extend=True, sparsity="0.5,0.7", **given)
    assert sorted(path.stem for path in (tmp_path / "s" / "runs").glob("1-*")) == [
        "1-b_dense",
        "1-b_magnitude_0.5",
    ]


def test_a_finished_sweep_says_that_its_model_has_changed_since(tmp_path):
    model = save_tiny("llama", tmp_path / "m")
    sweep(tmp_path / "s", model_args=f"pretrained={model}")
    assert not sweep(tmp_path / "s", model_args=f"pretrained={model}").notes
    save_tiny("llama", model, seed=1)
    outcome = sweep(tmp_path / "s", model_args=f"pretrained={model}")
    assert (
        len(outcome.skipped) == 2
        and "have changed since its runs in this folder were made" in outcome.notes[0]
    )


def test_the_machine_may_change(tmp_path):
    sweep(tmp_path / "s", model_args="batch_size=4")
    given = {"model_args": "batch_size=8,prefix_cache=false", "extend": True, "sparsity": "0.5,0.7"}
    outcome = sweep(tmp_path / "s", machine=Machine(prefix_cache=False, batch_size=2), **given)
    assert len(outcome.skipped) == 2 and not outcome.notes


def test_another_lm_eval_goes_on_and_says_so(tmp_path, monkeypatch):
    from junkdna_harness.sweep import fingerprint

    sweep(tmp_path / "s")
    here = fingerprint.version
    monkeypatch.setattr(fingerprint, "version", lambda name: "0.5.0" if name == "lm-eval" else here(name))
    outcome = sweep(tmp_path / "s", extend=True, sparsity="0.5,0.7")
    assert len(outcome.finished) == 1
    assert outcome.notes == [
        f"the runs in this folder were begun with lm-eval {here('lm-eval')}, and go on with 0.5.0: scores may differ for that "
        "reason alone."
    ]


def test_a_folder_without_a_finished_run_belongs_to_no_model_yet(tmp_path):
    model = save_tiny("llama", tmp_path / "m")
    sweep(tmp_path / "s", model_args=f"pretrained={model}")
    shutil.rmtree(tmp_path / "s" / "runs")
    save_tiny("llama", model, seed=1)
    outcome = sweep(tmp_path / "s", model_args=f"pretrained={model}")
    assert len(outcome.finished) == 2 and not outcome.notes
    record = json.loads((tmp_path / "s" / "identity.json").read_text())["fingerprint"]
    assert record["weights_sha256"] == Store(tmp_path / "s").manifests()[0]["weights_sha256"]


def test_workers_with_a_session_of_their_own_refuse_in_the_same_words(tmp_path):
    model = save_tiny("llama", tmp_path / "m")
    given = {"model_args": f"pretrained={model}"}
    sweep(tmp_path / "s", **given)
    save_tiny("llama", model, seed=1)
    refused(
        tmp_path / "s", r"its weights \(sha256\) was", engine=LocalEngine(devices=("cpu", "cpu:0")), **given
    )


@pytest.mark.slow
def test_ray_refuses_in_the_same_words(tmp_path, monkeypatch):
    pytest.importorskip("ray")
    from junkdna_harness.sweep.engines.ray import RayEngine

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    model = save_tiny("llama", tmp_path / "m")
    given = {"model_args": f"pretrained={model}"}
    sweep(tmp_path / "s", **given)
    save_tiny("llama", model, seed=1)
    refused(tmp_path / "s", r"its weights \(sha256\) was", engine=RayEngine(workers=1), **given)
