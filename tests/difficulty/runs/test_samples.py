"""Samples are read whole or refused: files that were cut, packed, re-encoded or mixed up, and logs of other versions."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from difficulty.errors import UsageError
from difficulty.runs.read import read_runs
from tests.difficulty.runs.logged import chosen, generated, results_of, samples_of, write_log

TASK = {"t": [generated(i, exact_match=float(i % 2)) for i in range(6)]}


def lines(folder: Path) -> list[str]:
    return samples_of(folder, "t").read_text().splitlines(keepends=True)


def test_a_file_with_fewer_items_than_were_evaluated_is_refused_with_both_numbers(tmp_path: Path) -> None:
    write_log(tmp_path, TASK)
    samples_of(tmp_path, "t").write_text("".join(lines(tmp_path)[:4]))
    with pytest.raises(
        UsageError, match=r"holds 4 items of task 't', and 6 were evaluated: lines are missing"
    ):
        read_runs(tmp_path)


def test_a_file_with_more_items_is_of_another_evaluation(tmp_path: Path) -> None:
    write_log(tmp_path, TASK, **{"n-samples": {"t": {"original": 9, "effective": 5}}})
    with pytest.raises(UsageError, match="holds 6 items.*5 were evaluated: it is of another evaluation"):
        read_runs(tmp_path)


def test_a_byte_order_mark_and_a_packed_file_are_read(tmp_path: Path) -> None:
    plain = read_runs(write_log(tmp_path / "plain", TASK)).table
    path = samples_of(write_log(tmp_path / "bom", TASK), "t")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    path = samples_of(write_log(tmp_path / "gz", TASK), "t")
    Path(f"{path}.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    for folder in ("bom", "gz"):
        assert read_runs(tmp_path / folder).table["value"].tolist() == plain["value"].tolist()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda b: b.replace(b'"x"', b'"\xe9"', 1), r"line 1, holds the byte 0xE9, which is not UTF-8"),
        (lambda b: b"\n".join([*b.split(b"\n")[:2], b.split(b"\n")[2].replace(b"x", b"\xff"), b""]), "line 3, holds"),
        (lambda b: b.decode().encode("utf-16"), "saved as UTF-16"),
        (lambda b: gzip.compress(b)[:-20], "gzip file that is cut off"),
        (lambda b: b[:-9], "line 6, is not a whole sample"),
        (lambda b: b"[1, 2]\n" + b, "line 1, .*a list instead of an object"),
        (lambda b: b"3\n" + b, "line 1, .*a int instead of an object"),
        (lambda b: b.replace(b'["exact_match"]', b'"exact_match"', 1), "is no list of names"),
        (lambda b: b.replace(b'["exact_match"]', b'["em"]', 1), "names the metric 'em' and has no value"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_one_true_sentence(tmp_path: Path, spoil: Any, said: str) -> None:
    path = samples_of(write_log(tmp_path, TASK), "t")
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(UsageError, match=said):
        read_runs(tmp_path)


def test_tasks_whose_names_begin_alike_are_not_mixed(tmp_path: Path) -> None:
    tasks = {"gsm8k": TASK["t"], "gsm8k_cot": [generated(i, exact_match=1.0) for i in range(9)]}
    table = read_runs(write_log(tmp_path, tasks)).table
    assert table.groupby("task").size().to_dict() == {"gsm8k": 6, "gsm8k_cot": 9}


def old(filters: int) -> list[dict[str, Any]]:
    """As lm-eval before 0.4.5 logged: all documents once per filter, unnamed."""
    rows = [generated(i, exact_match=float(f == 0)) for f in range(filters) for i in range(4)]
    return [{k: v for k, v in row.items() if k != "filter"} for row in rows]


def test_logs_of_older_versions_get_their_filters_from_the_task(tmp_path: Path) -> None:
    named = {"filter_list": [{"name": "strict"}, {"name": "flexible"}]}
    table = read_runs(write_log(tmp_path / "a", {"t": old(2)}, config=named)).table
    assert table.groupby("metric")["value"].mean().to_dict() == {
        "exact_match,strict": 1,
        "exact_match,flexible": 0,
    }
    assert set(read_runs(write_log(tmp_path / "b", {"t": old(1)})).table["metric"]) == {"exact_match"}
    with pytest.raises(
        UsageError, match="say no filter.*names 0 filters: which row is which cannot be known"
    ):
        read_runs(write_log(tmp_path / "c", {"t": old(2)}))


@pytest.mark.parametrize("metrics", [[], ["bypass"]])
def test_a_run_that_only_predicted_is_refused(tmp_path: Path, metrics: list[str]) -> None:
    rows = [{**generated(i), "metrics": metrics, "bypass": 999} for i in range(5)]
    with pytest.raises(UsageError, match="--predict_only"):
        read_runs(write_log(tmp_path, {"t": rows}))
    both = write_log(tmp_path / "both", {"t": rows, "u": TASK["t"]})
    read = read_runs(both)
    assert set(read.table["task"]) == {"u"} and "left out: task 't'" in " ".join(read.warnings)


@pytest.mark.parametrize(
    ("content", "said"),
    [("[]", "not a results file"), ('{"configs": 3}', "not a results file"), ('{"configs": {"t": 3}}', "not a results file"),
     ("{", "not whole JSON"), ("", "not whole JSON")],
)  # fmt: skip
def test_results_of_another_shape_are_one_sentence(tmp_path: Path, content: str, said: str) -> None:
    results_of(write_log(tmp_path, TASK)).write_text(content)
    with pytest.raises(UsageError, match=said):
        read_runs(tmp_path)


def test_what_is_no_run_says_what_it_is(tmp_path: Path) -> None:
    write_log(tmp_path, TASK)
    with pytest.raises(UsageError, match="samples of one task. Name its folder"):
        read_runs(samples_of(tmp_path, "t"))
    results_of(tmp_path).unlink()
    with pytest.raises(UsageError, match="holds samples but no results_"):
        read_runs(tmp_path)
    samples_of(tmp_path, "t").unlink()
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(UsageError, match="lm-eval before 0.4.3"):
        read_runs(tmp_path)


def test_gold_options_that_read_two_ways_follow_the_logged_metric(tmp_path: Path) -> None:
    """Options that are numbers: target "1" is the second option, or the one that says 1."""
    options = ["3", "0", "1", "2"]
    scores = [[-1.0, -2.0, -0.5, -3.0], [-1.0, -0.2, -2.0, -3.0]]
    by_text = [chosen(i, s, "1", options, acc_norm=float(s[2] == max(s))) for i, s in enumerate(scores)]
    by_index = [chosen(i, s, "1", options, acc_norm=float(s[1] == max(s))) for i, s in enumerate(scores)]
    for rows, gold in ((by_text, 2), (by_index, 1)):
        table = read_runs(write_log(tmp_path / str(gold), {"t": rows}, "multiple_choice")).table
        margins = table.loc[table["metric"] == "margin", "value"].tolist()
        assert margins == pytest.approx(
            [s[gold] - max(x for k, x in enumerate(s) if k != gold) for s in scores]
        )
    unclear = [{**row, "metrics": ["other"], "other": 1.0} for row in by_text]
    read = read_runs(write_log(tmp_path / "unclear", {"t": unclear}, "multiple_choice"))
    assert "margin" not in set(read.table["metric"])
    assert "cannot be told" in " ".join(read.warnings)


def test_acc_norm_divides_by_the_length_of_the_option(tmp_path: Path) -> None:
    rows = [chosen(0, [-4.0, -3.0], 0, ["a long option", "b"], acc_norm=1.0)]
    table = read_runs(write_log(tmp_path, {"t": rows}, "multiple_choice")).table
    assert table.loc[table["metric"] == "margin", "value"].tolist() == [-1.0]


@pytest.mark.parametrize("target", ["1", 1, "[np.int64(1)]", "[1]"])
def test_targets_of_numpy_are_indices(tmp_path: Path, target: Any) -> None:
    rows = [{**chosen(i, [-2.0, -1.0], 1), "target": target} for i in range(3)]
    table = read_runs(write_log(tmp_path, {"t": rows}, "multiple_choice")).table
    assert (table.loc[table["metric"] == "margin", "value"] == 1.0).all()


def test_the_chance_level_is_the_share_of_right_options_or_unknown(tmp_path: Path) -> None:
    two = [{**chosen(i, [-2.0, -1.0, -3.0, -4.0], 1), "target": "[1, 2]"} for i in range(3)]
    table = read_runs(write_log(tmp_path / "two", {"t": two}, "multiple_choice")).table
    assert set(table["chance"]) == {0.5}
    mass = [chosen(i, [-2.0, -1.0, -3.0], 0, acc=0.25 + i / 10) for i in range(3)]
    read = read_runs(write_log(tmp_path / "mass", {"t": mass}, "multiple_choice"))
    assert set(read.table["chance"]) == {0.0} and "it is not known" in " ".join(read.warnings)
    told = {"metadata": {"chance": 0.4}}
    read = read_runs(write_log(tmp_path / "told", {"t": mass}, "multiple_choice", config=told))
    assert set(read.table["chance"]) == {0.4} and "not known" not in " ".join(read.warnings)
    assert json.loads(read.runs["task_versions"][0]) == {"t": "1.0"}


def test_logs_of_lm_eval_0_5_read_as_those_of_0_4(tmp_path: Path) -> None:
    """There, a task of a group is called group::task, responses are nested once more, and targets are indices."""
    rows = [chosen(i, [-2.0, -1.0], 1) for i in range(3)]
    plain = read_runs(write_log(tmp_path / "a", {"t": rows}, "multiple_choice")).table
    nested = [{**row, "filtered_resps": [[r] for r in row["filtered_resps"]], "target": 1} for row in rows]
    named = read_runs(write_log(tmp_path / "b", {"group::t": nested}, "multiple_choice")).table
    assert plain.drop(columns="prompt_hash").equals(named.drop(columns="prompt_hash"))
    two = read_runs(write_log(tmp_path / "c", {"g::t": rows, "h::t": rows}, "multiple_choice")).table
    assert set(two["task"]) == {"g::t", "h::t"}


def test_results_that_were_named_by_the_user_are_found(tmp_path: Path) -> None:
    write_log(tmp_path, TASK)
    results_of(tmp_path).rename(
        results_of(tmp_path).with_name(results_of(tmp_path).name.replace("results", "mine"))
    )
    assert read_runs(tmp_path).names == ["m dense"]


def test_a_chance_level_that_the_task_calls_unknown_is_not_guessed(tmp_path: Path) -> None:
    rows = [chosen(i, [-2.0, -1.0], 1) for i in range(3)]
    told = {"metadata": {"chance": None, "chance_unknown": "several answers"}}
    read = read_runs(write_log(tmp_path, {"t": rows}, "multiple_choice", config=told))
    assert set(read.table["chance"]) == {0.0}
    assert "t: the chance level is not known (several answers)" in " ".join(read.warnings)
