"""`--match-loss`: the levels of the controls are those with the loss of the primary method's, whatever happens on the way."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from difficulty.errors import UsageError
from difficulty.runs.halves import RULE
from difficulty.runs.read import read_runs
from junkdna_harness.sweep import Plan, Store, SweepOutcome, build_plan, run_sweep
from junkdna_harness.sweep import run as running
from junkdna_harness.sweep.outlook import outlook
from junkdna_harness.sweep.search import MOST_TRIED
from tests.sweep.curves import Curve, CurveEngine, Killed

CURVES: Mapping[str, Curve] = {
    "magnitude": lambda s: 30 * s**5,
    "random": lambda s: 18 * (1 - math.exp(-((s / 0.05) ** 2))),
    "largest": lambda s: 18 * (1 - math.exp(-((s / 0.001) ** 0.7))),
}
LOST = {0.4: 0.3072, 0.5: 0.9375, 0.6: 2.3328}  # by magnitude, 30 s^5


@pytest.fixture(autouse=True)
def no_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "check_tasks", lambda plan: None)
    monkeypatch.setattr(running, "check_space", lambda *_: None)
    monkeypatch.setattr(running, "check_models", lambda *_: [])


def asked(**options: Any) -> Plan:
    given = {"methods": "magnitude,random,largest", "sparsity": "0.4,0.5,0.6", "match_loss": True, **options}
    return build_plan("t", **given)


def sweep(folder: Path, engine: CurveEngine, *, extend: bool = False, **options: Any) -> SweepOutcome:
    return run_sweep(asked(**options), folder, engine=engine, extend=extend)  # type: ignore[arg-type]


def matches(folder: Path) -> dict[tuple[str, float], dict[str, Any]]:
    plan = json.loads((folder / "plan.json").read_text())
    return {(m["method"], m["matched_to"]["level"]): m for m in plan["matches"]}


def test_each_control_is_matched_to_each_level_on_the_calibration_half_alone(tmp_path: Path) -> None:
    """On the other half every compressed run loses 7 more: a search that looked there would find other levels."""
    engine = CurveEngine(CURVES, others=7.0)
    outcome = sweep(tmp_path / "s", engine)
    assert outcome.exit_code == 0 and engine.loaded == 1
    found = matches(tmp_path / "s")
    assert set(found) == {(m, s) for m in ("random", "largest") for s in (0.4, 0.5, 0.6)}
    for (method, level), match in found.items():
        assert match["reached"] and match["why_not"] is None and match["half"] == RULE
        assert match["matched_to"] == {"method": "magnitude", "level": level}
        assert match["target_loss"] == pytest.approx(LOST[level], abs=1e-9)
        assert match["loss"] == pytest.approx(CURVES[method](match["level"]), abs=1e-9)
        assert abs(match["loss"] - match["target_loss"]) <= max(0.05, 0.05 * match["target_loss"])
        assert match["runs"] == [f"embedded {method} {match['level']:.10g}"]


def test_the_controls_are_not_evaluated_at_the_grids_levels_and_quantizers_are_left_alone(
    tmp_path: Path,
) -> None:
    engine = CurveEngine({**CURVES, "rtn": lambda s: 1.0})
    sweep(tmp_path / "s", engine, quantize="rtn:4", patterns="2:4")
    first = {"embedded dense", *(f"embedded magnitude {s}" for s in LOST), "embedded rtn 4 bits"}
    first |= {f"embedded {method} 2:4 0.5" for method in CURVES}
    assert set(engine.ran[: len(first)]) == first
    assert not {f"embedded {m} {s}" for m in ("random", "largest") for s in LOST} & set(engine.ran)
    assert {name.split()[1] for name in engine.ran[len(first) :]} == {"random", "largest"}


def test_methods_that_are_named_are_matched_and_the_others_stay_on_the_grid(tmp_path: Path) -> None:
    """`random` is in both: at the grid's levels, which the search starts from, and at those that it finds."""
    engine = CurveEngine({**CURVES, "wanda": lambda s: 20 * s**5})
    grid = {"methods": "magnitude,wanda,random", "sparsity": "0.04,0.5,0.6", "patterns": "2:4"}
    outcome = sweep(tmp_path / "s", engine, match_loss=["random", "largest"], **grid)
    assert outcome.exit_code == 0
    on_grid = {
        f"embedded {m} {s}" for m in ("magnitude", "wanda", "random") for s in ("2:4 0.5", 0.04, 0.5, 0.6)
    }
    assert set(engine.ran[: len(on_grid) + 1]) == {"embedded dense", *on_grid}
    assert {name.split()[1] for name in engine.ran[len(on_grid) + 1 :]} == {"random", "largest"}
    found = matches(tmp_path / "s")
    assert set(found) == {(m, s) for m in ("random", "largest") for s in (0.04, 0.5, 0.6)}
    assert all(match["reached"] for (_, level), match in found.items() if level > 0.04)
    assert not any("largest 2:4" in name for name in engine.ran)


