"""Two trainings that differ in their steps, through the real commands: recovered, evaluated, judged, and told apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from difficulty.runs.read import read_runs
from tests.commands import junkdna, lm_eval

pytestmark = pytest.mark.slow

TRAIN = "--data data.jsonl --batch-size 4 --lr 0.001 --output"
TASKS = "difficulty_tiers_names_t1,difficulty_tiers_names_t2"


def evaluate(folder: Path, name: str, pretrained: str, model: str) -> None:
    run = lm_eval(
        "--model_args", f"pretrained={pretrained}", "--tasks", TASKS, "--limit", "4", "--batch_size", "4",
        "--output_path", f"logs/{name}", "--log_samples", cwd=folder, model=model,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]


def test_steps_that_no_name_holds_are_told_apart_and_none_is_a_replicate_of_the_other(tmp_path: Path) -> None:
    lines = (f'{{"prompt": "rev {i}=", "answer": "{str(i)[::-1]}"}}\n' for i in range(100, 140))
    (tmp_path / "data.jsonl").write_text("".join(lines))
    for name, asked in (
        ("short", "--sparsity 0.5 --steps 2 --seed 0"),
        ("long", "--sparsity 0.5 --steps 4 --seed 1"),
        ("dense", "--arm dense_transfer --steps 4 --seed 0"),
        ("named", "--sparsity 0.5 --steps 2 --seed 2 --name-by steps,lr"),
    ):
        made = junkdna("recover", *asked.split(), *TRAIN.split(), name, cwd=tmp_path)
        assert made.returncode == 0, made.stderr
    evaluate(tmp_path, "base", "embedded,sparsity=0", "junkdna-pruned")
    evaluate(tmp_path, "short", "short", "hf")
    evaluate(tmp_path, "long", "long,method=none", "junkdna-pruned")
    evaluate(tmp_path, "dense", "dense", "hf")
    runs = read_runs(tmp_path / "logs")
    assert sorted(runs.names) == sorted([
        "embedded dense+dense_transfer~4steps 0", "embedded dense",
        "embedded magnitude+sparse_transfer~2steps 0.5", "embedded magnitude+sparse_transfer~4steps 0.5",
    ])  # fmt: skip
    said = " ".join(
        junkdna("fit", "logs", "--claims", "P5", "--resamples", "200", cwd=tmp_path).stdout.split()
    )
    assert "trainings of 'embedded' differ in steps (2, 4): their names say which was which" in said
    assert "magnitude+sparse_transfer~2steps has no dense model trained as long" in said
    named = json.loads((tmp_path / "named" / "junkdna.json").read_text())
    assert named["method"] == "magnitude+sparse_transfer~2steps~lr0.001"
