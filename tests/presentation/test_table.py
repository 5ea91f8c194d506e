"""Tables fit the terminal: nothing is lost, numbers and names stay whole, and what is the same in all rows is told once."""

from __future__ import annotations

import re

import pytest
from rich.cells import cell_len

from junkdna_harness.presentation.lines import plain
from junkdna_harness.presentation.table import Cell, Column, number_table, table, table_text

SCORE = "98.42 [98.14, 98.66]"
COLUMNS = [Column("model", head=True), Column("method"), Column("level", right=True)]
TIERS = [Column(f"Tier {tier}", "number", told=False) for tier in range(1, 9)]
MODELS = ("meta-llama/Llama-3.2-1B-Instruct-of-a-rather-long-name" * 2, "embedded")
ROWS = [
    [model, method, level, *[Cell(f"{number}{tier}.42 [98.14, 98.66]", below="(99.6)") for tier in range(8)]]
    for number, model in enumerate(MODELS, 1)
    for method, level in (("dense", "-"), ("magnitude", "50 %"))
]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 300])
def test_every_cell_is_there_whole_and_no_line_is_too_wide(width: int) -> None:
    text = plain(table([*COLUMNS, *TIERS], ROWS, width))
    assert max(map(cell_len, text.splitlines())) <= width
    for number in (1, 2):
        for tier in range(8):
            assert text.count(f"{number}{tier}.42 [98.14, 98.66]") == 2  # of two rows each
    assert text.count("(99.6)") == 32
    assert "".join(MODELS[0].split()) in "".join(text.split())


def test_first_columns_are_repeated_where_others_go_to_further_tables() -> None:
    lines = plain(table([*COLUMNS, *TIERS], ROWS, 80)).splitlines()
    heads = [line.split() for line in lines if "Tier" in line]
    assert len(heads) > 1
    assert all(head[:2] == ["method", "level"] for head in heads)
    assert [number for head in heads for number in head if number.isdigit()] == list("12345678")


def test_a_wide_terminal_is_used() -> None:
    text = plain(table([*COLUMNS, *TIERS], ROWS, 300))
    assert len([line for line in text.splitlines() if "Tier" in line]) == 1
    assert f"{'10.42 [98.14, 98.66]'} (99.6)" in text


def test_what_is_the_same_in_all_rows_is_told_in_one_line_above() -> None:
    columns = [
        Column("task"),
        Column("metric"),
        Column("items", "number"),
        Column("score", "number", told=False),
    ]
    rows = [["a", "acc", "250", "100.00"], ["b", "acc", "250", "100.00"]]
    first, blank, head, *body = table_text(columns, rows, 80).splitlines()
    assert (first, blank) == ("all rows: metric acc, items 250", "")
    assert head.split() == ["task", "score"]  # a score is shown, also where all are the same
    assert [line.split() for line in body] == [["a", "100.00"], ["b", "100.00"]]


def test_a_single_row_keeps_all_of_its_columns() -> None:
    text = table_text([Column("task"), Column("items", "number")], [["a", "250"]], 80)
    assert [line.split() for line in text.splitlines()] == [["task", "items"], ["a", "250"]]


def test_long_texts_fold_at_words_and_stand_under_each_other() -> None:
    columns = [
        Column("claim", told=False),
        Column("what", "text", told=False),
        Column("p", "number", told=False),
    ]
    what = "at equal mean loss pruning small weights orders the tiers more than pruning random or large ones"
    lines = table_text(columns, [["P6", what, "< 0.001"]], 60).splitlines()
    assert max(map(len, lines)) <= 60
    start = lines[0].index("what")
    told = [line[start:].removesuffix("< 0.001").strip() for line in lines[1:]]
    assert " ".join(told) == what
    assert len(told) > 1


def test_names_that_act_on_a_terminal_are_made_harmless() -> None:
    text = number_table(["run", "n"], [["a\x1b[31m\nb", "1"]], 80)
    assert "\x1b" not in text
    assert len(text.splitlines()) == 2


def test_wide_characters_count_twice() -> None:
    text = number_table(["run", "n"], [["模型" * 30, "1.5"], ["b", "22.5"]], 80)
    assert max(map(cell_len, text.splitlines())) <= 80
    assert re.findall(r"\d+\.\d", text) == ["1.5", "22.5"]
