"""Tiers say whose scores made them, in their files, in lm-eval's results, in a sweep's store, and in the tidy table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from difficulty.graded import splits
from difficulty.runs.provenance import TIERS_FROM, cut_from, makers_of
from difficulty.runs.read import read_runs
from difficulty.runs.table import read_table, write_table
from junkdna_harness.sweep import build_plan, run_sweep
from junkdna_harness.sweep.engines.local import LocalEngine
from junkdna_harness.sweep.export import export
from junkdna_harness.tiers.build import plan_tiers, tier_files, write_tiers
from junkdna_harness.tiers.show import folder_text
from tests.tiers.conftest import BENCHMARKS

HERE = LocalEngine(workers=1)
OPTIONS = """\
task: options
dataset_path: json
dataset_kwargs: {data_files: {test: DATA}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{prompt}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{choices.index(answer)}}"
target_delimiter: ""
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""


def cut(read) -> dict[str, tuple[str, ...]]:
    return cut_from(read.table, read.runs)


def test_a_run_that_made_the_tiers_is_known_in_every_log_on_them(small_task, tmp_path, log_run):
    made = log_run(tmp_path / "made", ["own_obqa"], small_task)
    plan = plan_tiers("own_obqa", "dense_margin", 3, include_path=str(small_task), scores=[made])
    write_tiers(plan, tmp_path / "tiers")
    tier = yaml.safe_load((tmp_path / "tiers" / f"{plan.name}_t2.yaml").read_text())
    (entry,) = tier["metadata"][TIERS_FROM]
    assert (entry["run"], entry["model"], entry["method"], entry["level"]) == ("a dense", "a", "dense", 0.0)
    assert entry["cross_fitted"] is False and "prompts" not in entry
    source = json.loads((tmp_path / "tiers" / "assignment.json").read_text())["source"]
    assert source["cross_fitted"] is False and source["made_by"][0]["run"] == "a dense"
    assert f"{made} (a dense)" in " ".join(folder_text(tmp_path / "tiers").split())  # lines are folded

    own = log_run(tmp_path / "own", [plan.name], tmp_path / "tiers", "a", limit=20)
    other = log_run(tmp_path / "other", [plan.name], tmp_path / "tiers", "b", limit=20)
    results = json.loads(next(own.rglob("results_*.json")).read_text())
    assert results["configs"][f"{plan.name}_t1"]["metadata"][TIERS_FROM] == [entry]
    assert cut(read_runs([own, other])) == {"own_obqa": ("a dense",)}
    assert cut(read_runs([other])) == {}
    assert [maker.run.model for maker in makers_of(read_runs([other]).table)["own_obqa"]] == ["a"]


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_a_written_table_says_it_too(small_task, tmp_path, log_run, ending):
    made = log_run(tmp_path / "made", ["own_obqa"], small_task)
    plan = plan_tiers("own_obqa", "dense_margin", 2, include_path=str(small_task), scores=[made])
    write_tiers(plan, tmp_path / "tiers")
    own = log_run(tmp_path / "own", [plan.name], tmp_path / "tiers", "a", limit=5)
    whole = log_run(tmp_path / "whole", ["own_obqa"], small_task, "b", limit=5)  # says nothing of tiers
    read = read_runs([own, whole])
    write_table(read.table, tmp_path / f"t.{ending}")
    again = read_table(tmp_path / f"t.{ending}")
    assert cut_from(again) == {"own_obqa": ("a dense",)}
    assert set(again.loc[again["model"] == "b", TIERS_FROM]) == {""}


def test_cross_fitted_tiers_may_judge_the_evaluation_that_was_kept_back_and_not_the_one_that_made_them(
    small_task, tmp_path, log_run
):
    runs = {
        shots: log_run(tmp_path / f"shots{shots}", ["own_obqa"], small_task, num_fewshot=shots)
        for shots in (0, 2)
    }
    plan = plan_tiers(
        "own_obqa", "dense_margin", 3, include_path=str(small_task), scores=list(map(str, runs.values()))
    )
    (maker,) = plan.runs.makers(plan.assignment.items(1))
    assert maker.cross_fitted and len(maker.prompts) == 4
    made = next(shots for shots, folder in runs.items() if str(folder) == plan.runs.made_by[0].folder)
    write_tiers(plan, tmp_path / "tiers")
    for limit in (None, 3):
        for shots in runs:
            name = f"judged{shots}{limit}"
            log = log_run(tmp_path / name, [plan.name], tmp_path / "tiers", num_fewshot=shots, limit=limit)
            assert cut(read_runs(log)) == ({"own_obqa": ("a dense",)} if shots == made else {})
    # without prompts nothing tells the two evaluations apart, and the metadata say that one was kept back
    table = read_runs(tmp_path / f"judged{made}None").table
    assert cut_from(table.drop(columns="prompt_hash")) == {}


def test_where_another_model_was_kept_back_the_maker_is_known_by_its_name(small_task, tmp_path, log_run):
    runs = [log_run(tmp_path / name, ["own_obqa"], small_task, name) for name in ("a", "b")]
    plan = plan_tiers("own_obqa", "dense_margin", 3, include_path=str(small_task), scores=runs)
    (made,) = plan.runs.made_by
    (entry,) = plan.runs.makers(plan.assignment.items(1))
    assert not entry.cross_fitted
    write_tiers(plan, tmp_path / "tiers")
    logs = [log_run(tmp_path / f"on_{n}", [plan.name], tmp_path / "tiers", n, limit=4) for n in ("a", "b")]
    assert cut(read_runs(logs)) == {"own_obqa": (made.run,)}


