"""What a leaderboard may average, and the facts that it takes from the runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from difficulty.errors import UsageError
from junkdna_harness.report.build import build
from junkdna_harness.report.curves import measure, score_curve
from junkdna_harness.report.leaderboard import OVERALL, leaderboard
from tests.report.synthetic import tidy


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return tidy(methods=("magnitude", "wanda"), levels=(0.0, 0.3, 0.6), n_items=40)


def with_task(table: pd.DataFrame, task: str, **columns: object) -> pd.DataFrame:
    """The table and one more task, a copy of the first one's accuracies with other columns."""
    extra = table[(table["task"] == "addition_t1") & (table["metric"] == "acc")]
    return pd.concat([table, extra.assign(task=task, family=task, **columns)], ignore_index=True)


def only(table: pd.DataFrame, task: str) -> pd.DataFrame:
    return table[table["task"] == task]


def text(table: pd.DataFrame, metric: str = "word_perplexity,none") -> pd.DataFrame:
    """A text task: nats per word that rise with the level, and the documents' words."""
    g = np.random.default_rng(0)
    ids = table["item_id"].unique()
    nats, words = (
        dict(zip(ids, v, strict=True)) for v in (g.normal(3, 0.3, len(ids)), g.integers(5, 500, len(ids)))
    )
    found = only(with_task(table, "wikitext", metric=metric), "wikitext")
    values = found["item_id"].map(nats) + found["level"] + np.where(found["method"] == "wanda", 0.2, 0)
    return found.assign(value=values, weight=found["item_id"].map(words).astype(float))


def test_clusters_mean_the_same_in_every_task(table: pd.DataFrame) -> None:
    same = with_task(table, "again")
    board = leaderboard(same, "family")
    assert board.rows[0].scores[OVERALL].n_items == 9 * 40
    assert board.rows[0].scores[OVERALL].n_clusters == 8 * 40


def test_perplexity_is_a_ratio_over_all_words_and_lower_is_better(table: pd.DataFrame) -> None:
    rows = text(table)
    board = leaderboard(rows, "task")
    dense = rows[rows["method"] == "dense"]
    row = board.rows[0]
    expected = np.exp((dense["value"] * dense["weight"]).sum() / dense["weight"].sum())
    assert (row.method, board.percent) == ("dense", False)
    assert row.scores[OVERALL].mean == pytest.approx(expected)
    worse = next(r for r in board.rows if r.method == "magnitude" and r.level == 0.6)
    assert worse.scores[OVERALL].retention == pytest.approx(np.exp(-0.6))
    assert (board.rows.index(worse), OVERALL) in board.best


def test_a_perplexity_whose_nats_look_like_shares_is_not_averaged_with_them(table: pd.DataFrame) -> None:
    rows = text(table, "byte_perplexity,none")
    board = leaderboard(pd.concat([table, rows.assign(value=rows["value"] / 10)]), "family")
    assert "wikitext" not in board.columns
    assert any("no share" in note and "wikitext" in note for note in board.notes)


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"metric": "brier_score"}, "lower is better"),
        ({"metric": "depth"}, "not known which way"),
        ({"higher_is_better": False}, "lower is better"),
    ],
)
def test_shares_of_another_direction_are_left_out_by_name(
    table: pd.DataFrame, columns: dict[str, object], why: str
) -> None:
    board = leaderboard(with_task(table, "other", **columns), "family")
    assert board.rows == leaderboard(table, "family").rows
    assert any(why in note and "other" in note for note in board.notes)


def test_letters_in_a_filter_do_not_turn_the_leaderboard_round(table: pd.DataFrame) -> None:
    rows = table.assign(metric=table["metric"].replace("acc", "exact_match,get-answer"))
    plain, named = leaderboard(table, "tier"), leaderboard(rows, "tier")
    assert (named.rows, named.best) == (plain.rows, plain.best)


