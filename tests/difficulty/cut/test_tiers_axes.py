"""Claims about the rules that score an item, and about the human-LLM gap."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from difficulty.cut.axes import Item, lookup, parse_rule
from difficulty.cut.human_gap import HUMAN, PAIRS, human_llm_gap, normalized_gap
from difficulty.errors import UsageError

ITEM = Item(
    doc={"level": "hard", "n": 3, "meta": {"hops": 2}, "tags": ["x", "y"], "ok": True},
    context="Question: why?",
    answers=("because", " so "),
    options=("because", "no", "maybe"),
)


@pytest.mark.parametrize(
    ("rule", "score"),
    [
        ("answer_length", 2),  # the shortest accepted answer, without the spaces around it
        ("context_length", 14),
        ("option_count", 3),
        ("field:level", "hard"),
        ("field:n", 3),
        ("field:meta.hops", 2),
        ("field:tags", 2),
        ("field:ok", "True"),
    ],
)
def test_rules_of_the_item(rule, score):
    assert parse_rule(rule).score(ITEM) == score


@pytest.mark.parametrize(
    ("equation", "count"),
    [
        ("( 76.0 - 25.0 )", 1),
        ("x=(27-2)/5", 2),
        ("X = -3 + 2", 1),
        ("x=5.0*-2.0", 1),
        ("* number0 number1", 1),
        ("+ number0 - number1 number2", 2),
        ("8.0", 0),
    ],
)
def test_operators_are_counted_and_signs_are_not(equation, count):
    assert parse_rule("operators:equation").score(Item({"equation": equation})) == count


def test_steps_of_a_gsm8k_solution():
    solution = "She sells 16-3 = <<16-3=13>>13.\n\nShe makes 13*2 = <<13*2=26>>26.\n#### 26"
    assert parse_rule("steps:answer").score(Item({"answer": solution})) == 2


def test_a_python_function_is_a_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "my_rules_for_tests.py").write_text(
        "def hops(doc):\n    return doc['n'] * 10\ndef bad(doc):\n    return []\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert parse_rule("my_rules_for_tests:hops").score(ITEM) == 30
    with pytest.raises(UsageError, match="returned \\[\\]"):
        parse_rule("my_rules_for_tests:bad").score(ITEM)
    with pytest.raises(UsageError, match="could not be imported"):
        parse_rule("my_rules_for_tests:nothing")
    sys.modules.pop("my_rules_for_tests")


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("answer_lenght", "Did you mean 'answer_length'"),
        ("nothing", "there is no rule 'nothing'"),
        ("field:", "there is no rule 'field:'"),
        ("feild:level", "Did you mean 'field'"),
    ],
)
def test_unknown_rules_are_refused(rule, message):
    with pytest.raises(UsageError, match=message):
        parse_rule(rule)


def test_a_missing_column_names_those_that_exist():
    with pytest.raises(
        UsageError, match=r"no column 'levl'; they have level, n, meta, tags, ok. Did you mean 'level'"
    ):
        lookup(ITEM.doc, "levl")


def test_option_count_needs_options():
    with pytest.raises(UsageError, match="needs a multiple-choice task"):
        parse_rule("option_count").score(Item({}))


def test_the_gap_is_normalised_by_the_human_score():
    assert human_llm_gap("rte", 0.5) == pytest.approx((0.936 - 0.5) / 0.936)
    assert normalized_gap(0.8, 0.8) == 0
    assert normalized_gap(0.8, 0.9) < 0


def test_gaps_that_cannot_be_known_are_refused():
    with pytest.raises(UsageError, match="no published human score"):
        human_llm_gap("svamp", 0.5)
    with pytest.raises(UsageError, match="Did you mean 'cola'"):
        human_llm_gap("kola", 0.5)
    with pytest.raises(UsageError, match="cannot be normalised by"):
        normalized_gap(0, 0.5)
    with pytest.raises(UsageError, match="out of range"):
        normalized_gap(0.9, 52)


def test_every_number_has_a_source_and_every_pair_its_entry():
    for pair in PAIRS:
        assert {pair.easy, pair.hard} <= set(HUMAN)
    for score in HUMAN.values():
        assert (score.score is None) == (score.source == "no published number used")
    # the mean over GLUE's nine tasks, which the abstract of the source gives as 87.1, pins the row that was copied
    others = {"mrpc": (0.863 + 0.808) / 2, "mnli": (0.92 + 0.928) / 2, "wnli": 0.959}
    glue = [0.664, 0.978, (0.927 + 0.926) / 2, (0.595 + 0.804) / 2, 0.912, 0.936, *others.values()]
    assert sum(glue) / 9 == pytest.approx(0.871, abs=0.001)
    assert [HUMAN[t].score for t in ("cola", "sst2", "qnli", "rte")] == [0.664, 0.978, 0.912, 0.936]
