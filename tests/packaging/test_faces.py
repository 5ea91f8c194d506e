"""What the packages offer to Python: few names, loaded when asked for, and right in whatever order they are imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import junkdna_harness

ORDERS = [
    "from junkdna_harness import prune, quantize, sweep, recover, check",
    "import junkdna_harness.sweep, junkdna_harness.recover; from junkdna_harness import prune, quantize, sweep, recover, check",
    "import junkdna_harness as j; prune, quantize, sweep, recover, check = j.prune, j.quantize, j.sweep, j.recover, j.check",
    "from junkdna_harness import sweep, recover; import junkdna_harness.sweep.plan; from junkdna_harness.recover.run import recover; "
    "from junkdna_harness import *",
]


@pytest.mark.parametrize("order", ORDERS)
def test_every_face_can_be_called_however_it_was_imported(order: str) -> None:
    code = f"{order}\nassert all(map(callable, (prune, quantize, sweep, recover, check)))"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_faces_are_all_and_the_documentation_names_them() -> None:
    for name in junkdna_harness.__all__:
        assert f"* `{name}(" in str(junkdna_harness.__doc__)
        assert name in dir(junkdna_harness)
    with pytest.raises(AttributeError):
        junkdna_harness.no_such_face  # noqa: B018


def test_they_do_what_the_commands_do(tmp_path: Path) -> None:
    from difficulty import UsageError
    from junkdna_harness import check, recover, sweep

    done = sweep(
        tmp_path / "runs", "difficulty_tiers_hypernyms_t1", methods="magnitude", sparsity="0.9", limit=100
    )
    assert done.exit_code == 0
    names = {plan_cell.method: done.plan.run_id(plan_cell) for plan_cell in done.plan.cells}
    dense, pruned = (
        next(run for method, run in names.items() if (method == "dense") == d) for d in (True, False)
    )
    gate = check(tmp_path / "runs", tmp_path / "runs", 0.1, run=pruned, baseline_run=dense)
    assert gate.verdict == "fail", [(c.name, c.loss.before, c.loss.after, c.verdict) for c in gate.cells]
    with pytest.raises(UsageError, match="engine 'rey' is unknown"):
        sweep(tmp_path / "other", engine="rey", quantize="rtn:4")
    with pytest.raises(UsageError, match="is no folder here"):
        recover("./missing", tmp_path / "out")


def test_the_version_is_written_once() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert junkdna_harness.__version__ not in text.split("dependencies")[0]
    assert 'dynamic = ["version"]' in text
    citation = (
        Path(__file__).parents[2] / "CITATION.cff"
    ).read_text()  # can read no Python, so it is checked
    assert f"version: {junkdna_harness.__version__}\n" in citation
