"""`junkdna gate`: the values of lm_eval, as few items as needed, from where it was cut off, and one sentence for each mistake."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from difficulty.errors import UsageError
from difficulty.runs.read import read_runs
from junkdna_harness.gate import Limits, check, read_baseline, read_run, to_json
from junkdna_harness.gate.flips import Logged
from junkdna_harness.gate.policy import Policy, Rule
from junkdna_harness.gate.walk import FIRST
from junkdna_harness.gate.words import sentence
from junkdna_harness.harness.written_log import write_log
from junkdna_harness.lock import locked
from junkdna_harness.sequential import Options, Prompting, load, outcome_of, run_gate
from tests.commands import OFFLINE, junkdna
from tests.models_factory import save_tiny

TASKS = "difficulty_tiers_copying_t1,difficulty_tiers_hypernyms_t3"
LIMITS = Limits(max_drop=0.05)
CLOSE = Limits(max_drop=0.3)  # one of the tasks loses 31 points


def logged(folder: Path, arguments: str, model: str = "junkdna-pruned", limit: int | None = None) -> Path:
    """The log of `lm_eval --model MODEL --model_args ARGUMENTS`."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    from junkdna_harness.autoload import install, tasks_dir

    install()
    manager = TaskManager(include_path=tasks_dir(), include_defaults=False)
    found = lm_eval.simple_evaluate(
        model, arguments, TASKS.split(","), limit=limit, task_manager=manager, device="cpu", bootstrap_iters=0
    )
    samples = found.pop("samples")
    write_log(folder, model, arguments.partition("pretrained=")[2] or "embedded", found, samples)
    return folder


@pytest.fixture(scope="module")
def dense(tmp_path_factory) -> Path:
    """A log of the dense embedded model."""
    return logged(tmp_path_factory.mktemp("dense"), "sparsity=0")


@pytest.fixture(scope="module")
def baseline(dense):
    return read_baseline(dense)


@pytest.fixture(scope="module")
def sparse():
    """The embedded model, most of its weights removed."""
    return load("embedded", arguments={"sparsity": 0.65})


@pytest.fixture(scope="module")
def same():
    return load("embedded")


def gate(candidate, baseline, folder, limits=LIMITS, prompting=None, **options):
    prompting = prompting or Prompting()
    return outcome_of(run_gate(candidate, baseline, limits, Options(prompting, out=folder, **options)))


def first_items(task, n):
    cut = {name: getattr(task, name)[:n] for name in ("item_ids", "values", "clusters", "prompts")}
    return replace(task, **cut)


def without_seconds(text: str) -> dict:
    return {name: value for name, value in json.loads(text).items() if not name.startswith("seconds")}


def test_values_are_those_of_lm_eval_item_by_item(sparse, baseline, tmp_path):
    log = read_run(logged(tmp_path / "log", "method=magnitude,sparsity=0.65"))
    found = gate(sparse, baseline, tmp_path / "g", CLOSE, every_rule=True)
    compared = 0
    for name, task in found.gate.new.tasks.items():
        there = dict(zip(log.tasks[name].item_ids, log.tasks[name].values, strict=True))
        prompts = dict(zip(log.tasks[name].item_ids, log.tasks[name].prompts, strict=True))
        assert [there[item] for item in task.item_ids] == task.values.tolist()
        assert [prompts[item] for item in task.item_ids] == list(task.prompts)
        compared += len(task.item_ids)
    assert compared == found.items_used > 100
    assert found.gate.new.name == log.name and found.gate.new.dtype == log.dtype
    assert found.gate.new.weights_sha256 == log.weights_sha256


def test_a_clear_fail_needs_few_items_and_says_how_many(sparse, baseline, tmp_path):
    found = gate(sparse, baseline, tmp_path / "g")
    assert found.gate.verdict == "fail" and found.items_used < 0.5 * found.items_all
    assert not any("cannot pass" in note for note in found.gate.notes)
    document = json.loads(found.to_json(1))
    assert (document["items_used"], document["items_all"]) == (found.items_used, found.items_all)
    assert document["stopped"] == "fail" and document["looks"] >= 1 and document["seconds_saved"] > 0
    failed = [cell for cell in document["cells"] if cell["verdict"] == "fail"]
    assert failed and all(cell["decided_at_look"] == document["looks"] for cell in failed)
    assert all(cell["lower_bound"] > cell["limit"] for cell in failed)
    assert all(
        flip["prompt"] and flip["wanted"] and flip["answer"] != flip["wanted"]
        for cell in failed
        for flip in cell["flips"]
    )
    assert all(cell["flips"] for cell in failed)
    assert document["model"]["junkdna"]["method"] == "magnitude" and document["model"]["dtype"] == "float32"
    text = "; ".join(found.further)
    assert f"items used {found.items_used:,} of {found.items_all:,}" in text and "saved" in text