def test_the_plan_says_why_a_level_was_added_and_readers_know_it(tmp_path: Path) -> None:
    engine = CurveEngine(CURVES)
    sweep(tmp_path / "s", engine)
    plan = Store(tmp_path / "s").need_plan()
    added = [cell for cell in plan.cells if cell.added is not None]
    assert {cell.method for cell in added} == {"random", "largest"} and len(added) == len(plan.cells) - 4
    rounds = [cell.added["round"] for cell in added if cell.added]
    assert rounds == sorted(rounds) and rounds[0] == 1
    for cell in added:
        assert cell.added is not None and cell.added["why"] == "match-loss"
        assert all(one["method"] == "magnitude" and one["level"] in LOST for one in cell.added["for"])
    table = read_runs(tmp_path / "s").runs
    assert set(table.loc[table["matched"], "method"]) == {"random", "largest"}
    assert not table.loc[table["method"].isin(["magnitude", "dense"]), "matched"].any()
    tidy = read_runs(tmp_path / "s").tidy()
    assert tidy["matched"].sum() == len(added) * 2 * 360


def test_a_folder_without_the_record_has_no_matched_run(tmp_path: Path) -> None:
    sweep(tmp_path / "s", CurveEngine(CURVES), match_loss=False)
    text = (tmp_path / "s" / "plan.json").read_text()
    assert '"added"' not in text and '"matches"' not in text
    assert not read_runs(tmp_path / "s").runs["matched"].any()


def test_the_same_command_again_finds_all_done(tmp_path: Path) -> None:
    first = CurveEngine(CURVES)
    outcome = sweep(tmp_path / "s", first)
    before = (tmp_path / "s" / "plan.json").read_bytes()
    again = CurveEngine(CURVES)
    second = sweep(tmp_path / "s", again)
    assert again.starts == 0 and len(second.skipped) == len(first.ran) == len(outcome.finished)
    assert second.plan == outcome.plan and (tmp_path / "s" / "plan.json").read_bytes() == before


FEW = {"methods": "magnitude,random", "sparsity": "0.5,0.6"}


@pytest.mark.parametrize("at_once", [False, True], ids=["before the next run", "after a run is stored"])
def test_a_sweep_killed_at_any_run_of_any_round_goes_on_to_the_same_end(
    tmp_path: Path, at_once: bool
) -> None:
    whole = CurveEngine(CURVES)
    sweep(tmp_path / "whole", whole, **FEW)
    assert len(whole.ran) > 6
    for dies_after in range(1, len(whole.ran) + at_once):
        folder = tmp_path / str(dies_after)
        engine, rest = CurveEngine(CURVES, dies_after=dies_after, at_once=at_once), CurveEngine(CURVES)
        with pytest.raises(Killed):
            sweep(folder, engine, **FEW)
        sweep(folder, rest, **FEW)
        assert sorted([*engine.ran, *rest.ran]) == sorted(whole.ran), (
            "a run is repeated, or another level was chosen"
        )
        assert matches(folder) == matches(tmp_path / "whole")


