"""A metric is read as what it is: numbers, weighted log-likelihoods, repeated answers; which way is better is what was logged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from difficulty.errors import UsageError
from difficulty.runs.metrics import choose
from difficulty.runs.read import read_runs
from difficulty.runs.table import read_table, validate, write_table
from difficulty.runs.values import Values, read_values
from tests.difficulty.runs.logged import generated, write_log

ROLLING = {"word_perplexity": 50, "byte_perplexity": 250, "bits_per_byte": 250}


def rolling(folder: Path, factor: float) -> Path:
    rows = [
        generated(i, **{name: [-100 * factor - i, units] for name, units in ROLLING.items()})
        for i in range(20)
    ]
    return write_log(folder, {"wiki": rows}, "loglikelihood_rolling", higher=dict.fromkeys(ROLLING, False))


def test_perplexities_of_weighted_pairs_are_those_of_lm_eval(tmp_path: Path) -> None:
    """exp(-sum loglik / sum units), as lm_eval.api.metrics.weighted_perplexity; bits: that mean over ln 2."""
    table = read_runs(rolling(tmp_path, 1.0)).table
    total = sum(100 + i for i in range(20))
    for metric, units in ROLLING.items():
        rows = table[table["metric"] == metric]
        mean = np.average(rows["value"], weights=rows["weight"])
        assert mean == pytest.approx(total / (20 * units))
        assert set(rows["higher_is_better"]) == {False}
        assert set(rows["scale"]) == {"bits" if metric == "bits_per_byte" else "perplexity"}
    chosen = choose(table).rows
    assert set(chosen["task"]) == {"wiki"} and not (chosen["scale"] == "mean").any()


def test_the_items_of_lambada_are_log_likelihoods(tmp_path: Path) -> None:
    rows = [generated(i, perplexity=-3.0 - i, acc=1.0) for i in range(5)]
    table = read_runs(write_log(tmp_path, {"lambada": rows}, "loglikelihood")).table
    found = table[table["metric"] == "perplexity"]
    assert found["value"].tolist() == [3.0, 4.0, 5.0, 6.0, 7.0] and set(found["scale"]) == {"perplexity"}
    assert (table.loc[table["metric"] == "acc", "scale"] == "mean").all()


def test_a_perplexity_per_item_is_a_number() -> None:
    assert read_values("perplexity", [3.0, 4.0]) == Values([3.0, 4.0], [1.0, 1.0], "mean")
    assert read_values("ppl", [-3.0, -4.0], "perplexity") == Values([3.0, 4.0], [1.0, 1.0], "perplexity")
    assert read_values("score", [[-6.0, 2]], "weighted_perplexity") == Values([3.0], [2.0], "perplexity")


def test_repeated_answers_are_draws_of_an_item(tmp_path: Path) -> None:
    rows = [generated(i, **{"pass@1": [1.0, 0.0, 0.0, 1.0], "exact_match": [True, False]}) for i in range(4)]
    read = read_runs(write_log(tmp_path, {"code": rows}))
    assert set(read.table["value"]) == {0.5}
    assert "several draws per item" in " ".join(read.warnings)


def test_what_is_no_number_per_item_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    rows = [generated(i, acc=1.0, f1=[1, 0], mcc=[0, 1], odd={"a": 1}) for i in range(4)]
    read = read_runs(write_log(tmp_path, {"glue": rows, "glue2": rows}))
    assert set(read.table["metric"]) == {"acc"}
    assert "f1 of tasks glue, glue2 is not read: it is no number per item." in read.warnings


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_that_is_not_a_number_names_its_item(tmp_path: Path, value: float) -> None:
    rows = [generated(i, acc=value if i == 2 else 1.0) for i in range(4)]
    with pytest.raises(UsageError, match="value=.* for item .*value must be finite"):
        read_runs(write_log(tmp_path, {"t": rows}))


def filtered(
    strict: float, flexible: float, order: tuple[str, ...] = ("strict-match", "flexible-extract")
) -> dict[str, list[dict]]:
    score = {"strict-match": strict, "flexible-extract": flexible}
    return {"gsm8k": [generated(i, filter=f, exact_match=score[f]) for f in order for i in range(6)]}


def test_one_rule_chooses_among_filters_and_says_so(tmp_path: Path) -> None:
    write_log(tmp_path / "a", filtered(1.0, 1.0))
    write_log(
        tmp_path / "b",
        filtered(0.0, 1.0),
        block={"kind": "pruned", "method": "wanda", "level": 0.5, "model": "m"},
    )
    found = choose(read_runs([tmp_path / "a", tmp_path / "b"]).table)
    assert found.metrics == {"gsm8k": "exact_match,strict-match"}
    assert found.notes == (
        "gsm8k: judged by exact_match,strict-match; also logged: exact_match,flexible-extract (--metric chooses).",
    )
    other = choose(
        read_runs(write_log(tmp_path / "c", filtered(0.0, 1.0, ("flexible-extract", "strict-match")))).table
    )
    assert other.metrics == {"gsm8k": "exact_match,flexible-extract"}
    asked = choose(read_runs(tmp_path / "a").table, "exact_match,flexible-extract")
    assert asked.metrics == {"gsm8k": "exact_match,flexible-extract"}


def test_a_task_without_the_metric_is_left_out_by_name_and_nothing_is_an_error(tmp_path: Path) -> None:
    tasks = {"a": [generated(i, acc=1.0) for i in range(3)], "b": [generated(i, em=1.0) for i in range(3)]}
    table = read_runs(write_log(tmp_path, tasks)).table
    found = choose(table, "acc")
    assert found.metrics == {"a": "acc"} and found.notes == ("left out, without a metric 'acc': b.",)
    with pytest.raises(UsageError, match="no task has a metric 'accc'. Did you mean 'acc'"):
        choose(table, "accc")


def test_direction_and_weights_survive_a_file(tmp_path: Path) -> None:
    table = read_runs(rolling(tmp_path / "log", 2.0)).table
    for name in ("t.parquet", "t.csv"):
        write_table(table, tmp_path / name)
        again = read_table(tmp_path / name)
        assert set(again["higher_is_better"]) == {False}
        assert again["scale"].tolist() == table["scale"].tolist()
        assert again["weight"].tolist() == table["weight"].tolist()


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [("weight", 0.0, "weight must be above 0"), ("scale", "log", "scale must be one of"), ("higher_is_better", "up", "Write true or false")],
)  # fmt: skip
def test_wrong_cells_of_the_optional_columns_are_refused(
    tmp_path: Path, column: str, value: object, said: str
) -> None:
    table = read_runs(rolling(tmp_path, 1.0)).table
    with pytest.raises(UsageError, match=said):
        validate(table.assign(**{column: value}))


@pytest.mark.parametrize("column", ["item_id", "model", "method", "metric", "family", "task"])
def test_an_empty_cell_of_a_csv_is_named_with_its_row(tmp_path: Path, column: str) -> None:
    table = read_runs(rolling(tmp_path, 1.0)).table
    table.loc[4, column] = ""
    path = tmp_path / "t.csv"
    table.to_csv(path, index=False)
    with pytest.raises(UsageError, match=f"has no {column} in row 5"):
        read_table(path)