def test_a_baseline_file_with_cut_ids_does_as_well(sparse, baseline, tmp_path):
    (tmp_path / "b.json").write_text(to_json(baseline))
    cut = read_baseline(tmp_path / "b.json")
    assert cut.tasks["difficulty_tiers_copying_t1"].id_length is not None
    whole, short = (gate(sparse, one, tmp_path / name) for one, name in ((baseline, "a"), (cut, "b")))
    assert [c.loss.loss for c in whole.gate.comparisons] == [c.loss.loss for c in short.gate.comparisons]


def test_equal_weights_pass_after_the_first_batch(same, baseline, tmp_path):
    found = gate(same, baseline, tmp_path / "g", Limits(max_drop=0.0001))
    assert found.gate.verdict == "pass" and found.gate.identical
    assert FIRST <= found.items_used < 2 * FIRST and found.finished.walk.judge.looks == 1
    assert f"every answer equal on {found.items_used:,} asked; same weights" in "; ".join(found.further)
    assert any(
        "cannot pass here, even if every answer is equal: overall" in note for note in found.gate.notes
    )
    # Other numbers, or weights that the baseline does not know, are judged like any others.
    for other in (replace(baseline, dtype="bfloat16"), replace(baseline, weights_sha256=None)):
        again = gate(same, other, tmp_path / str(other.dtype), Limits(max_drop=0.0001), max_items=200)
        assert again.gate.verdict == "inconclusive" and not again.gate.identical


def test_equal_weights_are_not_enough_where_something_else_may_differ(same, baseline, tmp_path, monkeypatch):
    """Other prompts, prompts that are not known, or an argument such as `max_length`: one batch of equal answers then shows little."""
    monkeypatch.setattr("junkdna_harness.gate.walk.FIRST", 1)
    tight, few = Limits(max_drop=0.0001), {"max_items": 8}
    shots = Prompting(num_fewshot=2)
    unknown = replace(
        baseline, tasks={key: replace(task, prompts=None) for key, task in baseline.tasks.items()}
    )
    bound = replace(same, arguments={**same.arguments, "max_length": 32})
    named = replace(baseline, about={**baseline.about, "model": "other"})  # whose tokenizer may be another
    for number, found in enumerate(
        (
            gate(same, baseline, tmp_path / "a", tight, shots, allow_different_prompts=True, **few),
            gate(same, unknown, tmp_path / "b", tight, **few),
            gate(bound, baseline, tmp_path / "c", tight, **few),
            gate(same, named, tmp_path / "e", tight, **few),
        )
    ):
        assert found.finished.stopped == "budget" and not found.gate.identical, number
    assert gate(same, baseline, tmp_path / "d", tight, **few).finished.stopped == "same"
    # Where every item was asked, it is what check says too.
    few_items = {key: first_items(task, 12) for key, task in baseline.tasks.items()}
    for candidate, known in ((bound, baseline), (same, named)):
        whole = gate(
            candidate, replace(known, tasks=few_items), tmp_path / f"{known.about['model']} whole", tight
        )
        assert whole.finished.stopped == "same" and whole.items_used == whole.items_all == 24
        assert check(whole.gate.new, replace(known, tasks=few_items), tight).identical


