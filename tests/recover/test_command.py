"""`junkdna recover` as typed."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from difficulty.errors import UsageError
from junkdna_harness.commands.recover import recover
from junkdna_harness.harness.training import task_examples

app = typer.Typer()
app.command()(recover)


def call(*arguments: str) -> str:
    outcome = CliRunner().invoke(app, list(arguments))
    if outcome.exception is not None and not isinstance(outcome.exception, SystemExit):
        raise outcome.exception
    assert outcome.exit_code == 0, outcome.output
    return outcome.output


def test_it_prints_what_was_done(checkpoint: Path, lines: Path, tmp_path: Path) -> None:
    config = tmp_path / "trainer.yaml"
    config.write_text("gradient_accumulation_steps: 2\n")
    printed = call(
        str(checkpoint), "--data", str(lines), "--method", "random", "--sparsity", "0.25", "--steps", "2", "--batch-size",
        "2", "--trainer", "max_grad_norm=0.5", "--trainer-config", str(config), "-o", str(tmp_path / "out"),
    )  # fmt: skip
    assert "random+sparse_transfer: 2 steps" in printed
    assert "0.2500 of the targeted weights are zero" in printed


def test_a_share_that_the_steps_do_not_reach_the_end_of_is_told(
    checkpoint: Path, lines: Path, tmp_path: Path
) -> None:
    arguments = [str(checkpoint), "--data", str(lines), "--arm", "dense_transfer", "--batch-size", "2"]
    note = "note: 3 steps see 6 of the 20 examples in fraction=0.5"
    assert note in call(*arguments, "--fraction", "0.5", "--steps", "3", "-o", str(tmp_path / "some"))
    assert "note:" not in call(*arguments, "--fraction", "0.5", "--steps", "10", "-o", str(tmp_path / "all"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--output is missing"),
        (["-o", "x", "--trainer", "bf16"], "is no NAME=VALUE"),
        (["-o", "x", "--trainer-config", "nowhere.yaml"], "is no file"),
        (["-o", "x", "--sparsity", "1.5"], "1.5"),
        (["-o", "x", "--data", "task:arc_essy", "--sparsity", "0.5"], "unknown task 'arc_essy'"),
        (["/no/such/model", "-o", "x", "--sparsity", "0.5"], "is no folder here"),
    ],
)
def test_mistakes_are_one_sentence(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message):
        call(*arguments)


def test_a_task_without_a_training_split_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no training split"):
        call(
            str(checkpoint),
            "--data",
            "task:difficulty_tiers_agreement_t1",
            "--sparsity",
            "0.5",
            "-o",
            str(tmp_path / "out"),
        )


OWN_TASK = """
task: own_task
dataset_path: json
dataset_kwargs: {data_files: {train: FOLDER/train.jsonl, test: FOLDER/train.jsonl}}
training_split: train
test_split: test
output_type: multiple_choice
doc_to_text: "Q: {{q}}\\nA:"
doc_to_choice: ["no", "yes"]
doc_to_target: label
"""


def test_the_training_split_of_an_own_task_becomes_prompts_and_right_answers(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"q": "is it", "label": 1}\n{"q": "is it not", "label": 0}\n')
    (tmp_path / "own.yaml").write_text(OWN_TASK.replace("FOLDER", str(tmp_path)))
    examples = task_examples("own_task", str(tmp_path))
    assert [(e.prompt, e.answer) for e in examples] == [("Q: is it\nA:", " yes"), ("Q: is it not\nA:", " no")]
