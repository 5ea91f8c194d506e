"""The numbers of the leaderboard against statsmodels and plain means; selection, order and bad input."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from difficulty.errors import UsageError
from difficulty.stats import MeanInterval, mean_interval, score
from junkdna_harness.report.build import build
from junkdna_harness.report.leaderboard import OVERALL, leaderboard
from junkdna_harness.report.select import select
from tests.report.synthetic import tidy


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return tidy(methods=("magnitude", "wanda"), levels=(0.0, 0.3, 0.6), bits=(4.0,), n_items=40)


def test_scores_are_plain_means_and_retention_is_a_share_of_dense(table: pd.DataFrame) -> None:
    board = leaderboard(table, "family")
    acc = table[table["metric"] == "acc"]
    row = next(r for r in board.rows if r.method == "wanda" and r.level == 0.6)
    mine = acc[(acc["method"] == "wanda") & (acc["level"] == 0.6)]
    dense = acc[acc["method"] == "dense"]
    assert row.scores[OVERALL].mean == pytest.approx(mine["value"].mean())
    for family in ("addition", "options"):
        part = mine[mine["family"] == family]["value"].mean()
        base = dense[dense["family"] == family]["value"].mean()
        chance = mine[mine["family"] == family]["chance"].mean()
        assert row.scores[family].mean == pytest.approx(part)
        assert row.scores[family].retention == pytest.approx(part / base)
        assert row.scores[family].corrected == pytest.approx((part - chance) / (base - chance))


def ends(found: MeanInterval) -> tuple[float, float]:
    return found.low, found.high


def test_the_interval_of_right_or_wrong_items_is_wilson_s() -> None:
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    values = np.r_[np.ones(37), np.zeros(13)]
    assert ends(mean_interval(values)) == pytest.approx(
        proportion.proportion_confint(37, 50, method="wilson")
    )


def test_clusters_widen_the_interval_and_a_perfect_score_counts_clusters() -> None:
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    clusters = np.repeat(np.arange(10), 5)
    same_answers = np.repeat([1.0, 0, 1, 1, 0, 1, 1, 1, 0, 1], 5)
    together = mean_interval(same_answers, clusters)
    alone = mean_interval(same_answers)
    assert together.n_clusters == 10
    assert together.high - together.low > 2 * (alone.high - alone.low)
    assert ends(mean_interval(np.ones(50), clusters)) == pytest.approx(
        proportion.proportion_confint(10, 10, method="wilson")
    )


def test_the_mean_of_other_scores_has_a_t_interval() -> None:
    from scipy import stats

    x = np.random.default_rng(0).gamma(2, 3, 30)
    expected = stats.t.interval(0.95, 29, x.mean(), stats.sem(x))
    assert ends(mean_interval(x)) == pytest.approx(expected)


def test_a_dense_score_at_chance_gives_no_retention() -> None:
    guessing = np.r_[np.ones(26), np.zeros(74)]
    assert score(guessing, chance=0.25, dense=guessing).retention is None
    assert score(guessing, chance=0.0, dense=guessing).retention == 1.0


def test_replicates_are_averaged_item_by_item(table: pd.DataFrame) -> None:
    second = table[table["method"] == "wanda"].assign(replicate=1)
    second["run"] = second["run"] + "#1"
    second["value"] = np.where(second["metric"] == "acc", 1 - second["value"], second["value"])
    board = leaderboard(pd.concat([table, second]), "tier")
    row = next(r for r in board.rows if r.method == "wanda")
    assert row.replicates == 2
    assert row.scores[OVERALL].mean == pytest.approx(0.5)
    assert len(board.rows) == len(leaderboard(table, "tier").rows)


def test_effective_bits_are_those_of_the_runs_else_nominal(table: pd.DataFrame) -> None:
    board = leaderboard(table, "tier", effective_bits={"tiny-rtn-4bit": 4.25})
    found = {(r.method, r.level): r.effective_bits for r in board.rows}
    assert found[("rtn", None)] == 4.25
    assert found[("dense", 0.0)] == 16
    assert found[("wanda", 0.6)] == pytest.approx(16 * 0.4 + 1)


@pytest.mark.parametrize(
    ("keys", "first"),
    [
        (("-overall",), "dense"),
        (("overall",), "magnitude"),
        (("-level", "-method"), "wanda"),
        (("bits",), "rtn"),
    ],
)
def test_rows_are_sorted_by_the_keys_given(table: pd.DataFrame, keys: tuple[str, ...], first: str) -> None:
    table = table.copy()
    table.loc[(table["method"] == "magnitude") & (table["level"] == 0.6), "value"] = 0.0
    assert leaderboard(table, "tier", sort=keys).rows[0].method == first


def test_an_unknown_column_or_split_is_told(table: pd.DataFrame) -> None:
    with pytest.raises(UsageError, match="--sort 'overal' is no column. Did you mean 'overall'"):
        leaderboard(table, "tier", sort=("overal",))
    with pytest.raises(UsageError, match="--by 'teir' is not a way to split. Did you mean 'tier'"):
        leaderboard(table, "teir")
    with pytest.raises(UsageError, match="no task has a metric 'ac'. Did you mean 'acc'"):
        leaderboard(table, "tier", "ac")


@pytest.mark.parametrize(
    ("rules", "methods", "levels"),
    [
        (["method=wanda"], {"dense", "wanda"}, {0.0, 0.3, 0.6}),
        (["method=wan*,rtn"], {"dense", "wanda", "rtn"}, {0.0, 0.3, 0.6}),
        (["method!=dense", "level<0.6"], {"magnitude", "wanda"}, {0.3}),
        (["level<=0.3"], {"dense", "magnitude", "wanda"}, {0.0, 0.3}),
        (["bits=4"], {"dense", "rtn"}, {0.0}),
        (["level>0.3", "tier=1,2"], {"dense", "magnitude", "wanda"}, {0.0, 0.6}),
    ],
)
def test_rules_keep_what_they_say_and_the_dense_run(
    table: pd.DataFrame, rules: list[str], methods: set[str], levels: set[float]
) -> None:
    left = select(table, rules)
    assert set(left["method"]) == methods
    assert set(left["level"].dropna()) == levels


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("method", "is not a rule"),
        ("metod=wanda", "'metod' is not a key. Did you mean 'method'"),
        ("level<=x", "'x' is not a number"),
        ("method<wanda", "method is a name"),
        ("level<0.1,0.2", "takes one number"),
        ("method=gptq", "leaves no run. Methods: dense, magnitude"),
        ("tier=9", "leaves no run"),
    ],
)
def test_a_rule_that_cannot_be_met_is_told(table: pd.DataFrame, rule: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        select(table, [rule])


def test_other_items_in_a_run_are_told_by_run_and_task(table: pd.DataFrame) -> None:
    mask = (table["method"] == "wanda") & (table["task"] == "addition_t2") & (table["level"] == 0.6)
    some = table.drop(table[mask].index[:10])
    with pytest.raises(
        UsageError, match="run 'tiny-wanda-0.6' has 5 of 40 items missing .* of task 'addition_t2'"
    ):
        leaderboard(some, "tier")


def test_metrics_that_are_no_share_are_left_out_by_name(table: pd.DataFrame) -> None:
    extra = table[(table["task"] == "addition_t1") & (table["metric"] == "acc")].assign(
        task="wikitext", family="wikitext", metric="word_perplexity", value=17.0
    )
    board = leaderboard(pd.concat([table, extra]), "family")
    assert "wikitext" not in board.columns
    assert any("wikitext" in note for note in board.notes)
    alone = leaderboard(extra, "family")
    assert not alone.percent
    assert alone.rows[0].scores[OVERALL].mean == 17.0


def test_a_report_needs_a_dense_run(table: pd.DataFrame, tmp_path: object) -> None:
    from pathlib import Path

    path = Path(str(tmp_path)) / "t.parquet"
    table[table["method"] != "dense"].to_parquet(path)
    with pytest.raises(UsageError, match="there is no dense run of 'tiny'"):
        build([path], with_fit=False, with_plots=False, with_documents=False)