def test_a_comparison_of_which_nothing_was_asked_is_open_but_where_the_weights_are_the_same(
    same, baseline, tmp_path, monkeypatch
):
    monkeypatch.setattr("junkdna_harness.gate.walk.FIRST", 1)
    equal = gate(same, baseline, tmp_path / "a")
    assert len(equal.gate.comparisons) < len(equal.finished.planned)
    assert equal.gate.verdict == "pass" and json.loads(equal.to_json(0))["verdict"] == "pass"
    for counts_as in ("inconclusive", "fail", "pass"):
        rules = tuple(
            Rule(max_drop=0.05, where=(("task", name),), inconclusive=counts_as) for name in baseline.tasks
        )
        unknown = replace(baseline, weights_sha256=None)
        found = gate(same, unknown, tmp_path / counts_as, Policy(rules), max_items=1)
        assert len(found.gate.comparisons) == 1 and found.gate.verdict == counts_as
    (first,) = (one.name for one in found.gate.comparisons)
    for counts_as, told in (
        ("inconclusive", "INCONCLUSIVE: a comparison of which nothing was asked is open (see the notes)."),
        ("fail", "FAIL: a comparison of which nothing was asked counts as a fail by its rule."),
    ):
        ways = {name: "pass" if name == first else counts_as for name in baseline.tasks}
        rules = tuple(Rule(max_drop=0.05, where=(("task", n),), inconclusive=way) for n, way in ways.items())
        found = gate(same, unknown, tmp_path / f"{counts_as} alone", Policy(rules), max_items=1)
        assert (found.gate.verdict, sentence(found.gate)) == (counts_as, told)
        (other,) = set(baseline.tasks) - {first}
        assert f"nothing was asked of {other}: --max-items were asked" in found.gate.notes


class Killed(BaseException):
    pass


@pytest.fixture
def killed_after(monkeypatch):
    """Let the model be killed in the given batch."""
    from junkdna_harness.sweep.suite import Suite

    ask = Suite.ask

    def arm(number: int) -> None:
        calls = iter(range(1, 1000))

        def asked(self, *args, **kwargs):
            if next(calls) == number:
                raise Killed
            return ask(self, *args, **kwargs)

        monkeypatch.setattr(Suite, "ask", asked)

    yield arm


def test_a_killed_gate_goes_on_from_the_last_whole_batch(sparse, baseline, tmp_path, killed_after):
    limits = CLOSE
    whole = gate(sparse, baseline, tmp_path / "whole", limits)
    looks = whole.finished.walk.judge.looks
    assert looks > 4
    killed_after(4)
    with pytest.raises(Killed):
        gate(sparse, baseline, tmp_path / "cut", limits)
    assert len(list((tmp_path / "cut" / "batches").iterdir())) == 3
    killed_after(looks - 2)  # three batches are there: looks - 3 are asked
    again = gate(sparse, baseline, tmp_path / "cut", limits)
    assert without_seconds(again.to_json(3)) == without_seconds(whole.to_json(3))
    killed_after(1)  # nothing is asked now
    third = gate(sparse, baseline, tmp_path / "cut", limits)
    assert third.to_json(1) == again.to_json(1)


def test_a_gate_that_ran_out_of_its_budget_goes_on_with_a_larger_one(sparse, baseline, tmp_path):
    limits = CLOSE
    short = gate(sparse, baseline, tmp_path / "g", limits, max_items=100)
    assert short.finished.stopped == "budget" and short.items_used == 100
    assert short.gate.verdict == "inconclusive" and re.search(
        r"was judged on \d+ of its \d+ items", sentence(short.gate)
    )
    longer = gate(sparse, baseline, tmp_path / "g", limits, max_items=150)
    assert longer.items_used == 150
    first, second = (
        set(found.finished.prepared.names(np.flatnonzero(found.finished.walk.asked)))
        for found in (short, longer)
    )
    assert first < second


def test_a_folder_is_of_one_gate(sparse, same, baseline, tmp_path):
    gate(sparse, baseline, tmp_path / "g")
    for change, told in (
        ({"candidate": same}, "another model"),
        ({"limits": Limits(max_drop=0.3)}, "another policy"),
        ({"baseline": replace(baseline, name="other")}, "another baseline"),
        ({"seed": 5}, "another --seed"),
    ):
        given = {"candidate": sparse, "baseline": baseline, "folder": tmp_path / "g", **change}
        with pytest.raises(UsageError, match=told):
            gate(**given)
    with locked(tmp_path / "g" / "lock", "held"), pytest.raises(UsageError, match="another gate is at work"):
        gate(sparse, baseline, tmp_path / "g")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot write '.*file/g': Not a directory"):
        gate(sparse, baseline, tmp_path / "file" / "g")
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("all my work")
    with pytest.raises(UsageError, match="holds something else than a gate"):
        gate(sparse, baseline, other)
    batch = tmp_path / "g" / "batches" / "0001.jsonl"
    batch.write_text(batch.read_text()[:-200])
    with pytest.raises(UsageError, match=r"0001.jsonl' is damaged"):
        gate(sparse, baseline, tmp_path / "g")


