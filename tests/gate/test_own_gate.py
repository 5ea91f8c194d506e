"""The gate on this project itself: the embedded model against its committed baseline.

`baseline.json` was written by `junkdna check dense --write-baseline tests/gate/baseline.json`, where `dense` is the output
folder of `lm_eval --model junkdna-pruned --model_args sparsity=0 --tasks difficulty_tiers,difficulty_tiers_memory --log_samples
--output_path dense`. Write it anew when the suite or the embedded model changes on purpose. `policy.yaml` says what may be lost.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from junkdna_harness.commands.check import check
from tests.commands import junkdna, lm_eval

pytestmark = pytest.mark.slow
BASELINE = Path(__file__).with_name("baseline.json")
POLICY = Path(__file__).with_name("policy.yaml")
RULE = ("--against", str(BASELINE), "--policy", str(POLICY), "--json", "verdict.json")


def test_the_embedded_model_passes_its_baseline(dense_run: Path, tmp_path: Path) -> None:
    gate = junkdna("check", str(dense_run), *RULE, cwd=tmp_path)
    verdicts = json.loads((tmp_path / "verdict.json").read_text())
    undecided = [cell["name"] for cell in verdicts["cells"] if cell["verdict"] != "pass"]
    assert (gate.returncode, verdicts["verdict"], undecided) == (0, "pass", []), gate.stdout + gate.stderr
    assert len(verdicts["cells"]) == 85


def test_a_change_that_breaks_one_tier_fails_by_its_name(dense_run: Path, tmp_path: Path) -> None:
    """The longest lists, copied by a model without 70 % of its weights; everything else as it was."""
    tasks = "difficulty_tiers_copying_t4"
    arguments = ("--model_args", "sparsity=0.7", "--tasks", tasks, "--log_samples", "--output_path", "out")
    run = lm_eval(*arguments, cwd=tmp_path)
    assert run.returncode == 0, run.stderr[-3000:]
    broken = _with_task_replaced(dense_run, tmp_path / "out", tasks, tmp_path / "broken")
    gate = junkdna("check", str(broken), *RULE, cwd=tmp_path)
    assert gate.returncode == 1, gate.stdout[-3000:] + gate.stderr[-1000:]
    failed = {
        (cell["family"], cell["tier"])
        for cell in json.loads((tmp_path / "verdict.json").read_text())["cells"]
        if cell["scope"] == "tier" and cell["verdict"] == "fail"
    }
    assert failed == {("copying", 4)}


def test_a_loss_that_creeps_in_raises_an_alarm_though_every_check_passes(tmp_path: Path) -> None:
    """The longest lists, copied by a model from which a little more is pruned each time: at most seven of 250 answers are lost at once."""
    levels = ("0.43", "0.445", "0.4525", "0.4575")
    arguments = (
        "--methods",
        "magnitude",
        "--sparsity",
        ",".join(levels),
        "--tasks",
        "difficulty_tiers_copying_t4",
        "--output",
        "runs",
    )
    swept = junkdna("sweep", *arguments, cwd=tmp_path)
    assert swept.returncode == 0, swept.stderr[-3000:]
    app = typer.Typer()
    app.command()(check)
    history = str(tmp_path / "gates.jsonl")
    names = ["embedded dense", *(f"embedded magnitude {level}" for level in levels)]
    for before, after in zip(names, names[1:], strict=False):
        run = (
            "--run",
            after,
            "--baseline-run",
            before,
            "--against",
            str(tmp_path / "runs"),
            "--max-drop",
            "0.06",
        )
        gate = CliRunner().invoke(
            app, [str(tmp_path / "runs"), *run, "--history", history, "--commit", after[-6:]]
        )
        assert gate.exit_code == 0, gate.output[-3000:]
    trend = CliRunner().invoke(app, ["--trend", history])
    assert trend.exit_code == 1 and trend.stdout.startswith("ALARM"), trend.output


def _with_task_replaced(run: Path, other: Path, task: str, target: Path) -> Path:
    """A copy of `run` whose samples of `task` are those of `other`."""
    target.mkdir()
    for path in [*run.glob("**/results_*.json"), *run.glob("**/samples_*.jsonl")]:
        source = path
        if path.name.startswith(f"samples_{task}_"):
            (source,) = other.glob(f"**/samples_{task}_*.jsonl")
        (target / path.name).write_bytes(source.read_bytes())
    return target