def test_tiers_that_an_older_version_built_say_it_when_they_are_loaded(small_task, tmp_path, log_run):
    made = log_run(tmp_path / "made", ["own_obqa"], small_task)
    plan = plan_tiers("own_obqa", "dense_margin", 2, include_path=str(small_task), scores=[made])
    write_tiers(plan, tmp_path / "tiers")
    for path in (tmp_path / "tiers").glob("*_t?.yaml"):
        body = yaml.safe_load(path.read_text())
        del body["metadata"][TIERS_FROM]
        path.write_text(yaml.safe_dump(body))
    assignment = tmp_path / "tiers" / "assignment.json"
    found = json.loads(assignment.read_text())
    found["source"] = {"metric": "margin", "made_by": [{"folder": "made", "model": "a"}], "judge_with": []}
    assignment.write_text(json.dumps(found))
    log = log_run(tmp_path / "own", [plan.name], tmp_path / "tiers", "a", limit=4)
    assert cut(read_runs(log)) == {"own_obqa": ("a dense",)}


def test_ready_made_tiers_from_a_models_margins_name_that_model(benchmark_data, evaluate):
    data = {"data_dir": str(benchmark_data)}
    results = evaluate(["difficulty_tiers_arc_easy_margin_t1"], BENCHMARKS, limit=2, metadata=data)
    metadata = results["configs"]["difficulty_tiers_arc_easy_margin_t1"]["metadata"]
    assert metadata[TIERS_FROM] == [{"model": "smollm2-135m"}]


def test_tiers_by_a_rule_of_the_items_come_from_no_run(small_task, tmp_path, log_run):
    plan = plan_tiers("own_obqa", "answer_length", 2, include_path=str(small_task))
    assert TIERS_FROM not in "".join(tier_files(plan).values())
    write_tiers(plan, tmp_path / "tiers")
    read = read_runs(log_run(tmp_path / "own", [plan.name], tmp_path / "tiers", "a", limit=4))
    assert TIERS_FROM not in read.table and cut(read) == {}


@pytest.fixture
def options_task(tmp_path) -> Path:
    """A task of the user's own, on questions that the embedded model was trained for."""
    folder = tmp_path / "tasks"
    folder.mkdir()
    rows = [
        {"prompt": i.prompt, "answer": i.answer, "choices": list(i.choices)}
        for i in splits.test_items("hypernyms", 3, 80)
    ]
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "options.yaml").write_text(OPTIONS.replace("DATA", str(folder / "data.jsonl")))
    return folder


def _swept(folder: Path, tasks: str, sparsity: str, **options) -> Path:
    plan = build_plan(tasks=tasks, methods="magnitude", sparsity=sparsity, **options)
    assert run_sweep(plan, folder, engine=HERE).exit_code == 0
    return folder


def test_tiers_of_an_embedded_task_hold_its_own_documents(tmp_path, evaluate, monkeypatch):
    """Its documents are made of the metadata `family` and `tier`, which a tier of it has anew."""
    task = "difficulty_tiers_hypernyms_t3"
    (tmp_path / "own_rule.py").write_text("def last(doc):\n    return ord(doc['answer'].strip()[-1])\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    plan = plan_tiers(task, "own_rule:last", 2, min_items=20, name="halves")
    assert sum(tier.n_items for tier in plan.assignment.tiers) == 250
    write_tiers(plan, tmp_path / "tiers")
    results = evaluate(["halves"], tmp_path / "tiers", limit=2)
    assert results["configs"]["halves_t2"]["metadata"]["tier"] == 2
    assert results["configs"]["halves_t2"]["metadata"]["family"] == task


def test_a_pruned_run_of_the_embedded_model_that_made_the_tiers_is_known_in_a_sweeps_folder(
    options_task, tmp_path
):
    """By its weights: a copy of the folder under another model's name is still the run that made them."""
    export(_swept(tmp_path / "first", "options", "0.7", include_path=str(options_task)), tmp_path / "logs")
    made = str(tmp_path / "logs" / "magnitude_0.7")
    plan = plan_tiers(
        "options", "dense_margin", 2, include_path=str(options_task), scores=[made], name="own_tiers"
    )
    write_tiers(plan, tmp_path / "tiers")
    (maker,) = plan.runs.makers()
    assert str(maker.run) == "embedded magnitude 0.7" and len(maker.weights_sha256) == 64
    folder = _swept(tmp_path / "s", "own_tiers", "0.5,0.7", include_path=str(tmp_path / "tiers"), limit=8)
    read = read_runs(folder)
    assert set(read.names) == {"embedded dense", "embedded magnitude 0.5", "embedded magnitude 0.7"}
    assert cut(read) == {"options": ("embedded magnitude 0.7",)}
    export(folder, tmp_path / "exported")
    assert cut(read_runs(tmp_path / "exported")) == cut(read)
    renamed = read.table.assign(model="renamed", run=read.table["run"].str.replace("embedded", "renamed"))
    runs = read.runs.assign(run=read.runs["run"].str.replace("embedded", "renamed"))
    assert cut_from(renamed, runs) == {"options": ("renamed magnitude 0.7",)}
    assert cut_from(renamed, None) == {}
