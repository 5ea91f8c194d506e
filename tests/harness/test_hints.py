"""lm-eval's hint at arguments of a data set: not told of our graded tasks, still told of the tasks of others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import lm_eval
from tests.harness.own_tasks import hinted_task
from tests.models_factory import save_tiny

HINT = "Custom kwargs can be passed"


@pytest.mark.slow
@pytest.mark.parametrize("model", ["junkdna-pruned", "hf"])
def test_lm_eval_hints_at_the_tasks_of_others_alone(model: str, tmp_path: Path) -> None:
    save_tiny("llama", tmp_path / "model")
    hinted_task(tmp_path / "tasks")
    run = lm_eval(
        *(
            "--model_args",
            "pretrained=model",
            "--tasks",
            "difficulty_tiers,a_stranger",
            "--include_path",
            "tasks",
        ),
        *("--limit", "1"),
        cwd=tmp_path,
        model=model,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    said = run.stderr + run.stdout
    assert "Task: difficulty_tiers_" in said
    (line,) = [line for line in said.splitlines() if HINT in line]
    assert "a_stranger" in line
