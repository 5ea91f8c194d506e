"""The lm_eval call in a manifest gives the same scores: shots, seeds, system instruction and quoting included."""

from __future__ import annotations

import json
import os
import shlex
import subprocess

import pytest

from junkdna_harness.sweep import Store, build_plan, run_sweep
from junkdna_harness.sweep.command import lm_eval_command
from junkdna_harness.sweep.engines.local import LocalEngine
from tests.conftest import ROOT

TASK = """
task: own_questions
dataset_path: json
dataset_kwargs: {{data_files: {{test: "{data}", train: "{data}"}}}}
test_split: test
fewshot_split: train
output_type: multiple_choice
doc_to_text: "{{{{question}}}}? "
doc_to_choice: ["{{{{first}}}}", "{{{{second}}}}"]
doc_to_target: 0
num_fewshot: 1
metric_list: [{{metric: acc}}]
"""


def words(**options) -> list[str]:
    plan = build_plan(**{"tasks": "a,b", "methods": "magnitude", "sparsity": "0.5", **options})
    return shlex.split(lm_eval_command(plan, plan.cells[-1]))


def after(command: list[str], option: str) -> str | None:
    return command[command.index(option) + 1] if option in command else None


def test_what_is_lm_evals_default_is_left_out():
    assert words() == shlex.split(
        "lm_eval --model junkdna-pruned --model_args pretrained=embedded,method=magnitude,sparsity=0.5 --tasks a,b"
    )


def test_every_setting_is_in_the_call():
    command = words(
        limit=1234567, num_fewshot=3, include_path="my tasks", seed="1,None,3,4", apply_chat_template="short one",
        fewshot_as_multiturn=False, system_instruction="You're \"good\"; $HOME",
    )  # fmt: skip
    assert after(command, "--limit") == "1234567" and after(words(limit=0.125), "--limit") == "0.125"
    assert after(command, "--num_fewshot") == "3"
    assert after(command, "--include_path") == "my tasks"
    assert after(command, "--seed") == "1,None,3,4"
    assert after(command, "--apply_chat_template") == "short one"
    assert after(command, "--fewshot_as_multiturn") == "false"
    assert after(command, "--system_instruction") == 'You\'re "good"; $HOME'


@pytest.mark.parametrize(
    "model_args",
    [
        {"pretrained": "a, b"},
        {"pretrained": "7"},
        {"pretrained": "a=b", "revision": "1e5"},
        {"max_memory": {"0": "1GB"}},
    ],
)
def test_arguments_that_names_and_commas_cannot_say_are_json(model_args):
    from lm_eval._cli.utils import try_parse_json

    found = try_parse_json(after(words(model_args=model_args), "--model_args"))
    assert found == {"pretrained": "embedded", **model_args, "method": "magnitude", "sparsity": 0.5}


def test_a_dense_run_removes_nothing_and_a_quantized_one_has_its_model():
    plan = build_plan("a", None, None, None, None, "rtn:4")
    dense, quantized = (shlex.split(lm_eval_command(plan, cell)) for cell in plan.cells)
    assert after(dense, "--model_args") == "pretrained=embedded,method=none"
    assert after(quantized, "--model") == "junkdna-quantized"


@pytest.mark.slow
def test_the_call_gives_the_same_answers(tmp_path):
    tasks = tmp_path / "my tasks"
    tasks.mkdir()
    data = tasks / "data.jsonl"
    pairs = [("ab", "cd"), ("one", "two"), ("red", "blue"), ("yes", "no"), ("up", "down"), ("left", "right")]
    rows = [{"question": f"what is {i}", "first": a, "second": b} for i, (a, b) in enumerate(pairs)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tasks / "own.yaml").write_text(TASK.format(data=data))
    options = {
        "num_fewshot": 2,
        "include_path": str(tasks),
        "system_instruction": 'it\'s sort of "easy"; $HOME',
    }
    given = {"tasks": "own_questions", "methods": "magnitude", "sparsity": "0.5"}
    plan = build_plan(**given, **options, seed="1,2,3,77")
    run_sweep(plan, tmp_path / "s", engine=LocalEngine(workers=1))
    store = Store(tmp_path / "s")
    command = store.manifests()[1]["lm_eval"]
    call = subprocess.run(
        f"{command} --log_samples --output_path out", shell=True, cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
    )  # fmt: skip
    assert call.returncode == 0, call.stderr[-2000:]
    (path,) = (tmp_path / "out").rglob("samples_*.jsonl")
    logged = {s["doc_id"]: s["filtered_resps"] for s in map(json.loads, path.read_text().splitlines())}
    ours = scores(store, plan)
    assert ours.keys() == logged.keys()
    for i, answers in logged.items():
        assert ours[i] == pytest.approx([float(answer[0]) for answer in answers], abs=1e-4)
    other = build_plan(**given, **options)  # other shots are drawn, so the seed in the call matters
    run_sweep(other, tmp_path / "other", engine=LocalEngine(workers=1))
    assert any(
        a != pytest.approx(ours[i], abs=1e-4) for i, a in scores(Store(tmp_path / "other"), other).items()
    )


def scores(store: Store, plan) -> dict[int, list[float]]:
    table = store.responses(plan, plan.cells[1])
    return {int(row.doc_id): [a[0] for a in json.loads(row.filtered_resps)] for row in table.itertuples()}
