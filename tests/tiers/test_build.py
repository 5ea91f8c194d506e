"""Claims about `junkdna tiers build`: any task, the same bytes, the union scores as the original, clear refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from difficulty.errors import UsageError
from junkdna_harness.tiers.build import plan_tiers, tier_files, write_tiers
from junkdna_harness.tiers.config import read_config, to_live, to_plain
from junkdna_harness.tiers.show import folder_text, plan_text, plot_plan
from junkdna_harness.tiers.source import find_task
from tests.tiers.conftest import make_lm


def _mean(results: dict[str, Any], metric: str) -> tuple[float, int]:
    """Mean of a metric over all items of all tasks, and their number."""
    total = n = 0.0
    for task, count in results["n-samples"].items():
        value = next(v for k, v in results["results"][task].items() if k.split(",")[0] == metric)
        total, n = total + value * count["effective"], n + count["effective"]
    return total / n, int(n)


def test_tiers_of_an_own_task_score_together_as_the_task_and_run_from_their_folder_alone(
    own_task, tmp_path, evaluate
):
    plan = plan_tiers("own_obqa", "answer_length", 4, include_path=str(own_task))
    write_tiers(plan, tmp_path / "out")
    (own_task / "own.yaml").rename(own_task / "moved")  # the original's folder is not needed any more
    tiers = evaluate([plan.name], tmp_path / "out")
    (own_task / "moved").rename(own_task / "own.yaml")
    whole = evaluate(["own_obqa"], own_task)
    score, n = _mean(tiers, "acc")
    assert n == 500 and len(tiers["n-samples"]) == 4
    assert score == pytest.approx(_mean(whole, "acc")[0], abs=1e-12)
    # the group's own row is the union too
    assert tiers["results"][plan.name]["acc,none"] == pytest.approx(score, abs=1e-12)


def test_the_same_call_writes_the_same_bytes(own_task, tmp_path):
    for name in ("one", "two"):
        write_tiers(plan_tiers("own_obqa", "answer_length", 3, include_path=str(own_task)), tmp_path / name)
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert one == two and len(one) == 6


def test_the_files_are_readable_and_say_what_they_are(own_task, tmp_path):
    plan = plan_tiers("own_obqa", "answer_length", 4, include_path=str(own_task))
    files = tier_files(plan)
    assert files[f"{plan.name}.yaml"].startswith(f"group: {plan.name}\n")
    tier = yaml.safe_load(files[f"{plan.name}_t2.yaml"])
    assert tier["metadata"] == {
        "axis": "answer_length", "family": "own_obqa", "tier": 2, "n_tiers": 4, "chance": 0.25, "version": 2.0,
    }  # fmt: skip
    assignment = json.loads(files["assignment.json"])
    assert [t["items"] for t in assignment["tiers"]] == [t.n_items for t in plan.assignment.tiers]
    assert (
        len(assignment["items"]) == 500 and assignment["rule"] == "answer_length" and assignment["seed"] == 0
    )
    write_tiers(plan, tmp_path / "out")
    shown = folder_text(tmp_path / "out")
    assert "500 items of own_obqa" in shown and all(str(t.n_items) in shown for t in plan.assignment.tiers)
    assert plan_text(plan).count("\n") == 5


def test_the_plot_is_a_picture_and_the_same_each_time(own_task, tmp_path):
    plan = plan_tiers("own_obqa", "answer_length", 4, include_path=str(own_task))
    for name in ("a.png", "b.png"):
        plot_plan(plan, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UsageError, match=r"End it in \.png"):
        plot_plan(plan, tmp_path / "a.jpg")


FUNCTIONS = """
def process_docs(docs):
    return docs.map(lambda doc: {"gold": doc["choices"]["label"].index(doc["answerKey"])})

def text(doc):
    return "Think. " + doc["question_stem"]

def half(values):
    return sum(values) / len(values) / 2
"""

WITH_FUNCTIONS = """\
include: base.yaml
task: with_functions
process_docs: !function helpers.process_docs
doc_to_text: !function helpers.text
doc_to_target: gold
metric_list:
  - {metric: acc, aggregation: !function helpers.half, higher_is_better: true}
"""


def test_functions_of_the_task_are_found_from_a_folder_with_a_dot(own_task, tmp_path, evaluate):
    (own_task / "helpers.py").write_text(FUNCTIONS)
    (own_task / "base.yaml").write_text((own_task / "own.yaml").read_text().replace("own_obqa", "base_task"))
    (own_task / "fn.yaml").write_text(WITH_FUNCTIONS)
    plan = plan_tiers("with_functions", "context_length", 2, include_path=str(own_task))
    write_tiers(plan, tmp_path / "out")
    lm = make_lm()
    tiers = evaluate([plan.name], tmp_path / "out", lm)
    assert all(context.startswith("Think. ") for context, _ in lm.seen)
    whole = make_lm()
    whole_score = _mean(evaluate(["with_functions"], own_task, whole), "acc")[0]
    assert sorted(lm.seen) == sorted(whole.seen)
    assert _mean(tiers, "acc")[0] == pytest.approx(whole_score, abs=1e-12)
    # a mean of halves is no mean: the group makes no claim about it
    assert "aggregate_metric_list" not in yaml.safe_load(tier_files(plan)[f"{plan.name}.yaml"])
    (own_task / "helpers.py").unlink()
    from junkdna_harness.tiers.config import FunctionRef

    with pytest.raises(UsageError, match="Put the file back"):
        FunctionRef("text", file=str(own_task / "gone.py")).load()


CLASS_TASK = """
from lm_eval.api.task import ConfigurableTask

