"""`sweep --noise-floor`: the dense model once more, really evaluated otherwise, and marked in every table."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import typer
from typer.testing import CliRunner

from difficulty import fit
from difficulty.errors import UsageError
from difficulty.runs.noise import mark
from difficulty.runs.read import read_runs
from difficulty.text import NOISE_MARK, noise_legend
from junkdna_harness.commands.check import check as check_command
from junkdna_harness.commands.compare import compare as compare_command
from junkdna_harness.commands.report import report as report_command
from junkdna_harness.commands.sweep import sweep as sweep_command
from junkdna_harness.report.build import build
from junkdna_harness.sweep import Store, build_plan, run_sweep
from junkdna_harness.sweep.engines.local import LocalEngine
from junkdna_harness.sweep.export import export
from junkdna_harness.sweep.machine import Machine
from junkdna_harness.sweep.plan import Plan
from junkdna_harness.sweep.second_pass import (
    SecondPass,
    batch_size_of,
    evaluating_otherwise,
    other_batch_size,
)
from junkdna_harness.sweep.states import Compressed, Dense

TASKS = "difficulty_tiers_hypernyms_t1,difficulty_tiers_hypernyms_t3"
AGAIN = "embedded dense noise-floor"
STEM = "dense_noise-floor"


def plan(**options: Any) -> Plan:
    given = {"tasks": TASKS, "methods": "magnitude", "sparsity": "0.1,0.9", "limit": 40, "noise_floor": True}
    return build_plan(**{**given, **options})


class DependsOnTheBatch(Compressed):
    """A model whose logits move with the shape of the batch, as half precision does, but more."""

    def __init__(self, dense: Dense) -> None:
        super().__init__(dense)
        self.model.register_forward_hook(moved)


def moved(module: Any, inputs: tuple[torch.Tensor], output: Any) -> Any:
    rows, width = output.logits.shape[:2]
    rng = torch.Generator().manual_seed(1000 * rows + width)
    output.logits = output.logits + 8 * torch.randn(output.logits.shape, generator=rng)
    return output


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("s") / "s"
    assert run_sweep(plan(), folder, engine=LocalEngine(1)).exit_code == 0
    return folder


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("n") / "n"
    assert run_sweep(plan(), folder, engine=LocalEngine(1, open_state=DependsOnTheBatch)).exit_code == 0
    return folder


def manifest(folder: Path, stem: str = STEM) -> dict[str, Any]:
    return json.loads((folder / "runs" / f"{stem}.json").read_text())


def test_it_is_a_run_of_its_own_evaluated_in_another_batch_size(swept: Path) -> None:
    first, second = manifest(swept, "dense"), manifest(swept)
    assert (first["run"], second["run"]) == ("embedded dense", AGAIN)
    assert (first["batch_size"], first["prefix_cache"]) == ("64", True)
    assert (second["batch_size"], second["prefix_cache"], second["noise_floor"]) == ("32", False, True)
    assert first["weights_sha256"] == second["weights_sha256"]
    assert second["lm_eval"] is None, "no such call evaluates in this order"
    samples = pd.read_parquet(swept / "samples" / f"{STEM}.parquet")
    assert samples["noise_floor"].all() and set(samples["run"]) == {AGAIN}
    assert "noise_floor" not in pd.read_parquet(swept / "samples" / "dense.parquet")


def test_in_full_precision_scores_stay_and_margins_move_a_little_or_not_at_all(swept: Path) -> None:
    found = read_runs(swept)
    assert found.names == ["embedded dense", "embedded magnitude 0.1", "embedded magnitude 0.9"]
    noise = found.noise["embedded"]
    for task in TASKS.split(","):
        assert noise.floor(task).changed == 0
        assert noise.floor(task, "margin").largest < 1e-3
    moved = any(noise.floor(task, "margin").largest for task in TASKS.split(","))
    assert noise.identical is not moved


def test_the_compressed_runs_are_as_they_are_without_it(swept: Path, tmp_path: Path) -> None:
    run_sweep(plan(noise_floor=False, sparsity="0.9"), tmp_path, engine=LocalEngine(1))
    for stem in ("dense", "magnitude_0.9"):
        there, here = (pd.read_parquet(f / "samples" / f"{stem}.parquet") for f in (swept, tmp_path))
        assert there.equals(here)
    assert "noise_floor" not in (tmp_path / "plan.json").read_text(), "as older versions read it"


def test_scores_that_depend_on_the_batch_make_a_floor(noisy: Path) -> None:
    noise = read_runs(noisy).noise["embedded"]
    assert sum(noise.floor(task).changed for task in TASKS.split(",")) > 2


@pytest.mark.parametrize("cached", [True, False])
def test_a_fixed_weight_of_the_batch_is_seen_with_and_without_shared_prefixes(
    tmp_path: Path, cached: bool
) -> None:
    engine = LocalEngine(1, open_state=DependsOnTheBatch)
    run_sweep(plan(sparsity="0.9", limit=20), tmp_path, Machine(prefix_cache=cached), engine)
    assert manifest(tmp_path, "dense")["prefix_cache"] is cached
    noise = read_runs(tmp_path).noise["embedded"]
    assert all(noise.floor(task, "margin").changed > 10 for task in TASKS.split(","))


def test_it_is_not_judged(noisy: Path) -> None:
    found = read_runs(noisy)
    alone = pd.concat(
        [
            pd.read_parquet(noisy / "samples" / f"{s}.parquet")
            for s in ("dense", "magnitude_0.1", "magnitude_0.9")
        ]
    )
    cells = fit(found, n_resamples=100).cells.drop(columns="within_noise")
    assert cells.equals(fit(alone, runs=found.runs, n_resamples=100).cells[cells.columns])
    assert cells.equals(fit(Store(noisy).samples(), runs=found.runs, n_resamples=100).cells[cells.columns])
    assert set(cells["method"]) == {"dense", "magnitude"} and (cells["n_replicates"] == 1).all()


def test_the_same_sweep_goes_on_and_finds_it_there(swept: Path, tmp_path: Path) -> None:
    shutil.copytree(swept, tmp_path / "s")
    (tmp_path / "s" / "runs" / f"{STEM}.json").unlink()
    outcome = run_sweep(plan(), tmp_path / "s", engine=LocalEngine(1))
    assert [cell.noise_floor for cell in outcome.finished] == [True] and len(outcome.skipped) == 3
    assert read_runs(tmp_path / "s").noise == read_runs(swept).noise
    assert len(run_sweep(plan(), tmp_path / "s", engine=LocalEngine(1)).skipped) == 4
    with pytest.raises(UsageError, match="1 more runs \\('embedded dense noise-floor'"):
        run_sweep(plan(noise_floor=False), tmp_path / "s", engine=LocalEngine(1))


def test_a_folder_without_it_gets_it_by_extend_in_batches_other_than_its_own(tmp_path: Path) -> None:
    before = plan(noise_floor=False, sparsity="0.9", limit=4)
    run_sweep(before, tmp_path, Machine(batch_size=4), LocalEngine(1))
    more = plan(sparsity="0.9", limit=4)
    with pytest.raises(UsageError, match="--extend"):
        run_sweep(more, tmp_path, engine=LocalEngine(1))
    # half of this call's batch size would be that of the run that is there
    outcome = run_sweep(more, tmp_path, Machine(batch_size=8), LocalEngine(1), extend=True)
    assert [outcome.plan.run_id(cell) for cell in outcome.finished] == [AGAIN]
    assert manifest(tmp_path)["batch_size"] == "2"
    assert "embedded" in read_runs(tmp_path).noise


def test_a_manifest_that_lost_the_word_is_damaged(swept: Path, tmp_path: Path) -> None:
    shutil.copytree(swept, tmp_path / "s")
    path = tmp_path / "s" / "runs" / f"{STEM}.json"
    path.write_text(json.dumps({**manifest(swept), "noise_floor": False}))
    with pytest.raises(UsageError, match="names itself 'embedded dense noise-floor'"):
        read_runs(tmp_path / "s")


def test_several_workers_give_the_same(swept: Path, tmp_path: Path) -> None:
    run_sweep(plan(), tmp_path, engine=LocalEngine(2))
    first, other = (read_runs(folder).noise["embedded"] for folder in (swept, tmp_path))
    assert first.floors.keys() == other.floors.keys()
    assert [f.changed for (_, m), f in other.floors.items() if m == "acc"] == [0, 0]
    assert manifest(tmp_path)["batch_size"] == "32"


def test_lm_evals_own_layout_says_it_too(noisy: Path, tmp_path: Path) -> None:
    export(noisy, tmp_path / "out")
    assert read_runs(tmp_path / "out").noise["embedded"].floors == pytest.approx(
        read_runs(noisy).noise["embedded"].floors
    )
    assert read_runs(tmp_path / "out").names == read_runs(noisy).names


def test_the_plan_is_read_back_and_may_be_a_file(tmp_path: Path) -> None:
    given = plan()
    assert Plan.from_dict(json.loads(json.dumps(given.to_dict()))) == given
    assert [given.file_name(cell) for cell in given.cells] == [
        "dense",
        STEM,
        "magnitude_0.1",
        "magnitude_0.9",
    ]
    (tmp_path / "p.yaml").write_text(
        f"methods: magnitude\nsparsity: 0.5\ntasks: {TASKS}\nnoise_floor: true\n"
    )
    app = typer.Typer()
    app.command()(sweep_command)
    assert "dense noise-floor" in CliRunner().invoke(app, [str(tmp_path / "p.yaml"), "--dry-run"]).output
    with pytest.raises(UsageError, match="neither true nor false"):
        plan(noise_floor="maybe")


class Model:
    """Answers with the request itself, and remembers what it was asked together."""

    def __init__(self, memory: int = 1000) -> None:
        self.asked: list[list[int]] = []
        self.batch_size_per_gpu: int | str = 8
        self._prefix_cache = True
        self.memory = memory

    def loglikelihood(self, requests: list[int], disable_tqdm: bool = False) -> list[int]:
        assert isinstance(self.batch_size_per_gpu, int)
        if self.batch_size_per_gpu > self.memory:
            raise torch.OutOfMemoryError("no memory")
        self.asked.append(requests)
        return [10 * request for request in requests]


def test_requests_are_asked_in_another_order_and_answered_in_their_own() -> None:
    lm = Model()
    with evaluating_otherwise(lm, 8) as other:
        assert (lm.batch_size_per_gpu, lm._prefix_cache, other._prefix_cache) == (4, False, False)
        assert other.loglikelihood(list(range(100))) == [10 * i for i in range(100)]
    assert (lm.batch_size_per_gpu, lm._prefix_cache) == (8, True)
    assert [len(part) for part in lm.asked] == [32, 32, 32, 4]
    order = [request for part in lm.asked for request in part]
    assert order != sorted(order) == list(range(100))
    again = Model()
    SecondPass(again, 32).loglikelihood(list(range(100)))
    assert again.asked == lm.asked, "the same order in every sweep"


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_few_requests_are_asked_apart(n: int) -> None:
    lm = Model()
    assert SecondPass(lm, 32).loglikelihood(list(range(n))) == [10 * i for i in range(n)]
    assert len(lm.asked) == min(n, 2)


def test_where_memory_runs_out_batches_get_smaller_down_to_one() -> None:
    lm = Model(memory=2)
    with evaluating_otherwise(lm, 16) as other:
        assert other.loglikelihood([1, 2, 3]) == [10, 20, 30]
        assert lm.batch_size_per_gpu == 2
    with pytest.raises(torch.OutOfMemoryError), evaluating_otherwise(Model(memory=0), 16) as other:
        other.loglikelihood([1])


def test_the_batch_size_is_another_one() -> None:
    assert [other_batch_size(n) for n in (64, "32", 3, 2, 1)] == [32, 16, 1, 1, 2]
    assert other_batch_size("auto", {0: 8, 1: 16}) == 4 and other_batch_size("auto", {}) == 4
    assert batch_size_of(plan(), 0, None) is None


# Marks in the tables


@contextmanager
def output(verb: Any, *arguments: object) -> Iterator[SimpleNamespace]:
    app = typer.Typer()
    app.command()(verb)
    yield CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "200"})


def text(verb: Any, *arguments: object) -> str:
    with output(verb, *arguments) as done:
        assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
        return done.output


LEGEND = noise_legend(True)


def test_every_format_of_the_report_marks_the_same_cells(noisy: Path) -> None:
    (board,) = build([noisy], by=("tier",), with_fit=False, with_plots=False, with_documents=False).boards
    near = {(i, c) for i in range(len(board.rows)) for c in ("Overall", *board.columns) if board.near(i, c)}
    beyond = {i for i, row in enumerate(board.rows) if row.level == 0.9}
    assert near and not any(i in beyond for i, _ in near), "light pruning is noise here, and heavy is not"
    assert not any(board.rows[i].method == "dense" for i, _ in near)
    said = text(report_command, noisy, "--by", "tier", "--csv", "-")
    lines = list(csv.DictReader(io.StringIO(said[said.index("by,model") : said.rindex("\n")])))
    lines = [line for line in lines if line["within_noise"] is not None]
    assert sum(line["within_noise"] == "1" for line in lines) == len(near)
    assert {line["within_noise"] for line in lines if line["method"] == "dense"} == {""}
    markdown = text(report_command, noisy, "--by", "tier", "--markdown", "-")
    assert (
        markdown.count(NOISE_MARK) == len(near) + 1
        and "two evaluations of the same dense weights" in markdown
    )
    latex = text(report_command, noisy, "--by", "tier", "--latex", "-")
    assert latex.count(r"$\approx$") == len(near) + 1 and NOISE_MARK not in latex
    terminal = text(report_command, noisy, "--by", "tier")
    assert terminal.count(NOISE_MARK) == len(near) + 1


def test_the_page_marks_them_too(noisy: Path, tmp_path: Path) -> None:
    text(report_command, noisy, "--by", "tier", "--html", tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert f"{NOISE_MARK}</small></span></td>" in page and LEGEND[2:] in page


def test_a_floor_of_zero_marks_nothing_and_is_said(swept: Path) -> None:
    zero = noise_legend(False, identical=True)
    markdown = text(report_command, swept, "--markdown", "-")
    assert NOISE_MARK not in markdown and zero in markdown
    compared = text(
        compare_command, swept, swept, "--run-a", "embedded dense", "--run-b", "embedded magnitude 0.1"
    )
    assert NOISE_MARK not in compared and zero in compared
    judged = text(
        check_command,
        swept,
        "--against",
        swept,
        "--run",
        "embedded magnitude 0.1",
        "--baseline-run",
        "embedded dense",
    )
    assert NOISE_MARK not in judged and f"note: {zero}" in " ".join(judged.split())


def half(doc: dict[str, Any]) -> int:
    """One of two halves of the documents, by lot."""
    return hashlib.sha256(json.dumps(doc, sort_keys=True).encode()).digest()[0] % 2


def test_compare_marks_rows_also_by_tier_of_another_split(noisy: Path, tmp_path: Path) -> None:
    runs = ("--run-a", "embedded dense", "--run-b", "embedded magnitude 0.1")
    said = text(
        compare_command, noisy, noisy, *runs, "--by", "tests.sweep.test_noise_floor:half", "--min-items", 5, "--bins", 2, "--json", tmp_path / "c.json",
        "--task", "difficulty_tiers_hypernyms_t3",
    )  # fmt: skip
    rows = json.loads((tmp_path / "c.json").read_text())["rows"]
    assert len(rows) == 3 and all(row["noise_floor"] is not None for row in rows)
    for row in rows:
        assert row["within_noise"] == (0 < row["noise_floor"] >= abs(row["difference"]["estimate"]))
    assert any(row["within_noise"] for row in rows)
    assert said.count(NOISE_MARK) == sum(row["within_noise"] for row in rows) + 1 and LEGEND in said
    items = read_runs(noisy).noise["embedded"].items
    whole = items[(items["task"] == "difficulty_tiers_hypernyms_t3") & (items["metric"] == "acc")]
    assert rows[0]["noise_floor"] == pytest.approx((whole["first"] != whole["second"]).mean())


def test_the_gate_keeps_the_floor_in_its_baseline(noisy: Path, tmp_path: Path) -> None:
    dense, light = ("--run", "embedded dense"), ("--run", "embedded magnitude 0.1")
    text(check_command, noisy, *dense, "--write-baseline", tmp_path / "b.json")
    written = json.loads((tmp_path / "b.json").read_text())
    assert written["schema"] == 3 and all("noise_floor" in task for task in written["tasks"].values())
    by_file = judged(tmp_path, noisy, *light, "--against", tmp_path / "b.json")
    by_folder = judged(tmp_path, noisy, *light, "--against", noisy, "--baseline-run", "embedded dense")
    for flip in (flip for cell in (*by_file["cells"], *by_folder["cells"]) for flip in cell["flips"]):
        flip.pop("answer_before")  # a file holds none
    assert by_file["cells"] == by_folder["cells"]
    near = [cell for cell in by_file["cells"] if cell["within_noise"]]
    assert near and all(abs(cell["loss"]) <= cell["noise_floor"] + 1e-9 for cell in near)
    said = text(check_command, noisy, *light, "--against", tmp_path / "b.json", "--all")
    assert said.partition("note:")[0].count(NOISE_MARK) == len(near)
    told = " ".join(said.split())
    assert told.count("changed between two evaluations of the same dense weights") == 1
    assert f"note: {LEGEND}" in told
    heavy = judged(tmp_path, noisy, "--run", "embedded magnitude 0.9", "--against", tmp_path / "b.json")
    assert not heavy["cells"][0]["within_noise"]


def judged(folder: Path, *arguments: object) -> dict[str, Any]:
    text(check_command, *arguments, "--json", folder / "out.json")
    return json.loads((folder / "out.json").read_text())


def test_baselines_without_it_are_read_and_mark_nothing(noisy: Path, tmp_path: Path) -> None:
    text(check_command, noisy, "--run", "embedded dense", "--write-baseline", tmp_path / "b.json")
    old = json.loads((tmp_path / "b.json").read_text())
    for task in old["tasks"].values():
        del task["noise_floor"]
    (tmp_path / "b.json").write_text(json.dumps(old))
    run_sweep(plan(noise_floor=False, sparsity="0.1"), tmp_path / "s", engine=LocalEngine(1))
    found = judged(
        tmp_path, tmp_path / "s", "--run", "embedded magnitude 0.1", "--against", tmp_path / "b.json"
    )
    assert {(cell["noise_floor"], cell["within_noise"]) for cell in found["cells"]} == {(None, None)}
    assert not any("noise" in note for note in found["notes"])


@pytest.mark.parametrize(
    "entry", [{}, {"n_items": 1}, 3, {"n_items": 1, "changed": 2, "largest": 1, "weight": 1, "value": 1, "moved": 0, "spread": 1}]
)  # fmt: skip
def test_a_baseline_with_a_damaged_floor_is_refused(noisy: Path, tmp_path: Path, entry: object) -> None:
    text(check_command, noisy, "--run", "embedded dense", "--write-baseline", tmp_path / "b.json")
    written = json.loads((tmp_path / "b.json").read_text())
    next(iter(written["tasks"].values()))["noise_floor"] = entry
    (tmp_path / "b.json").write_text(json.dumps(written))
    with output(check_command, noisy, "--run", "embedded dense", "--against", tmp_path / "b.json") as done:
        assert isinstance(done.exception, UsageError) and "damaged" in str(done.exception)


def test_cells_of_a_fit_are_marked(noisy: Path) -> None:
    found = read_runs(noisy)
    cells = fit(found, n_resamples=100).cells
    assert cells["within_noise"].equals(mark(cells, found.noise["embedded"]))
    marked = cells[cells["within_noise"]]
    assert len(marked)
    assert set(marked["method"]) == {"magnitude"} and (marked["level"] < 0.5).all()
    assert np.isfinite(marked["loss"]).all()