def test_what_was_asked_can_be_read_again_with_a_warning(sparse, baseline, tmp_path):
    found = gate(sparse, baseline, tmp_path / "g")
    table = tmp_path / "g" / "samples.parquet"
    again = check(read_run(table), baseline, LIMITS)
    assert any("until it knew its verdict" in note for note in again.notes)
    assert sum(len(task.item_ids) for task in again.new.tasks.values()) == found.items_used
    assert pd.read_parquet(table)["looked"].all()
    assert "looked" not in read_runs(table).table


def test_another_class_of_lm_eval_gives_its_own_values(baseline, tmp_path):
    """A tiny random model by `hf`, which shares no prefixes."""
    model = save_tiny("llama", tmp_path / "tiny", max_position_embeddings=2048)
    out = logged(tmp_path / "log", f"pretrained={model}", "hf", 40)
    log = read_run(out)
    found = gate(load(str(model), "hf"), baseline, tmp_path / "g", max_items=80)
    compared = 0
    for name, task in found.gate.new.tasks.items():
        there = dict(zip(log.tasks[name].item_ids, log.tasks[name].values, strict=True))
        pairs = [(there[i], value) for i, value in zip(task.item_ids, task.values, strict=True) if i in there]
        assert all(before == after for before, after in pairs)
        compared += len(pairs)
    assert compared >= 5
    assert (found.gate.new.name, found.gate.new.dtype) == (log.name, log.dtype) and log.dtype == "float32"


def test_shots_are_those_of_the_baseline_and_other_prompts_are_refused(sparse, baseline, tmp_path):
    name = "difficulty_tiers_copying_t1"
    shots = {task: {**found, "num_fewshot": 2} for task, found in baseline.settings.items()}
    asked = gate(
        sparse,
        baseline,
        tmp_path / "a",
        prompting=Prompting(num_fewshot=2),
        allow_different_prompts=True,
        max_items=64,
    )
    assert any("other prompts" in note for note in asked.gate.notes)
    assert asked.finished.prepared.suite.tasks[name].config.num_fewshot == 2
    with pytest.raises(
        UsageError,
        match=r"would be asked with other prompts than in the baseline: difficulty_tiers_copying_t1:",
    ):
        gate(sparse, baseline, tmp_path / "b", prompting=Prompting(num_fewshot=2))
    with pytest.raises(UsageError, match="other prompts"):  # its own shots are not what its prompts say
        gate(sparse, replace(baseline, settings=shots), tmp_path / "c")
    tasks = {key: replace(task, prompts=None) for key, task in baseline.tasks.items()}
    unknown = gate(sparse, replace(baseline, settings=shots, tasks=tasks), tmp_path / "d", max_items=64)
    assert unknown.finished.prepared.suite.tasks[name].config.num_fewshot == 2
    assert any("holds no prompts" in note for note in unknown.gate.notes)
    told = {task: {**found, "system_instruction_sha": "abc"} for task, found in baseline.settings.items()}
    with pytest.raises(UsageError, match="Give that prompt: --system-instruction"):
        gate(sparse, replace(baseline, settings=told), tmp_path / "e")
    assert not any((tmp_path / letter).exists() for letter in "bce")  # before anything was asked


def test_what_the_tasks_no_longer_have_is_missing_before_anything_is_asked(sparse, baseline, tmp_path):
    name = "difficulty_tiers_copying_t1"
    old = baseline.tasks[name]
    gone = replace(old, item_ids=("f00d" + old.item_ids[0][4:], *old.item_ids[1:]))
    found = gate(sparse, replace(baseline, tasks={**baseline.tasks, name: gone}), tmp_path / "g")
    assert found.gate.verdict == "fail" and found.gate.exit_code == 1 and found.items_used == 0
    assert "f00d" in sentence(found.gate) and "items used 0 of" in "; ".join(found.further)
    document = json.loads(found.to_json(1))
    assert document["stopped"] == "missing" and document["cells"] == [] and not (tmp_path / "g").exists()
    versions = {**baseline.tasks, name: replace(old, version="1.5")}
    with pytest.raises(UsageError, match=r"is version 2.0 in the new run and 1.5"):
        gate(sparse, replace(baseline, tasks=versions), tmp_path / "g")


