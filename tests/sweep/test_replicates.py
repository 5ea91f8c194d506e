"""Replicates of whatever is drawn by lot: calibration samples of pruning and of rounding, from the plan to the verdicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from difficulty.errors import UsageError
from difficulty.judge.fit import fit
from difficulty.runs.read import read_runs
from junkdna_harness.sweep import Store, build_plan, run_sweep
from junkdna_harness.sweep.display import print_plan
from junkdna_harness.sweep.engines.local import LocalEngine
from tests.models_factory import save_tiny

TASKS = "difficulty_tiers_copying_t1,difficulty_tiers_copying_t2"
HERE = LocalEngine(workers=1)
GRID: dict[str, Any] = {
    "tasks": TASKS, "methods": "magnitude,wanda", "sparsity": "0.5", "quantize": "rtn:3,gptq:3", "limit": 20,
    "model_args": "nsamples=4,seqlen=64",
}  # fmt: skip
DRAWN = ("embedded wanda 0.5", "embedded gptq 3 bits")


def start(folder: Path, extend: bool = False, engine: Any = HERE, **options: Any) -> Any:
    return run_sweep(build_plan(**{**GRID, **options}), folder, None, engine, extend)


def weights(folder: Path) -> dict[str, str]:
    return {m["run"]: m["weights_sha256"] for m in Store(folder).manifests()}


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("once") / "s"
    assert start(folder).failed == {}
    return folder


@pytest.fixture(scope="module")
def thrice(once: Path) -> Path:
    """The sweep with three draws, begun with one, extended, and stopped on the way."""
    before = {path.name: path.read_bytes() for path in (once / "runs").glob("*.json")}

    class Stopped(Exception):
        pass

    class Stops(LocalEngine):
        def run(self, work: Any, tell: Any) -> None:
            def tell_two(event: Any, told: list[Any] = []) -> None:  # noqa: B006
                tell(event)
                told += [event] if type(event).__name__ == "Finished" else []
                if len(told) == 2:
                    raise Stopped

            super().run(work, tell_two)

    with pytest.raises(Stopped):
        start(once, extend=True, engine=Stops(workers=1), replicates=3)
    outcome = start(once, replicates=3)
    assert len(outcome.skipped) == 5 + 2 and len(outcome.finished) == 2 and outcome.failed == {}
    assert [note for note in outcome.notes if "drawn by lot" in note] == [
        "replicates 3: nothing is drawn by lot for magnitude, rtn, so each run of it is there once."
    ]
    for name, content in before.items():
        assert (once / "runs" / name).read_bytes() == content
    return once


def test_three_calibrations_are_three_models(thrice: Path) -> None:
    found = weights(thrice)
    assert len(found) == 1 + 1 + 3 + 1 + 3
    for first in DRAWN:
        assert len({found[first], found[f"{first} #1"], found[f"{first} #2"]}) == 3
    drawn = {
        m["run"]: m["manifest"]["calibration"] for m in Store(thrice).manifests() if m["run"][:-3] in DRAWN
    }
    assert {run[-2:]: (c["seed"], c["nsamples"]) for run, c in drawn.items()} == {"#1": (1, 4), "#2": (2, 4)}
    assert len({c["tokens_sha256"] for c in drawn.values()}) == 2


def test_a_draw_is_what_its_seed_gives_alone(thrice: Path, tmp_path: Path) -> None:
    start(tmp_path / "alone", methods="wanda", quantize="gptq:3", model_args="nsamples=4,seqlen=64,seed=2")
    found, alone = weights(thrice), weights(tmp_path / "alone")
    for first in DRAWN:
        assert alone[first] == found[f"{first} #2"] != found[first]


def test_statistics_of_one_sample_are_not_taken_for_another(tmp_path: Path) -> None:
    given = {"methods": "wanda", "sparsity": "0.4,0.6", "quantize": None, "one_shot": True, "replicates": 2}
    start(tmp_path / "both", **given)
    start(tmp_path / "one", **{**given, "replicates": 1, "model_args": "nsamples=4,seqlen=64,seed=1"})
    both, one = weights(tmp_path / "both"), weights(tmp_path / "one")
    for level in ("0.4", "0.6"):
        assert one[f"embedded wanda {level}"] == both[f"embedded wanda {level} #1"]
        assert both[f"embedded wanda {level}"] != both[f"embedded wanda {level} #1"]


def test_the_statistics_read_them_as_replicates(thrice: Path) -> None:
    runs = read_runs(thrice)
    cells = fit(runs.table, claims=("P2",), n_resamples=100).cells
    told = cells.groupby("method")["n_replicates"].agg(set).to_dict()
    assert {m: told[m] for m in ("magnitude", "wanda", "rtn", "gptq")} == {
        "magnitude": {1}, "wanda": {3}, "rtn": {1}, "gptq": {3},
    }  # fmt: skip


def test_a_dry_run_counts_them_and_says_what_is_drawn_once(capsys: pytest.CaptureFixture[str]) -> None:
    print_plan(build_plan(**{**GRID, "replicates": 3}), None)
    out = capsys.readouterr().out
    assert "9 runs, 9 to do" in out and "nothing is drawn by lot for magnitude, rtn" in out
    assert "embedded gptq 3 bits #2" in out


def rows(path: Path, number: int) -> Path:
    path.write_text("\n\n".join(f"number {1000 + i} has many words" for i in range(number)))
    return path


def test_a_text_that_one_sample_uses_up_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    save_tiny("llama", tmp_path / "m")
    text = rows(tmp_path / "c.txt", 12)
    given = {
        "methods": "wanda", "quantize": None, "model_args": f"pretrained={tmp_path / 'm'},calibration={text},nsamples=8,seqlen=64",
    }  # fmt: skip
    with pytest.raises(
        UsageError, match=r"holds 12 different rows, and a sample of nsamples=8 x seqlen=64 tokens takes 12"
    ):
        start(tmp_path / "s", replicates=2, **given)
    assert not list((tmp_path / "s").glob("runs/*.json"))
    assert start(tmp_path / "one", **given).failed == {}  # one sample may use up all of it


@pytest.mark.parametrize(("there", "told"), [(24, True), (4000, False)])
def test_samples_that_share_much_are_told(there: int, told: bool, tmp_path: Path) -> None:
    save_tiny("llama", tmp_path / "m")
    text = rows(tmp_path / "c.txt", there)
    outcome = start(
        tmp_path / "s", replicates=2, methods="wanda", quantize=None,
        model_args=f"pretrained={tmp_path / 'm'},calibration={text},nsamples=8,seqlen=64",
    )  # fmt: skip
    assert outcome.failed == {} and len(outcome.finished) == 3
    notes = [note for note in outcome.notes if "share up to" in note]
    assert bool(notes) is told and all(f"holds {there} different rows" in note for note in notes)
