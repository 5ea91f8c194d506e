"""A chat template that opens the answer itself, and tasks that continue a text under one: said, and written down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from junkdna_harness.models.chat import CONTINUED, answer_opening, note_on_opening
from junkdna_harness.sweep.plan import build_plan
from junkdna_harness.sweep.run import run_sweep
from tests.commands import lm_eval
from tests.models_factory import make_tokenizer, save_tiny

TURNS = "{% for m in messages %}[{{ m.role }}]{{ m.content }}\n{% endfor %}"
OPENINGS = {
    "plain": ("{% if add_generation_prompt %}[assistant]{% endif %}", ""),
    "think": ("{% if add_generation_prompt %}[assistant]<think>\n{% endif %}", "<think>\n"),
    "sure": ("{% if add_generation_prompt %}[assistant]Sure, {% endif %}", "Sure, "),
    "line": ("{% if add_generation_prompt %}[assistant]\n{% endif %}", ""),
    "none": ("", ""),
}
LIKE_OURS = "difficulty_tiers_like"
TASK = """\
task: NAME
dataset_path: json
dataset_kwargs: {data_files: {test: DATA}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{prompt}}"
doc_to_choice: ["1", "2"]
doc_to_target: 0
GEN_PREFIX
metric_list: [{metric: acc}]
metadata: {version: 1.0}
"""


def templated(opening: str) -> Any:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = TURNS + OPENINGS[opening][0]

    def apply(turns: Any, add_generation_prompt: bool = True) -> str:
        return str(
            tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=add_generation_prompt,
                continue_final_message=not add_generation_prompt,
            )
        )  # fmt: skip

    return apply


@pytest.mark.parametrize("opening", OPENINGS)
def test_what_a_template_opens_an_answer_with_is_seen(opening: str) -> None:
    assert answer_opening(templated(opening)) == OPENINGS[opening][1]


def test_an_empty_block_before_every_answer_is_part_of_the_turn() -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}[{{ m.role }}]{% if m.role == 'assistant' %}<think></think>{% endif %}{{ m.content }}\n"
        "{% endfor %}{% if add_generation_prompt %}[assistant]<think></think>{% endif %}"
    )
    told = answer_opening(
        lambda turns, add_generation_prompt: tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
        )
    )  # fmt: skip
    assert told == ""


def test_a_template_that_refuses_the_turns_is_asked_by_lm_eval_alone() -> None:
    def apply(turns: Any, add_generation_prompt: bool = True) -> str:
        raise ValueError("no user here")

    assert answer_opening(apply) == ""


def folder_with(folder: Path, opening: str, name: str, gen_prefix: str = "") -> Path:
    save_tiny("llama", folder / "model")
    (folder / "model" / "chat_template.jinja").write_text(TURNS + OPENINGS[opening][0])
    (folder / "tasks").mkdir()
    data = folder / "items.jsonl"
    document = {"prompt": "add 1", "answer": "1", "choices": ["1", "2"], "cluster": "add"}
    data.write_text(json.dumps(document if name == LIKE_OURS else {"prompt": "add 1"}) + "\n")
    text = TASK.replace("NAME", name).replace("DATA", str(data)).replace("GEN_PREFIX", gen_prefix)
    (folder / "tasks" / f"{name}.yaml").write_text(text)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("opening", "name", "gen_prefix", "prompt"),
    [
        ("plain", "own_task", "", "[user]add 1\n[assistant]"),
        ("plain", LIKE_OURS, "", "[user]add 1\n[assistant]"),
        ("plain", "difficulty_tiers_of_a_benchmark", "", "[user]add 1\n[assistant]"),
        ("think", "own_task", "", "[user]add 1\n[assistant]<think>\n"),
        ("plain", "own_task", 'gen_prefix: "So"', "[user]add 1\n[assistant]So"),
    ],
)
def test_lm_eval_says_what_a_template_does(
    opening: str, name: str, gen_prefix: str, prompt: str, tmp_path: Path
) -> None:
    folder = folder_with(tmp_path, opening, name, gen_prefix)
    run = lm_eval(
        *("--model_args", "pretrained=model,sparsity=0", "--tasks", name, "--include_path", "tasks"),
        *("--apply_chat_template", "--output_path", "out", "--log_samples"),
        cwd=folder,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    told = [line.partition("warning: ")[2] for line in run.stderr.splitlines() if "chat template" in line]
    text = OPENINGS[opening][1]
    assert [line for line in told if line] == [
        *([note_on_opening(text)] if text else []),
        *([CONTINUED] if name == LIKE_OURS else []),
    ]
    (results,) = folder.glob("out/**/results_*.json")
    assert json.loads(results.read_text())["config"]["junkdna"].get("chat_answer_opens_with", "") == text
    (samples,) = folder.glob("out/**/samples_*.jsonl")
    asked = json.loads(samples.read_text().splitlines()[0])["arguments"]["gen_args_0"]["arg_0"]
    assert asked == prompt


def test_a_sweep_notes_what_a_template_does(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, "sure", LIKE_OURS)
    plan = build_plan(
        tasks=LIKE_OURS, model_args=f"pretrained={folder / 'model'}", methods="magnitude", sparsity="0.3",
        include_path=str(folder / "tasks"), apply_chat_template=True,
    )  # fmt: skip
    outcome = run_sweep(plan, folder / "sweep")
    assert [n for n in outcome.notes if "chat template" in n] == [note_on_opening("Sure, "), CONTINUED]
    for path in (folder / "sweep" / "runs").glob("*.json"):
        assert json.loads(path.read_text())["manifest"]["chat_answer_opens_with"] == "Sure, "
