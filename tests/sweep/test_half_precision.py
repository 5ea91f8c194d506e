"""`sweep --dtype auto-cpu`: one dtype in all runs of a folder, and how near to float32 it is, on a sample that is asked twice."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.proportion import proportion_confint

from difficulty.errors import UsageError
from difficulty.runs.dtypes import Agreement
from difficulty.runs.read import read_runs
from junkdna_harness import precision
from junkdna_harness.gate import Limits, check, read_baseline, read_run, to_json
from junkdna_harness.report.build import build
from junkdna_harness.sweep import agreement, build_plan, run_sweep
from junkdna_harness.sweep.agreement import measured, sample
from junkdna_harness.sweep.engines.local import LocalEngine
from junkdna_harness.sweep.plan import PlannedRun
from tests.commands import lm_eval

TASKS = ("difficulty_tiers_hypernyms_t1", "difficulty_tiers_copying_t3")
HERE = LocalEngine(workers=1)


def sweep(folder: Path, **options: Any) -> Any:
    given = {
        "tasks": TASKS, "methods": "magnitude", "sparsity": "0.3,0.9", "quantize": "rtn:8,2", "limit": 20, **options,
    }  # fmt: skip
    return run_sweep(build_plan(**given), folder, engine=HERE)


def computes_natively(there: bool) -> pytest.MonkeyPatch:
    patch = pytest.MonkeyPatch()
    patch.setattr(precision, "native_bfloat16", lambda: there)
    return patch


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("half") / "s"
    patch = computes_natively(True)
    outcome = sweep(folder, dtype="auto-cpu")
    patch.undo()
    assert outcome.exit_code == 0
    assert any("forward passes are in bfloat16" in note for note in outcome.notes)
    assert sum("that were asked in float32 too" in note for note in outcome.notes) == 3, "each is printed"
    return folder


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wide") / "s"
    assert sweep(folder).exit_code == 0
    return folder


def manifests(folder: Path) -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in (folder / "runs").glob("*.json")}


def test_every_run_says_its_dtype_and_has_the_weights_of_float32(half: Path, wide: Path) -> None:
    ours, theirs = manifests(half), manifests(wide)
    assert ours.keys() == theirs.keys() and len(ours) == 5
    for name, run in ours.items():
        assert (run["manifest"]["dtype"], theirs[name]["manifest"]["dtype"]) == ("bfloat16", "float32")
        assert run["weights_sha256"] == theirs[name]["weights_sha256"]
    taken = json.loads((half / "identity.json").read_text())["fingerprint"]
    assert taken["dtype"] == "bfloat16"
    assert set(read_runs(half).dtypes.values()) == {"bfloat16"}


def table(folder: Path, stem: str, metric: str) -> pd.DataFrame:
    rows = pd.read_parquet(folder / "samples" / f"{stem}.parquet")
    return rows[rows["metric"] == metric].set_index(["task", "item_id"]).sort_index()


def answered(folder: Path, stem: str) -> list[Any]:
    """The log-likelihoods of each item."""
    listed = pd.read_parquet(folder / "responses" / f"{stem}.parquet").sort_values(["task", "doc_id"])[
        "resps"
    ]
    return [np.array([float(value) for ((value, _),) in json.loads(text)]) for text in listed]


def greedily(folder: Path, stem: str) -> list[bool]:
    """Whether each answer that is the only option is the likeliest text."""
    listed = pd.read_parquet(folder / "responses" / f"{stem}.parquet").sort_values(["task", "doc_id"])[
        "resps"
    ]
    return [one[0][0][1] for text in listed if len(one := json.loads(text)) == 1]


def test_the_agreement_is_that_of_two_sweeps_item_by_item(half: Path, wide: Path) -> None:
    """The plan is so small that the sample is all of it, so the sweep in float32 holds what was asked twice."""
    found = {stem: run["agreement"] for stem, run in manifests(half).items() if "agreement" in run}
    assert set(found) == {"dense", "magnitude_0.9", "rtn_2_bits"}
    for stem, one in found.items():
        scores = [table(folder, stem, "acc")["value"] for folder in (half, wide)]
        answers = [answered(folder, stem) for folder in (half, wide)]
        differences = np.abs(np.concatenate([a - b for a, b in zip(*answers, strict=True)]))
        taken = [[a.argmax() if len(a) > 1 else None for a in listed] for listed in answers]
        greedy = [greedily(folder, stem) for folder in (half, wide)]
        assert one["items"] == len(scores[0]) == 40 and one["dtype"] == "bfloat16"
        assert one["requests"] == len(differences)
        assert one["lost"] == int((scores[0] < scores[1]).sum())
        assert one["gained"] == int((scores[0] > scores[1]).sum())
        changed = sum(a != b for a, b in zip(*taken, strict=True))
        changed += sum(a != b for a, b in zip(*greedy, strict=True))
        assert one["answers_changed"] == changed
        assert differences.max() > 0 and one["loglik_largest"] == pytest.approx(differences.max())
        assert one["loglik_mean"] == pytest.approx(differences.mean())


def test_the_call_that_is_stored_gives_the_same_scores(half: Path, tmp_path: Path) -> None:
    if not precision.native_bfloat16():
        pytest.skip("the call is made in another process, whose CPU does not compute in bfloat16")
    words = manifests(half)["magnitude_0.9"]["lm_eval"].split()
    assert "dtype=auto-cpu" in " ".join(words)
    done = lm_eval(*words[3:], "--log_samples", "--output_path", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    found = read_runs(tmp_path / "out")
    assert list(found.dtypes.values()) == ["bfloat16"]
    again = found.table[found.table["metric"] == "acc"].set_index(["task", "item_id"])["value"].sort_index()
    assert again.equals(table(half, "magnitude_0.9", "acc")["value"])


def test_a_finished_sweep_measures_nothing_anew_and_a_damaged_run_does(half: Path) -> None:
    patch = computes_natively(True)
    try:
        before = {path: path.read_bytes() for path in (half / "runs").glob("*.json")}
        assert len(sweep(half, dtype="auto-cpu").skipped) == 5
        assert {path: path.read_bytes() for path in before} == before
        (half / "runs" / "dense.json").unlink()
        assert [str(cell.kind) for cell in sweep(half, dtype="auto-cpu").finished] == ["dense"]
    finally:
        patch.undo()
    assert Agreement.of(manifests(half)["dense"]) == Agreement.of(
        json.loads(before[half / "runs" / "dense.json"])
    )


def test_what_is_said_of_all_items_is_not_that_of_the_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "native_bfloat16", lambda: True)
    monkeypatch.setattr(agreement, "FEWEST", 5)
    task = "difficulty_tiers_capitals_t1"
    sweep(tmp_path / "s", dtype="auto-cpu", tasks=task, sparsity="0.9", quantize=None)
    for run in manifests(tmp_path / "s").values():
        assert run["agreement"]["items"] == 5
        assert run["manifest"]["option_lengths"][task]["items"] == 20
        assert run["n_requests"] == run["agreement"]["requests"] * 4


@pytest.mark.parametrize("dtype", [None, "bfloat16", "float32"])
def test_another_dtype_is_another_plan(half: Path, dtype: str | None) -> None:
    with pytest.raises(UsageError, match="its models is"):
        sweep(half, dtype=dtype)


def test_a_machine_that_chooses_otherwise_is_refused(half: Path) -> None:
    kept = (half / "runs" / "dense.json").read_bytes()
    (half / "runs" / "dense.json").unlink()
    patch = computes_natively(False)
    try:
        with pytest.raises(UsageError, match="its dtype was bfloat16, and is now float32"):
            sweep(half, dtype="auto-cpu")
    finally:
        patch.undo()
        (half / "runs" / "dense.json").write_bytes(kept)


def test_dtype_is_given_once() -> None:
    assert (
        build_plan(TASKS, methods="magnitude", sparsity="0.5", dtype="float16").models[0]["dtype"]
        == "float16"
    )
    with pytest.raises(UsageError, match="dtype is 'float32' in --model-args, and 'auto-cpu' in --dtype"):
        build_plan(TASKS, "dtype=float32", methods="magnitude", sparsity="0.5", dtype="auto-cpu")


def test_explicit_half_precision_is_of_the_weights_and_is_not_measured(tmp_path: Path) -> None:
    sweep(tmp_path / "s", dtype="bfloat16", sparsity="0.9", quantize=None, limit=3)
    for run in manifests(tmp_path / "s").values():
        assert run["manifest"]["dtype"] == "bfloat16" and "agreement" not in run


def test_the_report_shows_it(half: Path) -> None:
    notes = [
        note
        for note in build([half], with_fit=False, with_plots=False).warnings
        if "asked in float32 too" in note
    ]
    assert len(notes) == 3 and "'embedded dense' was computed in bfloat16. Of 40 items" in " ".join(notes)


def test_a_dense_run_in_half_precision_beside_others_in_float32_is_named(
    half: Path, wide: Path, tmp_path: Path
) -> None:
    mixed = tmp_path / "mixed"
    for folder, stems in ((half, ["dense"]), (wide, ["magnitude_0.9"])):
        part = mixed / folder.parent.name
        for stem in stems:
            for kind in ("runs", "samples", "responses"):
                for path in (folder / kind).glob(f"{stem}.*"):
                    (part / kind).mkdir(parents=True, exist_ok=True)
                    (part / kind / path.name).write_bytes(path.read_bytes())
        for name in ("plan.json", "identity.json", "tasks.json", "items.parquet"):
            (part / name).write_bytes((folder / name).read_bytes())
    told = [note for note in read_runs(mixed).warnings if "different dtypes" in note]
    assert told == [
        "runs of 'embedded' were computed in different dtypes (bfloat16: embedded dense; float32: embedded magnitude 0.9): a part of "
        "what they differ by is rounding. Evaluate dense and compressed alike."
    ]


def test_one_run_in_two_dtypes_is_not_put_together(half: Path, wide: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    sweep(other, tasks="difficulty_tiers_agreement_t1", limit=4, sparsity="0.9", quantize=None)
    with pytest.raises(UsageError, match="'embedded dense' was computed in .* Read them apart"):
        read_runs([half, other])
    assert read_runs([wide, other]).dtypes["embedded dense"] == "float32"


def test_the_gate_names_a_baseline_in_other_numbers(half: Path, wide: Path, tmp_path: Path) -> None:
    baseline = tmp_path / "b.json"
    baseline.write_text(to_json(read_run(wide, "embedded dense")))
    assert json.loads(baseline.read_text())["dtype"] == "float32"
    for folder, named in ((half, True), (wide, False)):
        found = check(read_run(folder, "embedded dense"), read_baseline(baseline), Limits(0.1))
        assert any("computed in bfloat16, and the baseline in float32" in n for n in found.notes) is named


def test_folders_of_older_versions_say_it_in_their_identity(wide: Path, tmp_path: Path) -> None:
    sweep(tmp_path / "s", dtype="bfloat16", sparsity="0.9", quantize=None, limit=3)
    for path in (tmp_path / "s" / "runs").glob("*.json"):
        run = json.loads(path.read_text())
        del run["manifest"]["dtype"]
        path.write_text(json.dumps(run))
    assert set(read_runs(tmp_path / "s").dtypes.values()) == {"bfloat16"}


def cell(
    kind: Any, method: str, level: float | None = None, bits: float | None = None, **more: Any
) -> PlannedRun:
    return PlannedRun(0, kind, method, level, bits, **more)  # type: ignore[arg-type]


def test_it_is_measured_in_the_dense_and_the_most_compressed_runs() -> None:
    cells = [
        cell("dense", "dense", 0.0), cell("dense", "dense", 0.0, noise_floor=True), cell("prune", "wanda", 0.5),
        cell("prune", "magnitude", 0.7), cell("prune", "wanda", 0.7), cell("quantize", "rtn", None, 4), cell("quantize", "rtn", None, 2),
    ]  # fmt: skip
    assert measured(cells) == [cells[0], cells[3], cells[6]]
    assert measured(cells[1:2]) == []


def document(number: int, kind: str = "loglikelihood", arguments: tuple[str, ...] = ("a", "b")) -> Any:
    return SimpleNamespace(number=number, instances=[SimpleNamespace(request_type=kind, args=arguments)])


def test_the_sample_takes_tasks_in_turn_and_is_always_the_same() -> None:
    documents: Any = {"a": [document(i) for i in range(100)], "b": [document(i) for i in range(3)]}
    found = sample(documents, 21)
    assert {name: len(listed) for name, listed in found.items()} == {"a": 18, "b": 3}
    assert found == sample(documents, 21)
    numbers = [one.number for one in found["a"]]
    assert len(set(numbers)) == 18 and numbers != list(range(18)), "not the first ones"
    assert [one.number for one in sample(documents, 8)["a"]] == numbers[:5], (
        "a larger sample holds a smaller one"
    )
    assert sum(map(len, sample(documents, 1000).values())) == 103


def test_tokens_of_one_piece_of_a_text_are_taken_together() -> None:
    tasks: Any = {
        name: [document(i, "token_scores", (f"hash:{i % 4}:{i}",)) for i in range(first, 2000, 2)]
        for name, first in (("even", 0), ("odd", 1))
    }
    found = sample(tasks, 200)
    pieces = {name: {(d.number % 4, d.number // 512) for d in listed} for name, listed in found.items()}
    assert all(len(listed) == 1 for listed in pieces.values()) and len(found["even"]) == 128


def test_the_interval_is_clopper_and_pearsons() -> None:
    for changed, items in ((0, 40), (3, 400), (40, 40)):
        found = Agreement("bfloat16", items, items, changed, changed, 0, 0.1, 0.2)
        assert found.interval == pytest.approx(proportion_confint(changed, items, 0.05, "beta"))
    assert "3 have another score (3 lost, 0 gained; 0.8%, 95 % interval 0.2% to 2.2%)" in Agreement(
        "bfloat16", 400, 1600, 5, 3, 0, None, None
    ).sentence("m dense")