def test_targets_that_cannot_be_reached_are_told_and_are_no_failure(tmp_path: Path) -> None:
    jumps = {
        "magnitude": lambda s: 0.02 if s < 0.45 else 30 * s**5,
        "random": lambda s: 0.3 * s,
        "largest": lambda s: 9.0 * (s > 0.02),
    }
    outcome = sweep(tmp_path / "s", CurveEngine(jumps))
    assert outcome.exit_code == 0
    found = matches(tmp_path / "s")
    assert not any(match["reached"] for match in found.values())
    assert found["random", 0.4]["why_not"] == "it is too small to be told from none"
    assert found["random", 0.5]["why_not"] == "even the highest sparsity loses less"
    assert found["random", 0.5]["below"] == {"level": 0.99, "loss": pytest.approx(0.297)}
    assert found["random", 0.5]["above"] is None
    assert found["largest", 0.5]["why_not"] == f"it was not met in {MOST_TRIED} evaluations"
    assert found["largest", 0.5]["below"]["loss"] == 0 and found["largest", 0.5]["above"][
        "loss"
    ] == pytest.approx(9)
    assert found["largest", 0.5]["below"]["level"] <= 0.02 < found["largest", 0.5]["above"]["level"] < 0.022
    said = [note for note in outcome.notes if "not matched" in note]
    assert len(said) == 6
    assert any(
        note.startswith("largest is not matched to magnitude 0.5, which loses 0.938: ")
        and "Nearest: 0 at 0.0" in note
        for note in said
    )
    assert not read_runs(tmp_path / "s").runs.query("method == 'magnitude'")["matched"].any()


def test_a_curve_that_falls_is_told_and_the_closest_level_is_kept(tmp_path: Path) -> None:
    """Random loses 0.9 from a sparsity of 0.2 on, and 2.2 between 0.05 and 0.2."""
    odd = {**CURVES, "random": lambda s: 20 * s if s < 0.05 else 2.2 if s < 0.2 else 0.9}
    outcome = sweep(tmp_path / "s", CurveEngine(odd), methods="magnitude,random", sparsity="0.5,0.6")
    assert any(note.startswith("random does not lose more with every step: 2.2 at") for note in outcome.notes)
    found = matches(tmp_path / "s")
    assert found["random", 0.5]["reached"] and found["random", 0.5]["loss"] == pytest.approx(0.9375, abs=0.05)


def test_every_level_has_all_draws_and_their_mean_is_matched(tmp_path: Path) -> None:
    """The second draw of random loses 0.4 more than the first: a search on the first alone would end 0.2 off."""
    engine = CurveEngine(CURVES, draws={1: 0.4})
    sweep(tmp_path / "s", engine, replicates=2, methods="magnitude,random")
    plan = Store(tmp_path / "s").need_plan()
    for level in {cell.level for cell in plan.cells if cell.method == "random"}:
        draws = {
            c.replicate: c.arguments.get("mask_seed")
            for c in plan.cells
            if (c.method, c.level) == ("random", level)
        }
        assert draws == {0: None, 1: 1}
    for match in matches(tmp_path / "s").values():
        assert match["reached"] and len(match["runs"]) == 2
        assert match["loss"] == pytest.approx(CURVES["random"](match["level"]) + 0.2, abs=1e-9)


def test_a_level_that_fails_is_recorded_and_the_search_goes_below_it(tmp_path: Path) -> None:
    breaks = {**CURVES, "random": lambda s: math.nan if s > 0.06 else CURVES["random"](s)}
    outcome = sweep(tmp_path / "s", CurveEngine(breaks), methods="magnitude,random")
    assert outcome.exit_code == 1 and "embedded random 0.1" in outcome.failed
    assert all(match["reached"] for match in matches(tmp_path / "s").values())
    mended = CurveEngine(CURVES)
    assert sweep(tmp_path / "s", mended, methods="magnitude,random").exit_code == 0
    assert set(mended.ran) == set(outcome.failed)


