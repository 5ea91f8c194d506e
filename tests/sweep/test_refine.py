"""`--refine P3`: levels that the claim asks for are added round by round, up to a limit, and each says why it is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from difficulty.errors import UsageError
from difficulty.judge import refine as judge
from difficulty.judge.fit import FitResult
from junkdna_harness.sweep import Store, SweepOutcome, build_plan, run_sweep
from junkdna_harness.sweep import run as running
from junkdna_harness.sweep.outlook import outlook
from junkdna_harness.sweep.search import MOST_TRIED
from tests.sweep.curves import CurveEngine, Killed

CURVES = {"magnitude": lambda s: 30 * s**5, "random": lambda s: 20 * s}
WHY = "refine P3"
Asks = Callable[[FitResult], dict[str, list[float]]]


@pytest.fixture(autouse=True)
def no_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "check_tasks", lambda plan: None)
    monkeypatch.setattr(running, "check_space", lambda *_: None)
    monkeypatch.setattr(running, "check_models", lambda *_: [])


def levels(result: FitResult, method: str = "magnitude") -> list[float]:
    """Those of a method that the judge saw."""
    cells = result.cells
    return sorted({float(x) for x in cells.loc[cells["method"] == method, "level"]})


def halving(result: FitResult, method: str = "magnitude") -> dict[str, list[float]]:
    """Asks for the middle between the two levels around 0.52 until they are 0.05 or so apart."""
    known = levels(result, method)
    low, high = max(x for x in known if x < 0.52), min(x for x in known if x > 0.52)
    return {} if high - low < 0.06 else {method: [(low + high) / 2]}


@pytest.fixture
def asks(monkeypatch: pytest.MonkeyPatch) -> Callable[[Asks], None]:
    return lambda function: monkeypatch.setattr(judge, "levels_to_add", function)


def sweep(folder: Path, engine: CurveEngine, *, extend: bool = False, **options: Any) -> SweepOutcome:
    given = {"methods": "magnitude", "sparsity": "0.2,0.4,0.8", "refine": "P3", **options}
    return run_sweep(build_plan("t", **given), folder, engine=engine, extend=extend)  # type: ignore[arg-type]


def added(folder: Path) -> list[tuple[str, float | None, int]]:
    plan = Store(folder).need_plan()
    assert all(cell.added["why"] == WHY for cell in plan.cells if cell.added)
    return [(cell.method, cell.level, cell.added["round"]) for cell in plan.cells if cell.added]


HALVED = [("magnitude", 0.6, 1), ("magnitude", 0.5, 2), ("magnitude", 0.55, 3)]


def test_levels_are_added_until_the_claim_asks_for_no_more(
    tmp_path: Path, asks: Callable[[Asks], None]
) -> None:
    asks(halving)
    engine = CurveEngine(CURVES)
    outcome = sweep(tmp_path / "s", engine)
    assert outcome.exit_code == 0 and engine.loaded == 1
    assert added(tmp_path / "s") == HALVED
    assert sweep(tmp_path / "s", CurveEngine(CURVES)).finished == []


@pytest.mark.parametrize("at_once", [False, True])
def test_a_kill_in_any_round_changes_nothing(
    tmp_path: Path, asks: Callable[[Asks], None], at_once: bool
) -> None:
    asks(halving)
    for dies_after in range(1, 7):
        engine, rest = CurveEngine(CURVES, dies_after=dies_after, at_once=at_once), CurveEngine(CURVES)
        with pytest.raises(Killed):
            sweep(tmp_path / str(dies_after), engine)
        sweep(tmp_path / str(dies_after), rest)
        assert added(tmp_path / str(dies_after)) == HALVED and len(engine.ran) + len(rest.ran) == 7


def test_a_finished_grid_is_refined_later_with_and_without_extend(
    tmp_path: Path, asks: Callable[[Asks], None]
) -> None:
    asks(halving)
    for extend in (False, True):
        folder = tmp_path / str(extend)
        sweep(folder, CurveEngine(CURVES), refine=None)
        assert added(folder) == []
        sweep(folder, CurveEngine(CURVES), extend=extend)
        assert added(folder) == HALVED
        assert sweep(folder, CurveEngine(CURVES), refine=None).finished == [], "the plain command goes on too"


def test_the_limit_holds_over_all_starts_and_is_said(tmp_path: Path, asks: Callable[[Asks], None]) -> None:
    asks(halving)
    outcome = sweep(tmp_path / "s", CurveEngine(CURVES), refine_levels=1)
    assert added(tmp_path / "s") == HALVED[:1] and outcome.exit_code == 0
    assert any(
        note.startswith("P3 still asks for magnitude 0.5, and the limit of 1 levels is reached")
        and "--refine-levels" in note
        for note in outcome.notes
    )
    assert sweep(tmp_path / "s", CurveEngine(CURVES), refine_levels=1).finished == []
    sweep(tmp_path / "s", CurveEngine(CURVES), refine_levels=2)
    assert added(tmp_path / "s") == HALVED[:2]


def test_the_widest_brackets_come_first_where_the_limit_cuts(
    tmp_path: Path, asks: Callable[[Asks], None]
) -> None:
    asks(lambda result: {"magnitude": [0.1, 0.3, 0.6]} if 0.6 not in levels(result) else {})
    sweep(tmp_path / "s", CurveEngine(CURVES), refine_levels=1)
    assert added(tmp_path / "s") == [("magnitude", 0.6, 1)]


def test_levels_that_are_there_or_cannot_be_had_end_it(tmp_path: Path, asks: Callable[[Asks], None]) -> None:
    asks(lambda result: {"magnitude": [0.4], "magnitude N:8": [0.3], "rtn": [0.5]})
    outcome = sweep(tmp_path / "s", CurveEngine(CURVES))
    assert added(tmp_path / "s") == []
    assert any("which this sweep cannot add" in note for note in outcome.notes)


def test_every_draw_of_a_level_is_added(tmp_path: Path, asks: Callable[[Asks], None]) -> None:
    asks(lambda result: {"random": [0.3]} if 0.3 not in levels(result, "random") else {})
    sweep(tmp_path / "s", CurveEngine(CURVES), methods="magnitude,random", replicates=3)
    assert added(tmp_path / "s") == [("random", 0.3, 1)] * 3


def test_refined_levels_are_matched_too_and_controls_are_left_to_the_matching(
    tmp_path: Path, asks: Callable[[Asks], None]
) -> None:
    asks(lambda result: {**halving(result), "random": [0.77]})
    outcome = sweep(
        tmp_path / "s", CurveEngine(CURVES), methods="magnitude,random", sparsity="0.4,0.8", match_loss=True
    )
    plan = outcome.plan
    primary = {cell.level for cell in plan.cells if cell.method == "magnitude"}
    assert primary == {0.4, 0.5, 0.55, 0.6, 0.8}
    assert {m["matched_to"]["level"] for m in plan.matches} == primary
    assert 0.77 not in {cell.level for cell in plan.cells}
    assert {(c.added["why"], c.method) for c in plan.cells if c.added} == {
        (WHY, "magnitude"),
        ("match-loss", "random"),
    }


def test_a_table_that_cannot_be_judged_is_said(tmp_path: Path) -> None:
    outcome = sweep(tmp_path / "s", CurveEngine({"magnitude": lambda s: float("nan")}))
    assert outcome.exit_code == 1
    assert any(note.startswith("P3 cannot ask for levels of 'embedded': ") for note in outcome.notes)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"refine": "P1"}, "refine 'P1' is no claim that asks for levels: only P3 does"),
        ({"refine": "p3"}, "Write --refine P3"),
        ({"refine_levels": 0}, "less than 1"),
        ({"sparsity": None, "patterns": "2:4"}, "Add --sparsity"),
    ],
)
def test_what_cannot_be_refined_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        build_plan("t", **{"methods": "magnitude", "sparsity": "0.5", "refine": "P3", **options})


def test_a_dry_run_knows_the_most(tmp_path: Path) -> None:
    plan = build_plan(
        "t", methods="magnitude,random", sparsity="0.4,0.8", refine="P3", refine_levels=5, replicates=2
    )
    assert outlook(plan)[0] == 5 * 2, "a level of random is two draws"
    plan = build_plan(
        "t", methods="magnitude,random", sparsity="0.4,0.8", refine="P3", refine_levels=5, match_loss=True
    )
    assert outlook(plan)[0] == 5 + MOST_TRIED * (2 + 5)
