"""Claims about `junkdna compare` and about tiers from logged runs, on ordinary logs of lm-eval."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from difficulty.cut.items import item_of_sample
from difficulty.errors import UsageError
from difficulty.runs.read import read_runs
from difficulty.stats import paired_loss
from junkdna_harness.tiers.build import plan_tiers
from junkdna_harness.tiers.compare import Split, compare_folders
from junkdna_harness.tiers.comparison import comparison_text
from junkdna_harness.tiers.items import item_of_doc
from junkdna_harness.tiers.scores import read_log
from junkdna_harness.tiers.source import load_source


def samples(folder: Path, task: str) -> list[dict]:
    (path,) = folder.rglob(f"samples_{task}_*.jsonl")
    return [json.loads(line) for line in path.read_text().rstrip("\n").split("\n")]


def test_a_run_compared_with_itself_shows_nothing(small_task, tmp_path, log_run):
    run = str(log_run(tmp_path / "r", ["own_obqa"], small_task))
    found = compare_folders(run, run, Split("answer_length"))
    assert found.rows[0].difference.n_items == 200
    assert sum(row.difference.n_items for row in found.rows[1:]) == 200 and len(found.rows) == 5
    for row in found.rows:
        assert row.difference.estimate == 0 and row.flips is not None
        assert (row.flips.lost, row.flips.gained, row.flips.p) == (0, 0, 1.0)
    assert "200" in comparison_text(found)


def test_one_folder_is_read_once_and_documents_are_kept_of_one_side(
    small_task, tmp_path, log_run, monkeypatch
):
    one, two = (log_run(tmp_path / name, ["own_obqa"], small_task, name) for name in ("one", "two"))
    calls = []

    def read(path, **options):
        calls.append((path, options.get("keep")))
        return read_runs(path, **options)

    monkeypatch.setattr("junkdna_harness.tiers.compare.read_runs", read)
    compare_folders(one, str(one) + "/.", Split("answer_length", 3))
    compare_folders(one, two, Split("answer_length", 3))
    assert calls == [(one, item_of_sample), (one, item_of_sample), (two, None)]


def test_differences_and_flips_against_their_definitions(small_task, tmp_path, log_run):
    one, two = (log_run(tmp_path / name, ["own_obqa"], small_task, name) for name in ("one", "two"))
    found = compare_folders(str(one), str(two), Split("answer_length", 3))
    a = {s["doc_hash"]: s["acc"] for s in samples(one, "own_obqa")}
    b = {s["doc_hash"]: s["acc"] for s in samples(two, "own_obqa")}
    length = {
        s["doc_hash"]: len(s["doc"]["choices"]["text"][int(s["target"])].strip())
        for s in samples(one, "own_obqa")
    }
    for row in found.rows:
        inside = [h for h in a if row.tier is None or row.tier.low <= length[h] <= row.tier.high]
        x, y = np.array([a[h] for h in inside]), np.array([b[h] for h in inside])
        # Tango's bounds of the loss from first to second, with the sign of a gain
        low, high = (-bound for bound in reversed(paired_loss(x, y).bounds(0.025)))
        assert row.difference.n_items == len(inside)
        assert (row.first, row.second) == (pytest.approx(x.mean()), pytest.approx(y.mean()))
        assert row.difference.estimate == pytest.approx((y - x).mean())
        assert (row.difference.ci_low, row.difference.ci_high) == (pytest.approx(low), pytest.approx(high))
        lost, gained = int(((x == 1) & (y == 0)).sum()), int(((x == 0) & (y == 1)).sum())
        assert row.flips is not None and (row.flips.lost, row.flips.gained) == (lost, gained)
        assert row.flips.p == pytest.approx(stats.binomtest(lost, lost + gained).pvalue)


def test_the_command_prints_and_writes_json(small_task, tmp_path, log_run):
    import typer

    from junkdna_harness.commands.compare import compare

    run = str(log_run(tmp_path / "r", ["own_obqa"], small_task))
    app = typer.Typer()
    app.command()(compare)
    result = CliRunner().invoke(app, [run, run, "--by", "context_length", "--json", str(tmp_path / "c.json")])
    assert result.exit_code == 0 and "B - A" in result.output
    assert json.loads((tmp_path / "c.json").read_text())["by"] == "context_length"
    bad = CliRunner().invoke(app, [run, run, "--bins", "3"])
    assert isinstance(bad.exception, UsageError)


def test_small_samples_get_fewer_tiers_with_a_note(small_task, tmp_path, log_run):
    run = str(log_run(tmp_path / "r", ["own_obqa"], small_task, limit=70))
    found = compare_folders(run, run, Split("context_length"))
    assert len(found.rows) == 3 and any("split into 2 tiers" in note for note in found.notes)
    with pytest.raises(UsageError, match="works is 2"):
        compare_folders(run, run, Split("context_length", 4))


def test_runs_on_other_items_are_refused_with_the_count(small_task, tmp_path, log_run):
    whole = str(log_run(tmp_path / "whole", ["own_obqa"], small_task))
    part = str(log_run(tmp_path / "part", ["own_obqa"], small_task, limit=60))
    with pytest.raises(UsageError, match=r"140 of 200 items of 'own_obqa' in .*whole' are not in"):
        compare_folders(whole, part)
    other = str(_other_task(small_task, tmp_path, log_run))
    with pytest.raises(UsageError, match="no task in common"):
        compare_folders(whole, other)
    with pytest.raises(UsageError, match="Did you mean 'own_obqa'"):
        compare_folders(whole, whole, tasks=["own_obqq"])
    with pytest.raises(UsageError, match=r"no task has a metric 'acc_norm'. There is: acc"):
        compare_folders(whole, whole, metric="acc_norm")


def _other_task(small_task: Path, tmp_path: Path, log_run) -> Path:
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "x.yaml").write_text((small_task / "own.yaml").read_text().replace("own_obqa", "another"))
    return log_run(tmp_path / "other_run", ["another"], folder, limit=40)


def test_a_rule_reads_the_same_from_a_log_as_from_the_task(small_task, tmp_path, log_run):
    run = log_run(tmp_path / "r", ["own_obqa"], small_task, limit=50)
    task = load_source("own_obqa", str(small_task)).task
    (kept,) = read_runs(run, keep=item_of_sample).kept.values()
    for doc, logged in zip(task.eval_docs, kept.values(), strict=False):
        item = item_of_doc(task, doc)
        assert (item.context, item.answers) == (logged.context, logged.answers)
        assert [o.strip() for o in item.options] == list(logged.options)
    # a list of accepted answers is logged as its Python text
    arguments = {"gen_args_0": {"arg_0": "Q", "arg_1": {"until": ["."]}}}
    many = item_of_sample({"doc": {}, "target": "['Rome', 'Roma, Italy']", "arguments": arguments})
    assert many.answers == ("Rome", "Roma, Italy") and many.context == "Q"


def test_dense_scores_of_one_run_come_with_a_warning(small_task, tmp_path, log_run):
    run = log_run(tmp_path / "r", ["own_obqa"], small_task)
    plan = plan_tiers("own_obqa", "dense_margin", 4, include_path=str(small_task), scores=[run])
    assert plan.runs is not None and "regression to the mean" in plan.runs.warning
    by_item = read_log(run).scores("own_obqa", "margin")
    means = [np.mean([by_item[key] for key in plan.assignment.items(n)]) for n in (1, 2, 3, 4)]
    assert means == sorted(means, reverse=True)  # tier 1 is where the model is surest of the right answer
    # right or wrong makes two tiers at most
    with pytest.raises(UsageError, match="works is 2"):
        plan_tiers("own_obqa", "dense_accuracy", 3, include_path=str(small_task), scores=[run])
    with pytest.raises(UsageError, match="needs two or more --scores"):
        plan_tiers("own_obqa", "dense_margin", 2, include_path=str(small_task), scores=[run], cross_fit=True)


def test_cross_fitting_makes_tiers_from_one_half_and_shows_the_regression_to_the_mean(
    small_task, tmp_path, log_run
):
    runs = [log_run(tmp_path / name, ["own_obqa"], small_task, name) for name in ("r1", "r2", "r3", "r4")]
    plan = plan_tiers("own_obqa", "dense_margin", 3, include_path=str(small_task), scores=runs)
    assert plan.runs is not None and plan.runs.warning == ""
    assert len(plan.runs.made_by) == len(plan.runs.judge_with) == 2
    made = [plan.runs.held_out[n][0] for n in (1, 2, 3)]
    kept = [plan.runs.held_out[n][1] for n in (1, 2, 3)]
    # the answers are noise: the half that made the tiers spreads them, the other half sees no difference
    assert made[0] - made[2] > 4 and abs(kept[0] - kept[2]) < 1.5
    again = plan_tiers("own_obqa", "dense_margin", 3, include_path=str(small_task), scores=runs)
    assert again.assignment.tier_of == plan.assignment.tier_of
    together = plan_tiers(
        "own_obqa", "dense_margin", 3, include_path=str(small_task), scores=runs, cross_fit=False
    )
    assert "regression to the mean" in together.runs.warning


def test_scores_that_do_not_fit_the_task_are_refused(small_task, tmp_path, log_run):
    part = log_run(tmp_path / "part", ["own_obqa"], small_task, limit=60)
    with pytest.raises(UsageError, match="no score for 140 of 200 documents"):
        plan_tiers("own_obqa", "dense_margin", 2, include_path=str(small_task), scores=[part])
    whole = log_run(tmp_path / "whole", ["own_obqa"], small_task)
    rows = (tmp_path / "small.jsonl").read_text().split("\n")
    (tmp_path / "small.jsonl").write_text("\n".join(rows[:100]) + "\n")
    with pytest.raises(UsageError, match="100 of 200 documents in .* are not in the task"):
        plan_tiers("own_obqa", "dense_margin", 2, include_path=str(small_task), scores=[whole])
    with pytest.raises(UsageError, match="one of them twice"):
        plan_tiers("own_obqa", "dense_margin", 2, include_path=str(small_task), scores=[whole, whole])
