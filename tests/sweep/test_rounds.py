"""Rounds on the embedded model: engines keep it loaded, and what a later round evaluates is what a grid would have."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from junkdna_harness.sweep import Store, SweepOutcome, build_plan, run_sweep
from junkdna_harness.sweep.engines import Engine, Event, Extended, Failed, Loaded
from junkdna_harness.sweep.engines.local import LocalEngine
from tests.commands import junkdna

TASKS = "difficulty_tiers_copying_t1,difficulty_tiers_copying_t3"
GIVEN = {"tasks": TASKS, "methods": "magnitude,random", "limit": 20}


def rows(folder: Path, method: str) -> pd.DataFrame:
    table = Store(folder).samples()
    table = table[table["method"] == method].drop(columns=["option_loglik"], errors="ignore")
    return table.sort_values(["run", "task", "metric", "item_id"]).reset_index(drop=True)


def matched(folder: Path, engine: Engine) -> tuple[SweepOutcome, list[Event]]:
    heard: list[Event] = []
    plan = build_plan(**GIVEN, sparsity="0.7", match_loss=True)  # type: ignore[arg-type]
    return run_sweep(plan, folder, engine=engine, listener=heard.append), heard


def ray_engine() -> Engine:
    pytest.importorskip("ray")
    from junkdna_harness.sweep.engines.ray import RayEngine

    return RayEngine(workers=2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "engine",
    [lambda: LocalEngine(workers=1), lambda: LocalEngine(workers=2), ray_engine],
    ids=["one", "two", "ray"],
)
def test_later_rounds_are_what_a_grid_evaluates(tmp_path: Path, engine: Callable[[], Engine]) -> None:
    outcome, heard = matched(tmp_path / "m", engine())
    assert outcome.exit_code == 0 and len([e for e in heard if isinstance(e, Extended)]) >= 2
    loaded = [event for event in heard if isinstance(event, Loaded)]
    assert len({json.dumps(event.fingerprint.to_dict(), sort_keys=True) for event in loaded}) == 1
    if isinstance(engine(), LocalEngine):
        assert len(loaded) == 1, "the model is loaded once for all rounds"
    (match,) = outcome.plan.matches
    assert match["reached"] and abs(match["loss"] - match["target_loss"]) <= match["tolerance"]
    levels = [cell.level for cell in outcome.plan.cells if cell.method == "random"]
    grid = build_plan(**GIVEN, sparsity=levels)  # type: ignore[arg-type]
    run_sweep(grid, tmp_path / "grid", engine=LocalEngine(workers=1))
    pd.testing.assert_frame_equal(
        rows(tmp_path / "m", "random"), rows(tmp_path / "grid", "random"), check_exact=False, atol=1e-4
    )
    again, heard = matched(tmp_path / "m", engine())
    assert again.finished == [] and not [event for event in heard if isinstance(event, Loaded)]


@pytest.mark.slow
def test_a_worker_that_dies_in_a_later_round_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.sweep import methods

    monkeypatch.setenv("JUNKDNA_TEST_MARK", str(tmp_path / "mark"))
    assert methods.dies_once
    given = {**GIVEN, "methods": "magnitude,dies_once"}
    plan = build_plan(**given, sparsity="0.6", match_loss=True)  # type: ignore[arg-type]
    heard: list[Event] = []
    outcome = run_sweep(plan, tmp_path / "s", engine=LocalEngine(workers=2), listener=heard.append)
    assert [e.cell.level for e in heard if isinstance(e, Failed)] == [0.1] and outcome.exit_code == 0
    (match,) = outcome.plan.matches
    assert match["reached"], "a run that is lost by chance must not mislead the search"


@pytest.mark.slow
def test_the_command_matches_prints_and_goes_on(tmp_path: Path) -> None:
    line = (
        "sweep", "--methods", "magnitude,random,largest", "--sparsity", "0.4,0.6", "--match-loss", "--tasks", TASKS,
        "--limit", "10", "--output", "m",
    )  # fmt: skip
    dry = junkdna(*line, "--dry-run", cwd=tmp_path)
    assert (
        dry.returncode == 0
        and "3 runs, 3 to do" in dry.stdout
        and "later rounds: at most 40 more runs" in dry.stdout
    )
    first = junkdna(*line, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "match-loss, round 1: random 0.1, largest 0.1" in first.stderr
    assert "matched to" in first.stdout and "magnitude 0.6" in first.stdout
    again = junkdna(*line, cwd=tmp_path)
    assert again.returncode == 0 and "0 runs done" in again.stdout
    (tmp_path / "plan.yaml").write_text(
        f"methods: [magnitude, random, largest]\nsparsity: [0.4, 0.6]\nmatch_loss: true\ntasks: '{TASKS}'\nlimit: 10\noutput: m\n"
    )
    same = junkdna("sweep", "plan.yaml", cwd=tmp_path)
    assert same.returncode == 0 and "0 runs done" in same.stdout, same.stderr


def test_calibration_text_of_a_control_is_in_the_fingerprint_from_the_start(tmp_path: Path) -> None:
    """The control's first run comes in a later round, and the folder must know by then what it was calibrated on."""
    plan = build_plan(
        TASKS, "nsamples=2,seqlen=16", "magnitude,wanda", "0.5", limit=4, match_loss=True
    )  # fmt: skip
    assert not [cell for cell in plan.cells if cell.method == "wanda"]
    from junkdna_harness.sweep.machine import Machine
    from junkdna_harness.sweep.session import Session

    assert Session(plan, 0, Machine(threads=1)).fingerprint.calibrations