def test_a_control_that_always_fails_is_given_up(tmp_path: Path) -> None:
    engine = CurveEngine({**CURVES, "random": lambda s: math.nan})
    outcome = sweep(tmp_path / "s", engine, methods="magnitude,random")
    assert outcome.exit_code == 1 and len(outcome.failed) == 3
    assert {match["why_not"] for match in matches(tmp_path / "s").values()} == {"its runs failed"}


def test_a_run_that_fails_by_chance_does_not_mislead_the_search(tmp_path: Path) -> None:
    tried: list[float] = []

    def first_time(level: float) -> float:
        tried.append(level)
        return math.nan if len(tried) == 1 else CURVES["random"](level)

    outcome = sweep(tmp_path / "s", CurveEngine({**CURVES, "random": first_time}), methods="magnitude,random")
    assert outcome.exit_code == 0 and tried[0] == tried[1] == 0.1
    sweep(tmp_path / "whole", CurveEngine(CURVES), methods="magnitude,random")
    assert matches(tmp_path / "s") == matches(tmp_path / "whole")


def test_a_primary_run_that_fails_has_no_match(tmp_path: Path) -> None:
    fails = {**CURVES, "magnitude": lambda s: math.nan if s == 0.5 else CURVES["magnitude"](s)}
    outcome = sweep(tmp_path / "s", CurveEngine(fails), methods="magnitude,random")
    assert {level for _, level in matches(tmp_path / "s")} == {0.4, 0.6}
    assert "no level is matched to magnitude 0.5, whose run failed or lacks a task." in outcome.notes


def test_without_margins_accuracy_is_matched_and_it_is_said(tmp_path: Path) -> None:
    outcome = sweep(tmp_path / "s", CurveEngine(CURVES, margins=False), methods="magnitude,random")
    assert "no margins were logged, so levels are matched by the loss of mean accuracy." in outcome.notes
    found = matches(tmp_path / "s")[("random", 0.6)]
    assert found["scale"] == "accuracy" and found["reached"]
    assert 0 < found["target_loss"] < 1 and abs(found["loss"] - found["target_loss"]) <= max(
        0.01, 0.05 * found["target_loss"]
    )


def test_extend_adds_levels_and_their_matches(tmp_path: Path) -> None:
    sweep(tmp_path / "s", CurveEngine(CURVES))
    before = matches(tmp_path / "s")
    with pytest.raises(UsageError, match="Add --extend"):
        sweep(tmp_path / "s", CurveEngine(CURVES), sparsity="0.4,0.5,0.6,0.7")
    engine = CurveEngine(CURVES)
    sweep(tmp_path / "s", engine, extend=True, sparsity="0.4,0.5,0.6,0.7")
    after = matches(tmp_path / "s")
    assert {key: after[key] for key in before} == before and set(after) - set(before) == {
        ("random", 0.7),
        ("largest", 0.7),
    }
    assert after["random", 0.7]["reached"] and engine.ran[0] == "embedded magnitude 0.7"
    assert sweep(tmp_path / "s", CurveEngine(CURVES), extend=True, sparsity="0.4,0.5,0.6,0.7").finished == []


def test_extend_matches_a_grid_that_is_there_and_uses_its_runs(tmp_path: Path) -> None:
    grid = {"sparsity": "0.02,0.05,0.1,0.4,0.5", "methods": "magnitude,random"}
    sweep(tmp_path / "s", CurveEngine(CURVES), match_loss=False, **grid)
    with pytest.raises(UsageError, match="more runs"):
        sweep(tmp_path / "s", CurveEngine(CURVES), **grid)
    engine = CurveEngine(CURVES)
    sweep(tmp_path / "s", engine, extend=True, **grid)
    alone = CurveEngine(CURVES)
    sweep(tmp_path / "alone", alone, **grid)
    assert 0 < len(engine.ran) < len([name for name in alone.ran if " random " in name])
    assert all(m["reached"] for (_, level), m in matches(tmp_path / "s").items() if level >= 0.4)


