"""Names, prompts and answers that a stranger chose reach no terminal and no file that a terminal shows, whatever verb reads them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest
from typer.testing import CliRunner

from difficulty.runs.read import read_runs
from junkdna_harness.cli import app
from junkdna_harness.sweep.display import Display
from junkdna_harness.sweep.engines import Extended, Failed, Noted, Started
from junkdna_harness.sweep.plan import build_plan
from tests.commands import junkdna
from tests.difficulty.runs.logged import generated, write_log
from tests.report.synthetic import tidy

# In one name: colours, a title, a return, a bell, a C1 sequence, a change of direction, what is invisible, marks, markup of rich, formulas.
HOSTILE = "=x\x1b[31m\x1b]0;t\x07\r\b\x9b32m\u202e\u2066\u200b\u200f\ufeff\u2028\U000e0041" + "e" + "\u0301" * 30 + "[red][/] $x$ |&<b>\\"  # fmt: skip
IN_A_FILE = HOSTILE.replace("/", "")
SGR = re.compile(r"\x1b\[[\d;]*m")
ACTS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200f\u061c\u2028-\u202e\u2066-\u2069\ufeff\U000e0000-\U000e007f]|\u0301{8}"
)

LOGGED = [
    "show d", "compare d e", "compare d e --json c.json", "table d e --label e=wanda~0.5 -o t.csv", "check e --against d", "check e --against d --all --json -",
    "check e --against d --json j.json --junit-xml j.xml --history h.jsonl", "check --trend h.jsonl", "check --trend h.jsonl --json -",
    "check d --write-baseline b.json --write-policy p.yaml", "check e --against b.json", "check --validate --policy p.yaml --against b.json",
    "power --baseline d --policy p.yaml", "power --baseline d --max-drop 0.1 --json -", "report d --markdown - ", "report d --latex -",
    "label d --method dense --model NAME", "show d --run NAME", "show NAME", "fit d", "show --NAME", "compare d e --task NAME", "check e --against d --policy p.yaml --json q.json",
]  # fmt: skip
SWEPT = [
    "report s.parquet", "report s.parquet --csv r.csv --latex r.tex --markdown r.md --html r.html --plots plots", "report s.parquet --csv -",
    "fit s.parquet --resamples 100 --all --csv f.csv --cells g.csv --json f.json", "fit s.parquet --resamples 100 --json -",
    "show s.parquet --run NAME", "table s.parquet -o s.csv",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("hostile")
    name = IN_A_FILE
    for run, value in (("d", 1.0), ("e", 0.0)):
        rows = [
            {**generated(i, prompt=f"{i}{HOSTILE}", **{HOSTILE: value}), "filtered_resps": [HOSTILE], "target": HOSTILE}
            for i in range(40)
        ]  # fmt: skip
        config = {"metadata": {"family": HOSTILE, "axis": HOSTILE, "tier": 1, "version": 1.0}}
        write_log(home / run, {name: rows}, model=name, config=config, higher={HOSTILE: True})
    table = tidy((HOSTILE, "b"), tiers=2, n_items=30, levels=(0.0, 0.4, 0.8), model=HOSTILE)
    table["run"] = table["run"] + HOSTILE
    table.to_parquet(home / "s.parquet")
    return home


@pytest.fixture(autouse=True)
def at_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def called(command: str, **environment: str) -> Any:
    words = [word.replace("NAME", HOSTILE).replace("~", " ") for word in command.split()]
    return CliRunner(env=environment).invoke(app, words)


def written(folder: Path) -> Iterator[tuple[str, str]]:
    kinds = (".csv", ".json", ".xml", ".md", ".tex", ".html", ".svg", ".yaml", ".jsonl")
    for path in folder.rglob("*"):
        stranger = path.name.startswith(("results_", "samples_", "label_"))
        if path.suffix in kinds and path.is_file() and not stranger:
            yield path.name, path.read_text(encoding="utf-8")


COLOURED = [
    "show d",
    "check e --against d",
    "check --trend h.jsonl",
    "report s.parquet",
    "fit s.parquet --resamples 100",
]


@pytest.mark.parametrize(
    ("command", "colour"),
    [*((command, False) for command in (*LOGGED, *SWEPT)), *((command, True) for command in COLOURED)],
)
def test_nothing_in_a_name_acts_on_a_terminal(folder: Path, command: str, colour: bool) -> None:
    found = called(command, **({"FORCE_COLOR": "1"} if colour else {"NO_COLOR": "1"}))
    assert found.exception is None or isinstance(found.exception, (SystemExit, ValueError)), found.exc_info
    out = found.output + str(found.exception or "") * isinstance(found.exception, SystemExit)
    assert not ACTS.search(SGR.sub("", out) if colour else out), ascii(out)
    for name, text in written(folder):
        assert not ACTS.search(text), name


def test_in_a_workflow_of_github_too(folder: Path) -> None:
    found = called(
        "check e --against d", GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(folder / "summary.md")
    )
    assert not ACTS.search(found.output)
    assert not ACTS.search((folder / "summary.md").read_text("utf-8"))
    assert "\\x1b[31m" in found.output


def test_an_error_sentence_shows_what_it_quotes(folder: Path) -> None:
    for words in (
        ("show", "no\u202e\x1b[31m"),
        ("show", "d", "--run", "\x9b31m"),
        ("show", "--\u202e\x1b[31m"),
    ):
        found = junkdna(*words, cwd=folder)
        assert found.returncode == 2
        assert not ACTS.search(found.stderr)
        assert "\\x1b" in found.stderr or "\\x9b" in found.stderr


def test_json_and_parquet_hold_the_names_as_they_are_and_csv_gives_them_back(folder: Path) -> None:
    for command in ("table d -o t.parquet", "table d -o t.csv", "compare d e --json c.json"):
        assert called(command).exit_code == 0
    assert set(pd.read_parquet("t.parquet")["task"]) == {IN_A_FILE}
    assert {row["task"] for row in json.loads(Path("c.json").read_text("utf-8"))["rows"]} == {IN_A_FILE}
    again = read_runs(Path("t.csv")).table
    assert set(again["task"]) == {IN_A_FILE}
    assert set(again["family"]) == set(again["metric"]) == {HOSTILE}


def test_a_policy_and_a_baseline_that_are_written_fit_each_other(folder: Path) -> None:
    assert called("check d --write-baseline mine.json --write-policy mine.yaml").exit_code == 0
    for command in (
        "check --validate --policy mine.yaml --against mine.json",
        "power --baseline d --policy mine.yaml",
    ):
        found = called(command)
        assert found.exit_code == 0, ascii(found.exception)


def test_junit_is_xml_that_can_be_read(folder: Path) -> None:
    called("check e --against d --junit-xml only.xml")
    ElementTree.parse("only.xml")


def test_two_names_never_become_one_on_the_way_through_csv(tmp_path: Path) -> None:
    names = [
        "a\x1b",
        "a\\x1b",
        "a\\\\x1b",
        "=a",
        "'=a",
        "''=a",
        "a\u202e",
        "a\\u202e",
        "a\n",
        "a\r",
        "a\r\n",
        "a",
    ]
    table = pd.concat([tidy(("f",), 1, 2, (0.0,), model=name) for name in names])
    table["run"] = table["model"] + " dense"
    table.to_parquet(tmp_path / "t.parquet")
    assert called(f"table {tmp_path / 't.parquet'} -o {tmp_path / 't.csv'}").exit_code == 0
    assert sorted(set(read_runs(tmp_path / "t.csv").table["model"])) == sorted(names)
    # A file of others, in which the escape is not of ours, is taken at its word.
    foreign = table[table["model"].isin(["a\x1b", "a\\x1b", "=a", "'=a"])]
    foreign.to_csv(tmp_path / "foreign.csv", index=False)
    assert set(read_runs(tmp_path / "foreign.csv").table["model"]) == {"a\x1b", "a\\x1b", "=a", "'=a"}
    # So is a backslash, and what keeps a spreadsheet from running a formula is still taken off.
    foreign = table[table["model"].isin(["a", "=a"])].assign(task="\\\\frac").replace("^=", "'=", regex=True)
    foreign.to_csv(tmp_path / "apostrophes.csv", index=False)
    again = read_runs(tmp_path / "apostrophes.csv").table
    assert set(again["model"]) == {"a", "=a"} and set(again["task"]) == {"\\\\frac"}


def test_names_that_only_look_the_same_are_told_apart(tmp_path: Path) -> None:
    rows = [generated(i, acc=1.0) for i in range(5)]
    write_log(tmp_path / "r", {"café": rows, "cafe\u0301": rows})
    found = called(f"show {tmp_path / 'r'}")
    assert "look alike" in found.output
    assert "caf\\xe9" in found.output


@pytest.mark.parametrize("terminal", [False, True])
def test_the_display_of_a_sweep_moves_the_cursor_by_its_own_codes_alone(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    plan = build_plan("t", [f"pretrained={HOSTILE}"], ["magnitude"], [0.5])
    with Display(plan) as display:
        for event in (
            Noted(HOSTILE),
            Started(plan.cells[0]),
            Failed(plan.cells[0], HOSTILE),
            Extended(plan, (), HOSTILE),
        ):
            display.hear(event)
    found = capsys.readouterr().err
    assert "\\x1b]0;t\\x07" in found
    assert "[red][/]" in found
    assert not ACTS.search(re.sub(r"\x1b\[[\d;?]*[A-Za-z]|\r", "", found) if terminal else found)