def test_a_metric_that_nobody_knows_is_shown_and_not_compared(table: pd.DataFrame) -> None:
    board = leaderboard(table.assign(metric=table["metric"].replace("acc", "depth")), "tier", "depth")
    assert all(row.scores[OVERALL].retention is None for row in board.rows)
    assert not board.best
    assert any("whether higher depth is better is not known" in note for note in board.notes)


def test_two_metrics_that_are_no_shares_are_not_averaged(table: pd.DataFrame) -> None:
    both = pd.concat(
        [text(table), text(table).assign(task="lambada", family="lambada", metric="perplexity,none")]
    )
    board = leaderboard(both, "task")
    assert len(board.columns) == 1
    assert any("cannot be averaged" in note for note in board.notes)


def test_loglikelihoods_that_are_called_perplexity_are_left_out(table: pd.DataFrame) -> None:
    rows = with_task(table, "lambada", metric="perplexity", value=-3.0)
    assert any("lambada" in note and "log-likelihoods" in note for note in leaderboard(rows, "family").notes)
    with pytest.raises(UsageError, match="no task can be shown"):
        leaderboard(only(rows, "lambada"), "family")


def test_answers_without_scores_are_left_out(table: pd.DataFrame) -> None:
    rows = with_task(table, "predicted", metric="bypass", value=999.0)
    board = leaderboard(rows, "family")
    assert board.rows == leaderboard(table, "family").rows
    assert any("--predict_only" in note and "predicted" in note for note in board.notes)
    with pytest.raises(UsageError, match="answers without scores"):
        leaderboard(only(rows, "predicted"), "family")


def test_other_weights_for_one_item_are_refused(table: pd.DataFrame) -> None:
    rows = text(table)
    rows["weight"] += rows["method"] == "wanda"
    with pytest.raises(UsageError, match="other weights in other runs"):
        leaderboard(rows, "task")


def test_a_task_that_some_runs_lack_is_left_out_by_name(table: pd.DataFrame) -> None:
    more = with_task(table, "more")
    some = more[~((more["task"] == "more") & (more["method"] == "wanda"))]
    board = leaderboard(some, "family")
    assert board.rows == leaderboard(table, "family").rows
    assert any("'more'" in note and "no samples" in note for note in board.notes)


def test_other_prompts_are_refused_unless_allowed(table: pd.DataFrame) -> None:
    rows = table.assign(prompt_hash=table["method"])
    with pytest.raises(UsageError, match="320 items were asked with different prompts"):
        leaderboard(rows, "tier")
    assert any(
        "different prompts" in n for n in leaderboard(rows, "tier", allow_different_prompts=True).notes
    )


def test_the_seed_of_a_report_reaches_its_bands(
    table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def band(seed: int) -> np.ndarray:
        measured = measure(table, {}, "tiny", seed=seed)
        return score_curve(measured, measured.series[0], measured.cells(tier=1), "").low

    assert (band(1) == band(1)).all()
    assert (band(1) != band(2)).any()
    table.to_parquet(tmp_path / "t.parquet")
    seen = []
    monkeypatch.setattr("junkdna_harness.report.drawing.measure", lambda *a: seen.append(a[4]) or measure(*a))
    build([tmp_path / "t.parquet"], with_fit=False, with_documents=False, seed=7)
    assert seen == [7]


def test_a_report_and_the_gate_take_what_was_read(tmp_path: Path) -> None:
    """One object for a log: whoever read it need not read it again."""
    from difficulty.runs.read import read_runs
    from junkdna_harness.gate import read_run
    from junkdna_harness.report.build import build
    from tests.difficulty.runs.logged import chosen, write_log

    write_log(tmp_path, {"t": [chosen(i, [-1.0, -2.0], 0) for i in range(8)]}, "multiple_choice")
    read = read_runs(tmp_path)
    options = {"with_fit": False, "with_plots": False, "with_documents": False}
    assert build(read, **options).boards == build([tmp_path], **options).boards
    assert read_run(read).tasks["t"].item_ids == read_run(tmp_path).tasks["t"].item_ids
