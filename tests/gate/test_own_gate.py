"""The gate on this project itself: the embedded model against its committed baseline.

`baseline.json` was written by `junkdna check dense --write-baseline tests/gate/baseline.json`, where `dense` is the output
folder of `lm_eval --model junkdna-pruned --model_args sparsity=0 --tasks difficulty_tiers,difficulty_tiers_memory --log_samples
--output_path dense`. Write it anew when the suite or the embedded model changes on purpose. `policy.yaml` says what may be lost.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

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


def _with_task_replaced(run: Path, other: Path, task: str, target: Path) -> Path:
    """A copy of `run` whose samples of `task` are those of `other`."""
    target.mkdir()
    for path in [*run.glob("**/results_*.json"), *run.glob("**/samples_*.jsonl")]:
        source = path
        if path.name.startswith(f"samples_{task}_"):
            (source,) = other.glob(f"**/samples_{task}_*.jsonl")
        (target / path.name).write_bytes(source.read_bytes())
    return target