def test_a_rule_on_a_text_is_not_passed_over(sparse, baseline, tmp_path):
    rules = Rule(max_drop=0.05), Rule(max_kl=0.1, of="text")
    with pytest.raises(
        UsageError, match="the rule on a text is on a text, and junkdna gate asks tasks alone"
    ):
        gate(sparse, baseline, tmp_path / "g", Policy(rules))
    optional = Policy((rules[0], replace(rules[1], required=False)))
    found = gate(sparse, baseline, tmp_path / "g", optional, max_items=20)
    assert "not judged: the rule on a text, as no text is asked" in found.gate.notes
    with pytest.raises(UsageError, match="nothing is judged: no rule of"):
        gate(sparse, baseline, tmp_path / "g", Policy(optional.rules[1:]))


def test_a_document_that_the_data_set_holds_twice_is_two_items_in_any_batch(sparse, baseline, tmp_path):
    """Item ids are those of the whole task, although a batch holds the second copy alone."""
    from junkdna_harness.sequential.answers import Answers
    from junkdna_harness.sequential.prepared import prepare

    name = "difficulty_tiers_copying_t1"
    wanted = {name: np.arange(len(baseline.tasks[name].item_ids))}
    prepared = prepare(sparse.lm, baseline, wanted, wanted, Prompting(), {})
    first, second = (prepared.cells[name][i] for i in (0, 1))
    second |= {"item_id": f"{first['item_id']}#2"}  # as if they were copies
    ids = Answers(prepared, baseline, sparse.who)._ids[name]
    assert ids[second["doc_id"]] == f"{first['item_id']}#2"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["embedded", "--max-items", "0"], "--max-items 0 asks nothing"),
        (["embedded", "--seed", "-1"], "--seed -1 is no seed"),
        (["embedded", "--model", "junkdna-prune"], "Did you mean 'junkdna-pruned'?"),
        (["embedded", "--model_args", "sparsity=0.5,pretrained=other"], "Give it once"),
        (["embedded", "--model_args", "sparsity"], "which is not name=value"),
        (["embedded", "--model_args", "sparsty=0.5"], "Did you mean 'sparsity'?"),
        (["./nowhere"], "'./nowhere' is no folder here"),
        (["./nowhere", "--model", "hf"], "--model hf cannot load './nowhere'"),
        (["embedded", "--include_path", "nowhere"], "--include-path 'nowhere' is no folder"),
        (["embedded", "--device", "tpu9"], "is no device"),
        (["embedded", "--metadata", "text"], "--metadata 'text' is no JSON object"),
    ],
)
def test_each_mistake_is_a_sentence(arguments, told, dense, tmp_path):
    from typer.testing import CliRunner

    from junkdna_harness.cli import app

    result = CliRunner().invoke(app, ["gate", *arguments, "--against", str(dense)])
    said = str(result.exception) if isinstance(result.exception, UsageError) else result.output
    assert result.exit_code != 0 and told in said, (said, result.exception)


def words_of(dense, most):
    """The gate of a sparse model that may lose `most`."""
    model = ["embedded", "--model_args", "sparsity=0.65"]
    return ["gate", *model, "--against", str(dense), "--max-drop", most]


def test_the_command_survives_being_killed(sparse, baseline, dense, tmp_path):
    words = words_of(dense, "0.3")
    process = subprocess.Popen(
        [sys.executable, "-m", "junkdna_harness.cli", *words], cwd=tmp_path, env=os.environ | OFFLINE,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if list(tmp_path.glob("junkdna_gate/*/batches/0002.jsonl")):
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.01)
    assert process.wait() in (-signal.SIGKILL, 3)
    again = junkdna(*words, "--json", "o.json", "--junit-xml", "o.xml", cwd=tmp_path)
    assert again.returncode == 3, again.stderr[-2000:]
    assert "look 1: " in again.stderr and "items used" in again.stdout and (tmp_path / "o.xml").is_file()
    whole = run_gate(sparse, baseline, CLOSE, Options(out=tmp_path / "whole"))
    told = outcome_of(whole, Logged(dense).of(baseline.name)).to_json(3)
    assert without_seconds((tmp_path / "o.json").read_text()) == without_seconds(told)


def test_the_folder_of_a_baseline_has_the_answers_that_were_lost(dense, tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from junkdna_harness.cli import app

    monkeypatch.chdir(tmp_path)
    words = words_of(dense, "0.05")
    result = CliRunner().invoke(app, [*words, "--json", "o.json"])
    assert result.exit_code == 1, result.output
    flips = [flip for cell in json.loads(Path("o.json").read_text())["cells"] for flip in cell["flips"]]
    assert flips and all(flip["answer_before"] not in (None, flip["answer"]) for flip in flips)
    assert "holds no answers" not in result.output