class Shout(ConfigurableTask):
    VERSION = 3
    def __init__(self, config=None):
        config = {k: v for k, v in (config or {}).items() if k != "class"}
        super().__init__(config={**config, "dataset_path": "json", "test_split": "test", "output_type": "generate_until",
            "doc_to_text": "{{question}}", "doc_to_target": "{{answer}}",
            "dataset_kwargs": {"data_files": {"test": "DATA"}},
            "generation_kwargs": {"until": ["!"]},
            "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}]})
    def doc_to_text(self, doc, doc_to_text=None):
        return doc["question"].upper()
"""


def test_a_python_class_task_that_generates_text(tmp_path, benchmark_data, evaluate):
    folder = tmp_path / "cls"
    folder.mkdir()
    data = benchmark_data / "nq_open_closed_book" / "validation.jsonl"
    (folder / "shout.py").write_text(CLASS_TASK.replace("DATA", str(data)))
    (folder / "shout.yaml").write_text("task: shout\nclass: !function shout.Shout\n")
    plan = plan_tiers("shout", "answer_length", 3, include_path=str(folder))
    write_tiers(plan, tmp_path / "out")
    lm, whole = make_lm(), make_lm()
    tiers = evaluate([plan.name], tmp_path / "out", lm)
    evaluate(["shout"], folder, whole)
    assert sorted(lm.seen) == sorted(whole.seen) and len(lm.seen) == 1000
    assert all(context.isupper() for context, _ in lm.seen)
    assert set(tiers["n-samples"]) == {f"shout_answer_length_t{i}" for i in (1, 2, 3)}
    assert tiers["configs"]["shout_answer_length_t1"]["metadata"]["tier"] == 1


def test_a_loglikelihood_task_and_one_that_ships_with_lm_eval(tmp_path, benchmark_data, evaluate):
    folder = tmp_path / "ll"
    folder.mkdir()
    (folder / "ll.yaml").write_text(
        "task: last_word\ndataset_path: json\n"
        f"dataset_kwargs: {{data_files: {{test: {benchmark_data / 'glue_sst2' / 'validation.jsonl'}}}}}\n"
        "test_split: test\noutput_type: loglikelihood\n"
        "doc_to_text: \"{{sentence.strip().split(' ')[:-1] | join(' ')}}\"\n"
        "doc_to_target: \" {{sentence.strip().split(' ')[-1]}}\"\n"
        "metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]\n"
    )
    plan = plan_tiers("last_word", "context_length", 4, include_path=str(folder), min_items=100)
    write_tiers(plan, tmp_path / "out")
    tiers, whole = evaluate([plan.name], tmp_path / "out"), evaluate(["last_word"], folder)
    assert _mean(tiers, "acc") == pytest.approx(_mean(whole, "acc"))
    assert set(plan.chance.values()) == {0.0}


def test_items_never_change_with_model_arguments(own_task, tmp_path, evaluate):
    plan = plan_tiers("own_obqa", "answer_length", 2, include_path=str(own_task))
    write_tiers(plan, tmp_path / "out")
    strange = {
        "tier": 2,
        "seed": 7,
        "bins": 5,
        "by": "context_length",
        "n_tiers": 9,
        "assignment": "x",
        "pretrained": "y",
    }
    first, second = make_lm(), make_lm()
    evaluate([f"{plan.name}_t1"], tmp_path / "out", first)
    evaluate([f"{plan.name}_t1"], tmp_path / "out", second, metadata=strange)
    assert first.seen == second.seen


def test_categories_and_python_functions(own_task, tmp_path, monkeypatch):
    (tmp_path / "rules_of_a_user.py").write_text(
        "def words(doc):\n    return len(doc['question_stem'].split())\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    plan = plan_tiers("own_obqa", "rules_of_a_user:words", 3, include_path=str(own_task))
    assert plan.assignment.n_tiers == 3 and plan.name == "own_obqa_rules_of_a_user_words"
    plan = plan_tiers("own_obqa", "field:answerKey", include_path=str(own_task), order=["D", "C", "B", "A"])
    assert [t.low for t in plan.assignment.tiers] == ["D", "C", "B", "A"]
    write_tiers(plan, tmp_path / "letters")
    assert "(in the order that was given)" in " ".join(folder_text(tmp_path / "letters").split())
    with pytest.raises(UsageError, match="--order A,B,C,D "):
        plan_tiers("own_obqa", "field:answerKey", include_path=str(own_task))
    with pytest.raises(UsageError, match="--harder low is of numbers"):
        plan_tiers(
            "own_obqa", "field:answerKey", include_path=str(own_task), order=list("DCBA"), harder="low"
        )
    with pytest.raises(UsageError, match="each tier needs at least 30"):
        plan_tiers("own_obqa", "field:id", include_path=str(own_task))


@pytest.mark.parametrize(
    ("task", "by", "bins", "message"),
    [
        ("own_obqa", "answer_length", 40, "The largest number of tiers that works is 11"),
        ("own_obqa", "answer_lenght", 4, "Did you mean 'answer_length'"),
        ("own_obqa", "option_count", 4, "every item has the same score, 4"),
        ("own_obqa", "dense_margin", 4, "needs --scores"),
        (
            "own_obqa",
            "field:nothing",
            4,
            "no column 'nothing'; they have id, question_stem, choices, answerKey",
        ),
    ],
)
def test_refusals(own_task, task, by, bins, message):
    with pytest.raises(UsageError, match=message):
        plan_tiers(task, by, bins, include_path=str(own_task))


def test_a_folder_that_is_not_empty_is_kept_unless_forced(own_task, tmp_path):
    plan = plan_tiers("own_obqa", "answer_length", 2, include_path=str(own_task))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("x")
    with pytest.raises(UsageError, match="--force"):
        write_tiers(plan, tmp_path / "out")
    with pytest.raises(UsageError, match="not written by this command .it holds 'precious'."):
        write_tiers(plan, tmp_path / "out", force=True)
    assert [path.name for path in tmp_path.joinpath("out").iterdir()] == ["precious"]
    write_tiers(plan, tmp_path / "tiers")
    (tmp_path / "tiers" / "old_t9.yaml").write_text("task: old_t9")
    write_tiers(plan, tmp_path / "tiers", force=True)
    assert not (tmp_path / "tiers" / "old_t9.yaml").exists()


def test_duplicated_documents_are_refused_or_kept_together(own_task, tmp_path, benchmark_data):
    rows = (benchmark_data / "openbookqa" / "test.jsonl").read_text().rstrip("\n").split("\n")
    (tmp_path / "twice.jsonl").write_text("\n".join([*rows, rows[3], rows[4]]) + "\n")
    text = (own_task / "own.yaml").read_text()
    (own_task / "own.yaml").write_text(
        text.replace(str(benchmark_data / "openbookqa" / "test.jsonl"), str(tmp_path / "twice.jsonl"))
    )
    with pytest.raises(UsageError, match="2 documents of 'own_obqa' occur more than once"):
        plan_tiers("own_obqa", "answer_length", 4, include_path=str(own_task))
    plan = plan_tiers("own_obqa", "answer_length", 4, include_path=str(own_task), allow_duplicates=True)
    assert len(plan.assignment.tier_of) == 500


def test_changed_data_are_noticed_when_the_tiers_run(own_task, tmp_path, evaluate):
    plan = plan_tiers("own_obqa", "answer_length", 2, include_path=str(own_task))
    write_tiers(plan, tmp_path / "out")
    path = tmp_path / "out" / "assignment.json"
    found = json.loads(path.read_text())
    gone = next(iter(found["items"]))
    del found["items"][gone]
    path.write_text(json.dumps(found))
    with pytest.raises(UsageError, match="1 of 500 documents are not in 'assignment.json'"):
        evaluate([plan.name], tmp_path / "out")


def test_broken_data_are_reported_in_a_sentence(own_task):
    text = (own_task / "own.yaml").read_text().replace("test.jsonl", "gone.jsonl")
    (own_task / "own.yaml").write_text(text)
    with pytest.raises(UsageError, match="the task 'own_obqa' cannot be loaded"):
        plan_tiers("own_obqa", "answer_length", 4, include_path=str(own_task))


@pytest.mark.slow  # reads the 14,000 task files of lm-eval, twice
def test_names_of_tasks_are_suggested(own_task):
    with pytest.raises(UsageError, match="Did you mean 'own_obqa'"):
        find_task("own_obqq", str(own_task))
    with pytest.raises(UsageError, match="is a group of 2 tasks"):
        find_task("ai2_arc")
    with pytest.raises(UsageError, match="is no folder"):
        find_task("arc_easy", str(own_task / "gone"))


def test_the_config_of_every_packaged_output_type_survives_being_written_out():
    """Own reader against lm-eval's own, function for function."""
    from lm_eval.tasks._yaml_loader import load_yaml

    from junkdna_harness.tiers.config import packaged_tasks

    for name in ("hellaswag/hellaswag.yaml", "winogrande/default.yaml", "arc/arc_challenge.yaml", "gsm8k/gsm8k.yaml",
                 "lambada/lambada_openai.yaml", "drop/default.yaml"):  # fmt: skip
        theirs = load_yaml(packaged_tasks() / name)
        ours = to_live(yaml.safe_load(yaml.safe_dump(to_plain(read_config(packaged_tasks() / name)))))
        assert _names(ours) == _names(theirs)


def _names(value: Any) -> Any:
    if callable(value):
        return (Path(value.__code__.co_filename).name, value.__qualname__)
    if isinstance(value, dict):
        return {key: _names(item) for key, item in value.items()}
    return [_names(item) for item in value] if isinstance(value, list) else value