def test_a_plain_command_on_a_matched_folder_names_what_it_would_add(tmp_path: Path) -> None:
    sweep(tmp_path / "s", CurveEngine(CURVES))
    with pytest.raises(UsageError, match="lacks 6 of these runs"):
        sweep(tmp_path / "s", CurveEngine(CURVES), match_loss=False)
    engine = CurveEngine(CURVES)
    sweep(tmp_path / "s", engine, match_loss=False, extend=True)
    assert len(engine.ran) == 6 and len(matches(tmp_path / "s")) == 6, "what was found stays"


def test_two_models_have_matches_of_their_own(tmp_path: Path) -> None:
    given = {
        "methods": "magnitude,random",
        "sparsity": "0.5",
        "model_args": ["pretrained=x/a", "pretrained=x/b"],
    }
    engine = CurveEngine(CURVES)
    outcome = run_sweep(asked(**given), tmp_path / "s", engine=engine)  # type: ignore[arg-type]
    assert engine.loaded == 2, "a model is loaded once, whatever the rounds"
    assert [(m["model"], m["reached"]) for m in outcome.plan.matches] == [("x/a", True), ("x/b", True)]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"methods": "magnitude"}, "there is only 'magnitude'"),
        ({"sparsity": "0"}, "Add --sparsity"),
        ({"sparsity": None, "patterns": "2:4"}, "Add --sparsity"),
        ({"methods": None, "sparsity": None, "quantize": "rtn:4"}, "Add --sparsity"),
        ({"match_loss": ["random", "magnitude"]}, "names 'magnitude', the method whose losses are sought"),
        ({"match_loss": []}, "neither true nor false, nor a list of methods"),
        ({"match_loss": 1}, "neither true nor false, nor a list of methods"),
        ({"match_loss": "largst"}, "largest"),
    ],
)
def test_what_cannot_be_matched_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        asked(**options)


def test_the_first_method_is_the_primary_one_where_magnitude_is_not_there() -> None:
    plan = asked(methods="wanda,random")
    assert plan.later is not None and (plan.later.primary, plan.later.controls) == ("wanda", ("random",))
    assert asked(methods="random,magnitude").later.primary == "magnitude"  # type: ignore[union-attr]


def test_a_dry_run_knows_the_first_round_and_a_bound_of_the_others(tmp_path: Path) -> None:
    plan = asked()
    assert [plan.run_id(cell) for cell in plan.cells] == [
        "embedded dense",
        *(f"embedded magnitude {s}" for s in LOST),
    ]
    most, said = outlook(plan)
    assert most == 2 * 3 * MOST_TRIED and said[-1] == f"later rounds: at most {most} more runs"
    engine = CurveEngine(CURVES)
    sweep(tmp_path / "s", engine)
    assert len(engine.ran) - 4 <= most
    assert outlook(asked(match_loss=False)) == (0, [])


def test_small_levels_are_runs_of_their_own(tmp_path: Path) -> None:
    plan = build_plan("t", methods="largest", sparsity="0,0.0005,0.001,0.002,1e-7,0.0000012")
    assert [plan.run_id(cell) for cell in plan.cells] == [
        "embedded dense", "embedded largest 1e-07", "embedded largest 1.2e-06", "embedded largest 0.0005",
        "embedded largest 0.001", "embedded largest 0.002",
    ]  # fmt: skip
    assert len({plan.file_name(cell) for cell in plan.cells}) == 6
    assert Plan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan
    run_sweep(plan, tmp_path / "s", engine=CurveEngine(CURVES))  # type: ignore[arg-type]
    assert sorted(read_runs(tmp_path / "s").runs["level"]) == [0, 1e-7, 1.2e-6, 0.0005, 0.001, 0.002]
