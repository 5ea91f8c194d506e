"""A store is whole or is repaired: what was removed, cut or exchanged is named, evaluated again, and read by nobody meanwhile."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from difficulty.errors import UsageError
from junkdna_harness.sweep import Store, build_plan, run_sweep
from junkdna_harness.sweep.engines import Noted
from junkdna_harness.sweep.engines.local import LocalEngine
from tests.sweep.test_resume import make_old

STEM, RUN = "magnitude_0.5", "embedded magnitude 0.5"
PLAN = build_plan(
    tasks="difficulty_tiers_copying_t1", methods="magnitude", sparsity="0.1,0.3,0.5,0.7,0.9", limit=6
)


@pytest.fixture(scope="module")
def swept(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("damage") / "s"
    run_sweep(PLAN, folder, engine=LocalEngine(workers=1))
    return folder


@pytest.fixture
def folder(swept: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(swept, tmp_path / "s"))


def resumed(folder: Path) -> tuple[list[str], list[str]]:
    """Runs that were evaluated again, and what was told."""
    heard: list[str] = []
    outcome = run_sweep(
        PLAN, folder, engine=LocalEngine(workers=1),
        listener=lambda event: heard.append(event.text) if isinstance(event, Noted) else None,
    )  # fmt: skip
    assert outcome.exit_code == 0
    return [PLAN.run_id(cell) for cell in outcome.finished], heard


def edit(**values: object) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return change


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def another_runs(path: Path) -> None:
    shutil.copy(path.parent / f"dense{path.suffix}", path)


def one_row_less(path: Path) -> None:
    pd.read_parquet(path).iloc[:-1].to_parquet(path, index=False)


DAMAGE = [
    ("samples", Path.unlink, "its samples are missing"),
    ("samples", empty, r"its samples are not those that were written \(sha256 differs\)"),
    ("samples", cut, "sha256 differs"),
    ("samples", another_runs, "sha256 differs"),
    ("samples", one_row_less, "sha256 differs"),
    ("responses", Path.unlink, "its responses are missing"),
    ("responses", cut, "its responses are not those that were written"),
    ("runs", cut, "its manifest cannot be read as JSON"),
    ("runs", empty, "its manifest cannot be read as JSON"),
    ("runs", lambda path: path.write_text("[]"), "its manifest holds no JSON object"),
    ("runs", lambda path: path.write_bytes(b"\xe9\xff"), "its manifest cannot be read as JSON"),
    ("runs", edit(schema=9), "its manifest is of schema 9, and this version reads schema 1"),
    ("runs", edit(level=7), "its manifest has the impossible level 7"),
    ("runs", edit(level="half"), "has the impossible level 'half'"),
    ("runs", edit(level=0.6), "but its model, method, level and bits make 'embedded magnitude 0.6'"),
    ("runs", edit(bits=-4), "has the impossible bits -4"),
    ("runs", edit(replicate=-1), "has the impossible replicate -1"),
    ("runs", edit(effective_bits=1e9), "has the impossible effective_bits"),
    ("runs", edit(weights_sha256="?"), "has the impossible weights_sha256"),
    (
        "runs",
        edit(method="wanda", run="embedded wanda 0.5"),
        "its manifest is that of run 'embedded wanda 0.5'",
    ),
    ("runs", another_runs, "its manifest is that of run 'embedded dense'"),
]


@pytest.mark.parametrize(("kind", "damage", "told"), DAMAGE)
def test_a_damaged_run_is_named_and_read_by_nobody(folder, kind, damage, told):
    (path,) = (folder / kind).glob(f"{STEM}.*")
    damage(path)
    for read in (Store(folder).samples, Store(folder).manifests):
        with pytest.raises(UsageError, match=rf"run '{RUN}' in .* is damaged: .*{told}"):
            read()
    state = Store(folder).state(PLAN)
    assert list(state.damaged) == [RUN] and len(state.whole) == len(PLAN.cells) - 1


def test_damaged_runs_are_named_and_evaluated_again(folder, swept):
    (folder / "samples" / "magnitude_0.1.parquet").unlink()
    cut(folder / "samples" / "magnitude_0.3.parquet")
    empty(folder / "responses" / "magnitude_0.5.parquet")
    edit(level=7)(folder / "runs" / "magnitude_0.7.json")
    cut(folder / "runs" / "magnitude_0.9.json")
    again, heard = resumed(folder)
    damaged = [f"embedded magnitude {level}" for level in (0.1, 0.3, 0.5, 0.7, 0.9)]
    assert again == damaged
    assert [text.partition(" is evaluated again: ")[0] for text in heard] == [
        f"run {name!r}" for name in damaged
    ]
    pd.testing.assert_frame_equal(Store(folder).samples(), Store(swept).samples())
    assert resumed(folder) == ([], [])


@pytest.mark.parametrize(
    ("kind", "damage", "told"),
    [
        ("samples", Path.unlink, "its samples are missing"),
        ("samples", empty, "its samples cannot be read"),
        ("samples", cut, "its samples cannot be read"),
        ("samples", another_runs, "its samples are those of another run"),
        ("samples", lambda path: pd.read_parquet(path).iloc[:0].to_parquet(path), "its samples hold no row"),
        ("responses", cut, "its responses cannot be read"),
        ("runs", edit(level=7), "its manifest has the impossible level 7"),
    ],
)
def test_in_a_store_without_hashes_what_cannot_be_read_is_damaged(folder, kind, damage, told):
    make_old(folder)
    (path,) = (folder / kind).glob(f"{STEM}.*")
    damage(path)
    damaged = Store(folder).state(PLAN).damaged
    assert list(damaged) == [RUN] and damaged[RUN].startswith(told)


def test_a_whole_store_without_hashes_is_whole(folder):
    make_old(folder)
    assert resumed(folder) == ([], [])


@pytest.mark.parametrize("damage", [Path.unlink, cut, empty])
@pytest.mark.parametrize("name", ["items.parquet", "tasks.json"])
@pytest.mark.parametrize("old", [False, True])
def test_what_the_runs_share_is_missed(folder, name, damage, old):
    assert Store(folder).suite_problem(0) is None
    if old:
        make_old(folder)
    damage(folder / name)
    assert name in str(Store(folder).suite_problem(0))


def test_what_the_runs_share_is_written_again(folder, swept):
    (folder / "items.parquet").unlink()
    cut(folder / "tasks.json")
    again, heard = resumed(folder)
    assert (
        again == ["embedded dense"] and "to write what its runs share: items.parquet is missing" in heard[0]
    )
    for name in ("items.parquet", "tasks.json"):
        assert (folder / name).read_bytes() == (swept / name).read_bytes()
    assert resumed(folder) == ([], [])


@pytest.mark.parametrize("damage", [Path.unlink, cut])
def test_a_lost_record_of_what_was_loaded_is_put_together_from_the_runs(folder, damage):
    damage(folder / "identity.json")
    taken = Store(folder).fingerprint(PLAN, 0)
    assert taken is not None and taken.weights_sha256 and list(taken.items) == ["difficulty_tiers_copying_t1"]
    assert resumed(folder) == ([], [])


def test_a_plan_of_another_schema_is_refused(folder):
    edit(schema=9)(folder / "plan.json")
    with pytest.raises(UsageError, match=r"schema 9, and this version reads schema 1"):
        resumed(folder)


def test_tasks_that_cannot_be_evaluated_are_kept_and_told_at_each_start(folder):
    edit(failed_tasks={"gsm8k": "its prompts are longer than the model takes"})(
        folder / "runs" / f"{STEM}.json"
    )
    outcome = run_sweep(PLAN, folder, engine=LocalEngine(workers=1))
    assert outcome.exit_code == 1 and not outcome.finished
    assert outcome.failed_tasks == {RUN: {"gsm8k": "its prompts are longer than the model takes"}}
    assert repr(outcome).splitlines()[:2] == [
        f"runs: {len(outcome.skipped)} done before; in {folder}",
        f"{RUN}, gsm8k: its prompts are longer than the model takes",
    ]


def test_a_task_that_fails_is_written_with_its_run(tmp_path, monkeypatch, capsys):
    from junkdna_harness.sweep.display import print_summary
    from junkdna_harness.sweep.suite import Suite

    score = Suite.score

    def with_failure(self, *args):
        return replace(score(self, *args), failed={"gsm8k": "too long"})

    monkeypatch.setattr(Suite, "score", with_failure)
    outcome = run_sweep(PLAN, tmp_path / "s", engine=LocalEngine(workers=1))
    assert outcome.exit_code == 1 and len(outcome.failed_tasks) == len(PLAN.cells)
    assert Store(tmp_path / "s").manifests()[0]["failed_tasks"] == {"gsm8k": "too long"}
    print_summary(outcome)
    assert f"no score of gsm8k in {RUN}: too long" in capsys.readouterr().out


def test_the_last_table_says_that_there_are_more_columns(folder, capsys):
    from junkdna_harness.sweep.display import print_summary

    for path in (folder / "runs").glob("*.json"):
        edit(results={"groups": {f"g{k}": {} for k in range(9)}, "results": {}})(path)
    print_summary(run_sweep(PLAN, folder, engine=LocalEngine(workers=1)))
    told = capsys.readouterr().out
    assert "g5" not in told.split("3 more columns: junkdna report")[1] and "g6" not in told


def test_a_run_without_any_task_has_failed(tmp_path, monkeypatch):
    from junkdna_harness.sweep.suite import Suite

    score = Suite.score

    def nothing(self, *args):
        return replace(score(self, *args), samples={}, failed={"gsm8k": "too long"})

    monkeypatch.setattr(Suite, "score", nothing)
    outcome = run_sweep(PLAN, tmp_path / "s", engine=LocalEngine(workers=1))
    assert outcome.failed[RUN] == "UsageError: no task could be evaluated: gsm8k: too long"
