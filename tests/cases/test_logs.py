"""Logs that once gave a wrong answer without a word, through the commands that people run: exit codes and what is printed."""

from __future__ import annotations

import gzip
import json
import math
import random
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from difficulty.errors import UsageError
from difficulty.runs.read import read_runs
from difficulty.runs.table import MARGIN
from difficulty.stats.paired_loss import paired_loss
from junkdna_harness.cli import app
from junkdna_harness.tiers.compare import compare_folders
from junkdna_harness.tiers.scores import dense_scores
from tests.commands import junkdna
from tests.difficulty.runs.logged import chosen, digest, generated, results_of, samples_of, write_log

ROLLING = {"word_perplexity": 50, "byte_perplexity": 250, "bits_per_byte": 250}


def run(*arguments: object) -> tuple[int, str]:
    """Exit code and everything printed, with the sentence of a user's mistake; anything else that is raised is a failure."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    error = result.exception
    if isinstance(error, UsageError):
        assert "\n" not in str(error)
        return 2, result.output + str(error)
    if error is not None and not isinstance(error, SystemExit):
        raise error
    return result.exit_code, re.sub(r"\s+", " ", result.output)


def labelled(dense: Path, pruned: Path) -> tuple[str, ...]:
    return ("--label", f"{dense}=dense", "--label", f"{pruned}=wanda 0.5")


def everywhere(dense: Path, pruned: Path, *more: str) -> dict[str, tuple[int, str]]:
    """What each command that puts two runs side by side says of these."""
    return {
        "compare": run("compare", dense, pruned, *more),
        "check": run("check", pruned, "--against", dense, *more),
        "report": run("report", dense, pruned, *labelled(dense, pruned), *more),
        "fit": run("fit", dense, pruned, *labelled(dense, pruned), "--claims", "P2", *more),
    }


def items(n: int = 60, score: Callable[[int], Any] = lambda i: 1.0, metric: str = "exact_match", prompt: str = "p", **more: Any) -> list[dict[str, Any]]:  # fmt: skip
    return [generated(i, f"{prompt}{i}", **{metric: score(i)}, **more) for i in range(n)]


def filtered(scores: Mapping[str, float], n: int = 200, metric: str = "exact_match") -> list[dict[str, Any]]:
    """`n` documents under each filter, the first share of them right."""
    return [
        generated(i, f"p{i}", filter=name, **{metric: float(i < round(share * n))})
        for name, share in scores.items()
        for i in range(n)
    ]


ROLLED = 240  # documents: an unbounded metric needs 200


def rolling(folder: Path, factor: float, units: Mapping[str, int] = ROLLING) -> Path:
    rows = [
        generated(i, **{name: [-100 * factor - i % 7, unit + i % 3] for name, unit in units.items()})
        for i in range(ROLLED)
    ]
    return write_log(folder, {"wikitext": rows}, "loglikelihood_rolling", higher=dict.fromkeys(units, False))


# Directions and filters


@pytest.mark.parametrize(
    ("metric", "names", "higher"),
    [
        ("exact_match", ("get-answer", "flexible-extract"), None),
        ("exact_match", ("terse", "error-free"), None),
        ("exact_match", ("perplexity", "loss"), None),
        ("letter_acc", ("get-answer", "b"), {"letter_acc": True}),
        ("answer_error_rate", ("none", "b"), {"answer_error_rate": True}),
    ],
)
def test_letters_of_a_filter_or_metric_turn_no_direction_round(
    tmp_path: Path, metric: str, names: Sequence[str], higher: Mapping[str, bool] | None
) -> None:
    for name, share in (("dense", 1.0), ("bad", 0.0)):
        write_log(
            tmp_path / name, {"cot": filtered(dict.fromkeys(names, share), metric=metric)}, higher=higher
        )
    code, said = run("check", tmp_path / "bad", "--against", tmp_path / "dense")
    assert code == 1 and "FAIL" in said and "1.0000 -> 0.0000" in said
    assert run("check", tmp_path / "dense", "--against", tmp_path / "bad")[0] == 0


def test_a_direction_that_nobody_says_is_asked_for_and_two_that_disagree_are_refused(tmp_path: Path) -> None:
    for name, higher in (("up", {"score": True}), ("down", {"score": False}), ("silent", None)):
        write_log(tmp_path / name, {"t": items(metric="score")}, higher=higher)
    code, said = run("check", tmp_path / "silent", "--against", tmp_path / "silent")
    assert code == 2 and "--higher-is-better score or --lower-is-better score" in said
    code, said = run("check", tmp_path / "up", "--against", tmp_path / "down")
    assert code == 2 and "better by one run and worse by the other" in said


def test_one_rule_chooses_among_filters_in_every_command_and_it_is_printed(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    write_log(a, {"gsm8k": filtered({"strict-match": 0.885, "flexible-extract": 0.885})})
    write_log(b, {"gsm8k": filtered({"strict-match": 0.14, "flexible-extract": 0.905})})
    outcomes = everywhere(a, b)
    assert outcomes["check"][0] == 1 and "0.8850 0.1400" in outcomes["check"][1]
    assert outcomes["compare"][0] == 0
    assert "0.8850 0.1400" in outcomes["compare"][1] and " -0.7450 [" in outcomes["compare"][1]
    assert outcomes["report"][0] == 0 and "14.00" in outcomes["report"][1]
    for name in ("check", "compare", "report"):
        told = "gsm8k: judged by exact_match,strict-match; also logged: exact_match,flexible-extract"
        assert outcomes[name][1].count(told) == 1 + (name == "report"), name  # a report has two tables
    assert "0.9050" in run("compare", a, b, "--metric", "exact_match,flexible-extract")[1]
    write_log(tmp_path / "c", {"gsm8k": filtered({"flexible-extract": 0.905, "strict-match": 0.14})})
    code, said = run("check", tmp_path / "c", "--against", a)
    assert code == 2 and "Name one with --metric" in said


# Prompts, versions, limits


def test_other_prompts_generation_settings_and_versions_are_refused_by_name(tmp_path: Path) -> None:
    write_log(tmp_path / "a", {"t": items(200)})
    write_log(tmp_path / "shots", {"t": items(200, prompt="q")}, shots=5)
    warm = items(200)
    for row in warm:
        row["arguments"]["gen_args_0"]["arg_1"] = {"until": ["\n"], "temperature": 1}
    write_log(tmp_path / "warm", {"t": warm})
    write_log(tmp_path / "version", {"t": items(200)}, versions={"t": 2.0})
    for other, said in (
        ("shots", "asked with different prompts"),
        ("warm", "asked with different prompts"),
        ("version", "version"),
    ):
        for name, (code, text) in everywhere(tmp_path / "a", tmp_path / other).items():
            assert code == 2 and said in text and "--allow-different-prompts" in text, (other, name, text)
        assert run("compare", tmp_path / "a", tmp_path / other, "--allow-different-prompts")[0] == 0
    run("check", tmp_path / "a", "--write-baseline", tmp_path / "base.json")
    for other in ("shots", "warm", "version"):
        assert run("check", tmp_path / other, "--against", tmp_path / "base.json")[0] == 2


def test_prompts_that_were_not_logged_are_named(tmp_path: Path) -> None:
    bare = [{k: v for k, v in row.items() if k not in ("prompt_hash", "arguments")} for row in items(300)]
    write_log(tmp_path / "a", {"t": items(300)})
    write_log(tmp_path / "b", {"t": bare})
    for one, other in (("a", "b"), ("b", "a"), ("b", "b")):
        for name in ("compare", "check"):
            arguments = (tmp_path / one, *(["--against"] if name == "check" else []), tmp_path / other)
            code, said = run(name, *arguments)
            assert code == 0 and "asked the same is not known" in said, (one, other, name)
    dense, pruned = tmp_path / "a", tmp_path / "b"
    assert "asked the same is not known" in run("report", dense, pruned, *labelled(dense, pruned))[1]
    assert "asked the same" not in run("compare", tmp_path / "a", tmp_path / "a")[1]


@pytest.mark.parametrize(
    "more",
    [
        {"shots": 5},
        {"chat_template_sha": "ab"},
        {"system_instruction_sha": "ab"},
        {"fewshot_as_multiturn": True},
    ],
)
def test_settings_tell_prompts_apart_that_were_not_logged(tmp_path: Path, more: dict[str, Any]) -> None:
    bare = [{k: v for k, v in row.items() if k not in ("prompt_hash", "arguments")} for row in items(300)]
    write_log(tmp_path / "a", {"t": bare})
    write_log(tmp_path / "same", {"t": bare}, limit=300)
    write_log(tmp_path / "b", {"t": bare}, **more)
    for name, (code, said) in everywhere(tmp_path / "a", tmp_path / "b").items():
        if name != "fit":  # which looks at the tiers first
            assert code == 2 and "was evaluated with" in said and "--allow-different-prompts" in said, name
    assert run("compare", tmp_path / "a", tmp_path / "same")[0] == 0
    assert run("check", tmp_path / "b", "--against", tmp_path / "a", "--allow-different-prompts")[0] == 0


def test_fewer_items_are_never_compared_silently(tmp_path: Path) -> None:
    write_log(tmp_path / "a", {"t": items(60)})
    write_log(tmp_path / "b", {"t": items(40)}, limit=40)
    outcomes = everywhere(tmp_path / "a", tmp_path / "b")
    assert {name: code for name, (code, _) in outcomes.items()} == {"compare": 2, "check": 1, "report": 2, "fit": 2}  # fmt: skip
    assert all("20 of 60 items" in said for _, said in outcomes.values())


# Perplexities


def test_rolling_perplexities_are_ratios_in_every_command(tmp_path: Path) -> None:
    """exp(-sum loglik / sum units), paired; the interval is that of the log, carried over."""
    a, b = rolling(tmp_path / "a", 1.0), rolling(tmp_path / "b", 1.5)
    units = sum(50 + i % 3 for i in range(ROLLED))
    was, now = (math.exp(sum(100 * f + i % 7 for i in range(ROLLED)) / units) for f in (1.0, 1.5))
    found = compare_folders(a, b).rows[0]
    assert (found.first, found.second) == pytest.approx((was, now))
    assert found.difference.estimate == pytest.approx(now - was)
    weights = np.array([50 + i % 3 for i in range(ROLLED)], dtype=float)
    nats = [np.array([100 * f + i % 7 for i in range(ROLLED)]) / weights for f in (1.0, 1.5)]
    expected = paired_loss(*nats, None, True, weights, "perplexity").bounds(0.025)
    assert (found.difference.ci_low, found.difference.ci_high) == pytest.approx(expected)
    for text in (run("compare", a, b)[1], run("check", b, "--against", a)[1]):
        assert f" {was:.4f} {now:.4f} " in text and f" +{now - was:.4f} " in text
    assert "lower is better" in run("compare", a, b)[1]
    assert run("check", b, "--against", a)[0] == 1 and run("check", a, "--against", b)[0] == 0
    assert f"{now:.3f}" in run("show", b)[1]
    assert f"{now:.3f}" in run("report", a, b, *labelled(a, b))[1]
    code, said = run("fit", a, b, *labelled(a, b))
    assert code == 2 and "cannot be judged" in said and "--metric" in said
    for ending in ("csv", "parquet"):
        tables = [tmp_path / f"{side.name}.{ending}" for side in (a, b)]
        for side, table in zip((a, b), tables, strict=True):
            assert run("table", side, "-o", table)[0] == 0
        assert f"{was:.4f} {now:.4f}" in run("check", tables[1], "--against", tables[0])[1]
        assert f"{was:.4f} {now:.4f}" in run("compare", *tables)[1]
    bits = compare_folders(a, b, metric="bits_per_byte").rows[0]
    total = sum(250 + i % 3 for i in range(ROLLED)) * math.log(2)
    assert bits.second == pytest.approx(sum(150 + i % 7 for i in range(ROLLED)) / total)


def test_other_units_for_the_same_documents_are_refused(tmp_path: Path) -> None:
    a, b = rolling(tmp_path / "a", 1.0), rolling(tmp_path / "b", 1.0, {**ROLLING, "word_perplexity": 60})
    for name in ("compare", "check", "report"):
        code, said = everywhere(a, b)[name]
        assert code == 2 and "counted differently" in said, name


def test_lambadas_log_likelihoods_are_a_perplexity(tmp_path: Path) -> None:
    for name, level in (("a", 3.0), ("b", 10.0)):
        rows = [generated(i, perplexity=-level - i % 3 / 10) for i in range(201)]
        write_log(tmp_path / name, {"lambada": rows}, "loglikelihood", higher={"perplexity": False})
    assert run("check", tmp_path / "b", "--against", tmp_path / "a")[0] == 1
    assert run("check", tmp_path / "a", "--against", tmp_path / "b")[0] == 0
    found = compare_folders(tmp_path / "a", tmp_path / "b").rows[0]
    assert (found.first, found.second) == pytest.approx((math.exp(3.1), math.exp(10.1)))


def test_log_likelihoods_in_a_plain_table_are_no_perplexity(tmp_path: Path) -> None:
    for name in ("a", "b"):
        lines = [f"m,dense,0,1,i{i},perplexity,-{3 + i}" for i in range(40)]
        (tmp_path / f"{name}.csv").write_text(
            "\n".join(["model,method,level,tier,item_id,metric,value", *lines]) + "\n"
        )
    for command in (("compare", "a.csv", "b.csv"), ("check", "b.csv", "--against", "a.csv")):
        code, said = run(*(tmp_path / part if part.endswith(".csv") else part for part in command))
        assert code == 2 and "which no perplexity is" in said


# Multiple choice


def test_margins_agree_with_acc_norm_or_are_not_made(tmp_path: Path) -> None:
    options, gold = ["3", "0", "1", "2"], 2  # the text "1" is the third option
    rows = []
    for i in range(80):
        scores = [-2.0, -2.0, -2.0, -2.0]
        scores[gold if i % 2 else 1] = -1.0
        rows.append(chosen(i, scores, "1", options, acc_norm=float(i % 2)))
    table = read_runs(write_log(tmp_path, {"t": rows}, "multiple_choice")).table
    margins = table[table["metric"] == MARGIN].set_index("item_id")["value"]
    scores_of = table[table["metric"] == "acc_norm"].set_index("item_id")["value"]
    assert len(margins) in (0, 80)
    assert ((margins > 0) == (scores_of[margins.index] == 1)).all()


@pytest.mark.parametrize("metric", ["mc2", "acc", "acc_bytes"])
def test_shares_have_no_chance_level_that_nobody_knows(tmp_path: Path, metric: str) -> None:
    rows = [chosen(i, [-1.0, -2.0], 0, **{metric: 0.3 + i / 1000}) for i in range(40)]
    read = read_runs(write_log(tmp_path, {"t": rows}, "multiple_choice"))
    assert (read.table["chance"] == 0).all() and "it is not known and counted as 0" in " ".join(read.warnings)


def test_nothing_is_above_chance_where_less_is_better(tmp_path: Path) -> None:
    rows = [chosen(i, [-1.0, -2.0, -3.0, -4.0], 0, brier_score=float(i % 2)) for i in range(40)]
    write_log(tmp_path, {"t": rows}, "multiple_choice", higher={"brier_score": False})
    assert "0.250" not in run("show", tmp_path)[1]


# Rounding, predictions without scores, draws


def test_rounding_of_the_machine_is_no_loss_and_no_evidence(tmp_path: Path) -> None:
    for name, error in (("a", 0.0), ("b", 1e-9), ("same", 0.0)):
        write_log(tmp_path / name, {"t": items(20, lambda i, e=error: (0.3, 0.9)[i % 2] + e, "acc")})  # type: ignore[misc]
    first = run("check", tmp_path / "b", "--against", tmp_path / "a")
    second = run("check", tmp_path / "same", "--against", tmp_path / "a")
    assert first[0] == second[0] == 3 and first[1].rpartition("INCONCLUSIVE")[2] == second[1].rpartition("INCONCLUSIVE")[2]  # fmt: skip


def test_predictions_without_scores_are_refused_and_missing_beside_scored_tasks(tmp_path: Path) -> None:
    unscored = [{**generated(i, f"p{i}"), "metrics": [], "bypass": 999} for i in range(60)]
    named = [generated(i, f"p{i}", bypass=999) for i in range(60)]
    write_log(tmp_path / "a", {"t": items(), "u": items(300, prompt="u")})
    for name, rows in (("bare", unscored), ("named", named)):
        write_log(tmp_path / name, {"t": rows})
        for command in (("show", tmp_path / name), ("check", tmp_path / name, "--against", tmp_path / name)):
            code, said = run(*command)
            assert code == 2 and "--predict_only" in said
        write_log(tmp_path / f"{name}_and", {"t": rows, "u": items(300, prompt="u")})
        code, said = run("check", tmp_path / f"{name}_and", "--against", tmp_path / "a")
        assert code == 1 and "missing: family t" in said and "--predict_only" in said
        code, said = run("compare", tmp_path / "a", tmp_path / f"{name}_and")
        assert code == 0 and "only one of the two runs has t: not compared" in said


def test_lists_are_draws_of_an_item_or_refused_with_the_reason(tmp_path: Path) -> None:
    write_log(tmp_path / "a", {"t": items(score=lambda i: [True, False] if i % 2 else [True])})
    code, said = run("show", tmp_path / "a")
    assert code == 0 and " 75.00 [" in said and "several draws per item" in said
    for name, value in (("empty", []), ("null", [1.0, None]), ("text", ["x"])):
        write_log(tmp_path / name, {"t": items(score=lambda i, v=value: v)})  # type: ignore[misc]
        code, said = run("show", tmp_path / name)
        assert code == 2 and "it is no number per item" in said


def test_a_metric_that_some_items_lack_is_named(tmp_path: Path) -> None:
    rows = items(40)
    for row in rows[:5]:
        row["metrics"] = []
    write_log(tmp_path / "a", {"t": items(40)})
    write_log(tmp_path / "b", {"t": rows})
    code, said = run("show", tmp_path / "b")
    assert code == 0 and "exact_match of task t was logged for 35 of 40 items" in said
    assert run("check", tmp_path / "b", "--against", tmp_path / "a")[0] == 1
    assert run("compare", tmp_path / "a", tmp_path / "b")[0] == 2


def test_numbers_beyond_all_numbers_are_no_json_numbers(tmp_path: Path) -> None:
    rows = [generated(i, word_perplexity=[-1e6, 10]) for i in range(30)]
    write_log(tmp_path, {"wikitext": rows}, "loglikelihood_rolling")
    code, said = run("compare", tmp_path, tmp_path, "--json", tmp_path / "out.json")
    assert code == 0 and "nan" not in said

    def no_constant(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    row = json.loads((tmp_path / "out.json").read_text(), parse_constant=no_constant)["rows"][0]
    assert row["first"] is None and row["difference"]["estimate"] is None


# Files


def test_lines_that_are_missing_are_refused_in_every_filter(tmp_path: Path) -> None:
    cuts: Mapping[str, tuple[list[dict[str, Any]], Callable[[list[str]], list[str]]]] = {
        "end": (items(40), lambda lines: lines[:30]),
        "middle": (items(40), lambda lines: lines[:5] + lines[9:]),
        "second_filter": (filtered({"a": 1, "b": 1}, 40), lambda lines: lines[:70]),
        "first_filter": (filtered({"a": 1, "b": 1}, 40), lambda lines: lines[10:]),
        "whole_line": (items(40), lambda lines: []),
    }
    for name, (rows, cut) in cuts.items():
        write_log(tmp_path / name, {"t": rows})
        path = samples_of(tmp_path / name, "t")
        path.write_text("".join(cut(path.read_text().splitlines(True))))
        for command in ("show", "table"):
            more = ("-o", tmp_path / "t.csv") if command == "table" else ()
            code, said = run(command, tmp_path / name, *more)
            assert code == 2 and "40 were evaluated: lines are missing" in said, name
    write_log(tmp_path / "more", {"t": items(41)}, **{"n-samples": {"t": {"effective": 40}}})
    code, said = run("show", tmp_path / "more")
    assert code == 2 and "it is of another evaluation" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda b: b.replace(b'"x"', b'"\xe9"', 1), "line 1, holds the byte 0xE9, which is not UTF-8"),
        (lambda b: b.decode().encode("utf-16"), "is saved as UTF-16"),
        (lambda b: b[:-30], "line 40, is not a whole sample"),
        (lambda b: b + b"\0\0\0", "line 41, is not a whole sample"),
        (lambda b: b + b, "logged document 0 (5feceb66ffc8) twice"),
        (lambda b: gzip.compress(b)[:-20], "gzip file that is cut off"),
        (lambda b: b.replace(b'"doc_id": 3', b'"doc_id": {}'), "line 4, is not a whole sample"),
        (lambda b: b.replace(b'"metrics": ["exact_match"]', b'"metrics": "exact_match"'), "no list of names"),
        (lambda b: b.replace(b'"exact_match": 1.0', b'"exact_match": NaN', 1), "value must be finite"),
        (lambda b: b.replace(b'"exact_match": 1.0', b'"exact_match": Infinity', 1), "value must be finite"),
        (lambda b: b.replace(b"1.0", b"1" * 400, 1), "value must be finite"),
        (lambda b: b'{"a":' * 100_000, "nested too deeply"),
        (lambda b: b.replace(b'"target": ', b'"target" : "a", "target" : ', 1), "the key 'target' stands there twice"),
    ],
)  # fmt: skip
def test_what_is_damaged_is_one_true_sentence(
    tmp_path: Path, change: Callable[[bytes], bytes], said: str
) -> None:
    path = samples_of(write_log(tmp_path, {"t": items(40)}), "t")
    path.write_bytes(change(path.read_bytes()))
    code, text = run("show", tmp_path)
    assert code == 2 and said in text, text


@pytest.mark.parametrize(
    "change",
    [
        lambda b: b"\xef\xbb\xbf" + b,
        lambda b: b.replace(b"\n", b"\r\n"),
        lambda b: b + b"\n\n",
        gzip.compress,
        lambda b: b.replace(b'"doc": {', b'"doc": {"half": "\\ud800", ', 1),
        lambda b: b.replace(b'"target": "0"', b'"target": ' + b"7" * 4000, 1),
    ],
)  # fmt: skip
def test_what_is_whole_in_another_form_is_read(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    path = samples_of(write_log(tmp_path, {"t": items(40)}), "t")
    path.write_bytes(change(path.read_bytes()))
    code, said = run("show", tmp_path)
    assert code == 0 and " 100.00 [" in said


def test_packed_logs_are_read_and_labelled(tmp_path: Path) -> None:
    write_log(tmp_path, {"t": items(40)})
    for path in (samples_of(tmp_path, "t"), results_of(tmp_path)):
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert run("label", tmp_path, "--method", "wanda", "--sparsity", "0.5")[0] == 0
    code, said = run("show", tmp_path)
    assert code == 0 and "wanda 0.5" in said and "known by label" in said


# Clusters


def test_three_tasks_that_ask_the_same_questions_are_one_sample(tmp_path: Path) -> None:
    """At the limit, what one question shows three tasks show again: no more sure than one task alone."""
    rng = np.random.default_rng(3)
    before, after = np.ones(250), (rng.random(250) > 0.1).astype(float)
    for name, values in (("a", before), ("b", after)):
        tasks = {
            t: [
                {**generated(i, f"{t}{i}", exact_match=float(values[i])), "doc": {"id": f"q{i}"}, "doc_hash": digest(f"{t}{i}")}
                for i in range(250)
            ]
            for t in ("x", "y", "z")
        }  # fmt: skip
        write_log(tmp_path / name, tasks, config={"metadata": {"cluster_field": "id"}})
        write_log(tmp_path / f"{name}1", {"x": tasks["x"]}, config={"metadata": {"cluster_field": "id"}})

    def bounds(one: str, other: str) -> str:
        said = run("check", tmp_path / one, "--against", tmp_path / other, "--by", "overall")[1]
        return re.search(r"overall.*?\[(\S+, \S+)\]", said)[1]  # type: ignore[index]

    alone, together = ([float(x) for x in bounds(*pair).split(", ")] for pair in (("b1", "a1"), ("b", "a")))
    assert together[1] - together[0] == pytest.approx(alone[1] - alone[0], rel=0.1)
    board = run("report", tmp_path / "a", tmp_path / "b", *labelled(tmp_path / "a", tmp_path / "b"))
    assert board[0] == 0


def test_clusters_that_one_run_knows_count_in_every_command(tmp_path: Path) -> None:
    rng = random.Random(1)
    lost = [float(rng.random() < 0.7) for _ in range(40)]

    def log(name: str, score: Callable[[int], float], known: bool) -> Path:
        rows = [
            {**generated(i, f"p{i}", exact_match=score(i)), "doc": {"n": i, "passage": f"s{i // 5}"}} for i in range(200)
        ]  # fmt: skip
        config = {"metadata": {"cluster_field": "passage"}} if known else {}
        return write_log(tmp_path / name, {"t": rows}, config=config)

    def right(i: int) -> float:
        return 1.0

    def wrong(i: int) -> float:
        return lost[i // 5]

    outcomes = []
    for n, (a, b) in enumerate([(True, True), (True, False), (False, True)]):
        dense, pruned = log(f"a{n}", right, a), log(f"b{n}", wrong, b)
        assert compare_folders(dense, pruned).rows[0].difference.n_clusters == 40
        found = everywhere(dense, pruned)
        assert "another tier, family or cluster" not in found["fit"][1]
        cells = [found["compare"][1], found["check"][1], found["report"][1]]
        outcomes.append([re.sub(r"\S*[/\\]\S*|[ab]\d", "", cell) for cell in cells])
    assert outcomes[0] == outcomes[1] == outcomes[2]


# Guesses


def test_a_guess_is_told_once_by_every_command_and_stays_one_in_tables_and_baselines(tmp_path: Path) -> None:
    write_log(tmp_path / "a", {"t": items(300)})
    run("table", tmp_path / "a", "-o", tmp_path / "a.csv")
    run("check", tmp_path / "a", "--write-baseline", tmp_path / "base.json")
    for command in (
        ("show", tmp_path / "a"),
        ("show", tmp_path / "a.csv"),
        ("compare", tmp_path / "a.csv", tmp_path / "a.csv"),
        ("check", tmp_path / "a.csv", "--against", tmp_path / "a.csv"),
        ("report", tmp_path / "a"),
    ):
        code, said = run(*command)
        assert code == 0 and said.count("which is a guess") == 1, command
    assert "is a guess" in run("check", tmp_path / "a.csv", "--against", tmp_path / "base.json")[1]
    assert json.loads((tmp_path / "base.json").read_text())["known_by"] == "guess"
    write_log(tmp_path / "b", {"t": items(300)})
    run("label", tmp_path / "b", "--method", "dense")
    run("table", tmp_path / "b", "-o", tmp_path / "b.csv")
    run("check", tmp_path / "b", "--write-baseline", tmp_path / "b.json")
    assert "known_by" not in (tmp_path / "b.csv").read_text() + (tmp_path / "b.json").read_text()


def two_tiers(folder: Path, share: float, model: str = "m") -> Path:
    rng = random.Random(round(share * 100))
    for tier in (1, 2):
        stamp = f"2026-03-0{tier}T05-06-07.000008"
        rows = items(100, lambda i: float(rng.random() < share), prompt=f"t{tier}_")
        config = {"metadata": {"family": "f", "tier": tier}}
        write_log(folder, {f"f{tier}": rows}, config=config, model=model, stamp=stamp)
    return folder


def test_no_verdict_stands_on_two_guesses_that_differ(tmp_path: Path) -> None:
    a, b, c = (two_tiers(tmp_path / n, s, n) for n, s in (("a", 0.95), ("b", 0.6), ("c", 0.5)))
    pruned = ("--label", f"{c}=wanda 0.5")
    code, said = run("fit", a, b, c, *pruned, "--baseline", "a dense", "--claims", "P2")
    assert code == 2 and "'a dense'" in said and "'b dense'" in said and "junkdna label" in said
    code, said = run("fit", a, c, *pruned, "--baseline", "a dense", "--claims", "P2")
    assert code == 0 and said.startswith("warning: the verdicts stand on a guess")
    assert said.count("stand on a guess") == 1
    settled = ("--label", f"{a}=dense", "--label", f"{b}=magnitude 0.3")
    code, said = run("fit", a, b, c, *pruned, *settled, "--baseline", "a dense", "--claims", "P2")
    assert code == 0 and "guess" not in said
    run("table", a, b, c, *pruned, "-o", tmp_path / "all.csv")
    assert run("fit", tmp_path / "all.csv", "--baseline", "a dense", "--claims", "P2")[0] == 2


def test_a_report_says_first_that_its_verdicts_stand_on_a_guess(tmp_path: Path) -> None:
    from junkdna_harness.report.build import build

    a, c, d = (two_tiers(tmp_path / name, share) for name, share in (("a", 0.95), ("c", 0.6), ("d", 0.3)))
    made = build([a, c, d], labels=[f"{c}=wanda 0.5", f"{d}=wanda 0.7"], with_plots=False)
    assert made.fits and "the verdicts stand on a guess" in made.warnings[0]


def test_labels_that_say_nothing_or_two_things_are_refused(tmp_path: Path) -> None:
    a = write_log(tmp_path / "a", {"t": items()})
    run("table", a, "-o", tmp_path / "a.csv")
    code, said = run("show", tmp_path / "a.csv", "--label", f"{tmp_path / 'a.csv'}=wanda 0.5")
    assert code == 2 and "no log of lm_eval was read" in said
    (a / "empty").mkdir()
    assert run("show", a, "--label", f"{a / 'empty'}=wanda 0.5")[0] == 2
    code, said = run("show", a, "--label", f"{a}=wanda 0.5", "--label", f"{a}=dense")
    assert code == 2 and "says two things" in said
    b = write_log(tmp_path / "b", {"t": items()})
    assert run("compare", a, b, *labelled(a, b))[0] == 0  # each label belongs to one of the two


# Scores of documents for tiers


@pytest.mark.parametrize(
    ("metric", "value", "higher", "harder"),
    [
        ("acc", 1.0, None, "low"),
        ("wer", 0.5, None, "high"),
        ("score", 0.5, {"score": False}, "high"),
        ("score", 0.5, {"score": True}, "low"),
        ("score", 0.5, None, None),
        ("word_perplexity", [-30.0, 10], None, "high"),
        ("perplexity", -3.0, {"perplexity": False}, "high"),
    ],
)
def test_scores_of_documents_know_which_end_is_harder(
    tmp_path: Path, metric: str, value: Any, higher: Mapping[str, bool] | None, harder: str | None
) -> None:
    write_log(tmp_path, {"t": items(40, lambda i: value, metric)}, higher=higher)
    hashes = [digest(str(i)) for i in range(40)]
    found = dense_scores([tmp_path], "t", "dense_accuracy", hashes=hashes)
    assert found.harder == harder
    assert any("which is a guess" in note for note in found.notes)


# Many tasks, odd names, true processes


def test_two_thousand_tasks_are_compared_in_seconds(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_log(tmp_path / name, {f"t {i}": items(3, prompt=f"{i}_") for i in range(2000)})
    found = compare_folders(tmp_path / "a", tmp_path / "b")
    assert len(found.rows) == 2000 and len(found.notes) == 2


def test_the_commands_end_with_one_sentence_and_the_right_exit_code(tmp_path: Path) -> None:
    a = write_log(tmp_path / "a", {"a task": filtered({"get-answer": 1.0, "b": 1.0})})
    b = write_log(tmp_path / "b", {"a task": filtered({"get-answer": 0.0, "b": 0.0})})
    failed = junkdna("check", str(b), "--against", str(a))
    assert failed.returncode == 1 and "FAIL" in failed.stdout and not failed.stderr
    samples_of(b, "a task").write_bytes(b"\xe9\n")
    refused = junkdna("compare", str(a), str(b))
    assert refused.returncode == 2 and not refused.stdout
    assert refused.stderr.count("\n") == 1 and "0xE9" in refused.stderr


# Anything at all

WRONG: tuple[Any, ...] = (
    None, True, 0, -1, 2**70, 10**400, 1e308, math.nan, math.inf, -math.inf, "", "x", "\ud800", "1e5", "nan", "[1]", [],
    [None], ["a"], {}, {"a": 1}, [[1]], "1" * 5000, 0.5,
)  # fmt: skip


def places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path to every value within JSON."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [here] * bool(here) + [place for key in keys for place in places(value[key], (*here, key))]


def broken(value: Any, rng: random.Random) -> Any:
    """`value` with one thing in it removed or replaced."""
    *path, last = rng.choice(places(value))
    home = value
    for key in path:
        home = home[key]
    if rng.random() < 0.2:
        del home[last]
    else:
        home[last] = rng.choice(WRONG)
    return value


def test_a_log_with_anything_wrong_in_it_is_read_or_refused_in_one_sentence(tmp_path: Path) -> None:
    log = {
        "mc": [chosen(i, [-1.0, -2.0, -3.0], i % 3, acc=float(i % 2), acc_norm=1.0) for i in range(4)],
        "gen": filtered({"a": 0.5, "b": 1.0}, 3),
        "wiki": [generated(i, word_perplexity=[-20.0, 7], bits_per_byte=[-20.0, 30]) for i in range(3)],
    }
    metadata = {"version": 1.0, "tier": 2, "family": "f", "cluster_field": "n", "chance": 0.25}
    block = {
        "method": "wanda", "kind": "pruned", "level": 0.5, "model": "m", "sparsity_targeted": 0.5, "seed": 1, "replicate": 0,
        "sparsity_all": 0.4, "effective_bits": 9.0, "weights_sha256": "ab", "warnings": ["w"],
    }  # fmt: skip
    write_log(tmp_path, log, higher={"acc": True}, block=block, config={
        "metadata": metadata, "metric_list": [{"metric": "acc", "aggregation": "mean"}], "filter_list": [{"name": "a"}, {"name": "b"}],
    })  # fmt: skip
    path = results_of(tmp_path)
    results = json.loads(path.read_text())
    results["configs"]["mc"]["output_type"] = "multiple_choice"
    results["configs"]["wiki"]["output_type"] = "loglikelihood_rolling"
    path.write_text(json.dumps(results))
    whole = {file: file.read_text() for file in [path] * 1 + [samples_of(tmp_path, task) for task in log]}
    read = 0
    for seed in range(300):
        rng = random.Random(seed)
        for file, text in whole.items():
            file.write_text(text)
        file = rng.choice([path, path, *whole])
        lines = [whole[file]] if file == path else whole[file].splitlines()
        at = rng.randrange(len(lines))
        lines[at] = json.dumps(broken(json.loads(lines[at]), rng))
        file.write_text("\n".join(lines) + "\n")
        try:
            read_runs(tmp_path)
            read += 1
        except UsageError as error:
            assert "\n" not in str(error) and len(str(error)) < 800, seed
        if seed % 15 == 0:
            run("show", tmp_path)
    assert 150 < read < 300


def test_a_baseline_file_with_anything_wrong_in_it_is_read_or_refused_in_one_sentence(tmp_path: Path) -> None:
    from junkdna_harness.gate import check, read_baseline, read_run

    log = {"wiki": [generated(i, word_perplexity=[-20.0 - i, 7 + i]) for i in range(6)], "t": items(6)}
    write_log(tmp_path / "a", log, higher={"word_perplexity": False})
    path = tmp_path / "base.json"
    run("check", tmp_path / "a", "--write-baseline", path)
    whole, new = path.read_text(), read_run(tmp_path / "a")
    for seed in range(300):
        path.write_text(json.dumps(broken(json.loads(whole), random.Random(seed))))
        try:
            check(new, read_baseline(path))
        except UsageError as error:
            assert "\n" not in str(error), seed
