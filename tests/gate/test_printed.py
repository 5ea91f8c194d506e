"""What a person sees of the gate: 80 columns, the worst first, nothing that a terminal or GitHub would take as a command."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.cells import cell_len

from difficulty.stats.power import power
from junkdna_harness.gate import Policy, Rule, check
from junkdna_harness.gate.behind import with_flips
from junkdna_harness.gate.github import LARGEST_SUMMARY, MOST_ANNOTATIONS, workflow_commands
from junkdna_harness.gate.human import MOST, MOST_BESIDE, human
from junkdna_harness.gate.items import run_items
from junkdna_harness.gate.json_output import as_json
from junkdna_harness.gate.markdown import markdown
from junkdna_harness.gate.printed import tell
from junkdna_harness.gate.rule import Gate
from junkdna_harness.presentation.lines import cut, folded, plain
from tests.gate.test_check_command import folder, outcome, right, run
from tests.report.synthetic import one_run

ESC, BIDI = "\x1b[31m\x1b]0;title\x07", "\u202e\u2066"
HOSTILE = f"::error::x##[error]{ESC}{BIDI}<b>|`y`"


def gate_of(
    before: dict[tuple[str, int], np.ndarray], after: dict[tuple[str, int], np.ndarray], rules: Policy | None = None, metric: str = "acc"
) -> Gate:  # fmt: skip
    new, old = run_items(one_run(after, metric=metric)), run_items(one_run(before, metric=metric))
    return with_flips(check(new, old, rules))


def many(families: int, n: int = 200, lost: int = 60) -> Gate:
    cells = [(f"family {i:04d}", 1) for i in range(families)]
    return gate_of(
        {c: right(n) for c in cells}, {c: right(n, wrong=lost + i % 7) for i, c in enumerate(cells)}
    )


def text_of(gate: Gate, everything: bool = False) -> str:
    return plain(human(gate, everything))


def test_the_worst_comes_first_and_what_passed_is_one_line() -> None:
    cells = [("addition", t) for t in (1, 2, 3)]
    gate = gate_of(
        {c: right() for c in cells}, {c: right(wrong=w) for c, w in zip(cells, (0, 30, 90), strict=True)}
    )
    text = text_of(gate)
    assert text.index("addition tier 3") < text.index("overall ") < text.index("addition tier 2 ")
    assert "1 comparison passes, closest: addition tier 1, at most +0.0149 of" in text
    assert "\nPASS" not in text and "\nPASS" in text_of(gate, everything=True)
    assert text.rpartition("\n\n")[2].startswith(
        "FAIL: 3 of 4 comparisons lost more than allowed (worst: addition tier 3"
    )


@pytest.mark.parametrize("everything", [False, True])
@pytest.mark.parametrize(
    "gate",
    [
        many(40),
        gate_of({("f" * 200, 1): right()}, {("f" * 200, 1): right(wrong=90)}),
        gate_of({("\u65e5" * 90, 1): right()}, {("\u65e5" * 90, 1): right(wrong=5)}),
        gate_of(
            {("t", 1): np.geomspace(1, 1e15, 250)},
            {("t", 1): np.geomspace(1, 9e16, 250)},
            metric="perplexity",
        ),
        gate_of({("t", 1): right(30)}, {("t", 1): right(30)}),
    ],
    ids=["many", "long", "wide", "large", "few"],
)
def test_no_line_is_wider_than_80_columns(gate: Gate, everything: bool) -> None:
    wide = [line for line in text_of(gate, everything).splitlines() if cell_len(line) > 80]
    assert not wide


def test_a_long_list_is_cut_unless_all_is_asked_for() -> None:
    gate = many(40)
    assert text_of(gate).count("items lost") == MOST
    assert text_of(gate, everything=True).count("items lost") == len(gate.comparisons) > 40
    assert f"… and {len(gate.comparisons) - MOST} more" in text_of(gate)


def test_what_is_open_is_listed_shortly_where_something_failed() -> None:
    cells = [(f"f{i}", 1) for i in range(9)]
    gate = gate_of({c: right() for c in cells}, {c: right(wrong=60 if c == ("f8", 1) else 3) for c in cells})
    undecided = sum(one.verdict == "inconclusive" for one in gate.comparisons)
    assert undecided > MOST_BESIDE and text_of(gate).count("items would decide") == MOST_BESIDE
    assert f"… and {undecided - MOST_BESIDE} more" in text_of(gate)


def test_advisory_comparisons_stand_apart_and_decide_nothing() -> None:
    cells = {("a", 1): right(400), ("b", 1): right(400)}
    rules = Policy(
        (
            Rule(max_drop=0.2),
            Rule(max_drop=0.02, where=(("family", "*"),), severity="advisory"),
        )
    )
    gate = gate_of(cells, {("a", 1): right(400), ("b", 1): right(400, wrong=60)}, rules)
    text = text_of(gate)
    assert gate.verdict == "pass" and " PASS: " in " ".join(text.split())
    head, _, below = text.partition("FAIL (advisory: decides nothing)")
    assert "b " in below and "FAIL" not in head
    levels = [line.partition(" ")[0] for line in workflow_commands(gate)]
    assert levels == ["::notice", "::warning"]
    assert "(advisory)" in markdown(gate)


def test_an_open_comparison_says_what_would_decide_it() -> None:
    gate = gate_of({("t", 1): right(30)}, {("t", 1): right(30)})
    for told in (text_of(gate), markdown(gate)):
        assert (
            "0 items lost, 0 gained; about 149 items would decide (80 % power; 95 %: 149); these see a loss from "
            in " ".join(told.split())
        )
    (cell,) = [cell for cell in json.loads(as_json(gate, 3))["cells"] if cell["name"] == "t tier 1"]
    assert (cell["items_to_decide"], cell["items_to_decide_95"]) == (149, 149)
    # At that loss, four of five runs of 30 items fail; at a little less, fewer do.
    seen, level = cell["detectable_loss"], 0.05 / gate.comparisons[0].among
    assert power(30, seen, 0, 0.02, level, "fail") >= 0.8 > power(30, seen - 0.01, 0, 0.02, level, "fail")


def hostile_run(path: Path, wrong: int) -> Path:
    cells = {("t", 1): right(wrong=wrong)}
    return folder(
        path, cells, family=HOSTILE, prompt=f"{HOSTILE}\n::error::p", wrong=f"{HOSTILE}\n::error::a"
    )


@pytest.mark.parametrize("workflow", [False, True])
def test_nothing_that_was_read_commands_a_terminal_or_a_runner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workflow: bool
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "s.md"))
    if workflow:
        monkeypatch.setenv("GITHUB_ACTIONS", "true")
    else:
        monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    new, old = hostile_run(tmp_path / "new", 90), hostile_run(tmp_path / "old", 0)
    result = run(
        new, "--against", old, "--all", "--json", tmp_path / "o.json", "--junit-xml", tmp_path / "o.xml"
    )
    assert result.exit_code == 1
    written = [result.stdout, *((tmp_path / name).read_text() for name in ("s.md", "o.json", "o.xml"))]
    for text in written:
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", text)
    (cell,) = [cell for cell in json.loads(written[2])["cells"] if cell["scope"] == "overall"]
    assert cell["flips"][0]["answer"].startswith(HOSTILE)  # JSON keeps it, escaped
    assert "wanted    4" in result.stdout
    lines = result.stdout.splitlines()
    if not workflow:
        assert "::stop-commands" not in result.stdout
        return
    (stop,) = [line for line in lines if line.startswith("::stop-commands::")]
    start = lines.index(f"::{stop.rpartition('::')[2]}::")
    told = lines[: lines.index(stop)]
    assert not [line for line in lines[start + 1 :] if line]
    inside = lines[lines.index(stop) + 1 : start]
    assert any("::error::x" in line for line in inside)  # where it is shown, no command is taken
    assert [line.partition(" ")[0] for line in told] == ["::error"] * 3
    # What a title holds cannot end it, and what a message holds cannot begin a line.
    titles = [line.split("::")[1] for line in told]
    assert len([title for title in titles if "%3A%3Aerror%3A%3Ax##" in title]) == 1


def test_annotations_keep_within_what_github_shows() -> None:
    told = workflow_commands(many(40))
    assert len(told) == MOST_ANNOTATIONS
    assert told[0].startswith("::error title=junkdna::FAIL: 41 of 41") and "33 more" in told[-1]


def test_an_inconclusive_outcome_is_an_error_where_it_counts_as_a_fail() -> None:
    gate = gate_of({("t", 1): right(30)}, {("t", 1): right(30)})
    assert workflow_commands(gate)[0].startswith("::warning ")
    assert workflow_commands(gate, inconclusive_fails=True)[0].startswith("::error ")


def test_what_is_open_is_a_warning_beside_what_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    cells = {("a", 1): right(), ("b", 1): right()}
    tell(gate_of(cells, {("a", 1): right(wrong=60), ("b", 1): right(wrong=3)}), 1)
    annotations = [line for line in capsys.readouterr().out.splitlines() if " title=" in line]
    levels = {line.split("::")[1].partition(" title=")[::-2] for line in annotations}
    assert ("junkdna%3A a tier 1%2C fail", "error") in levels
    opened = {level for title, level in levels if title.endswith("%2C inconclusive")}
    assert opened == {"warning"}


def test_a_summary_keeps_within_what_github_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = many(60)
    whole = markdown(gate)
    for most in (len(whole.encode()), len(whole.encode()) - 1, 5_000, 500, 0):
        text = markdown(gate, most)
        assert len(text.encode()) <= most
        assert (text == whole) == (most == len(whole.encode()))
        assert text == whole or ("</details>" not in text and (most < 100 or text.endswith("in the JSON.\n")))
    # What other calls of the step wrote counts.
    page = tmp_path / "s.md"
    page.write_text("x" * (LARGEST_SUMMARY - 600))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    few = folder(tmp_path / "few", {("addition", t): right(30) for t in (1, 2, 3, 4)})
    run(few, "--against", few)
    assert page.stat().st_size <= LARGEST_SUMMARY and "junkdna check: inconclusive" in page.read_text()


def test_colour_is_for_terminals_that_want_it(tmp_path: Path) -> None:
    good = folder(tmp_path / "good", {("addition", 1): right()})
    script = f"import sys; sys.argv = ['junkdna', 'check', {str(good)!r}, '--against', {str(good)!r}]\n"
    script += "from junkdna_harness.cli import main; main()"
    colours = {}
    for name, environment in {
        "pipe": {},
        "terminal": {"FORCE_COLOR": "1"},
        "no": {"FORCE_COLOR": "1", "NO_COLOR": "1"},
    }.items():
        plain_environment = {
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": ":".join(sys.path),
            "TERM": "xterm-256color",
        }
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=False, env=plain_environment | environment
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        colours[name] = "\x1b[32m" in done.stdout
        assert "PASS" in done.stdout
    assert colours == {"pipe": False, "terminal": True, "no": False}


def test_the_outcome_is_the_last_paragraph(tmp_path: Path) -> None:
    good = folder(tmp_path / "good", {("addition", 1): right()})
    assert outcome(run(good, "--against", good)).startswith("PASS: in each of 2 comparisons")


def test_texts_are_cut_and_folded_by_what_they_take_up() -> None:
    assert cut("past_tense tier 4", 12) == "past_tense…"
    assert cut("past_tense tier 4", 12, end=True) == "…ense tier 4"
    assert cell_len(cut("\u65e5" * 9, 8)) <= 8
    text = "one two " + "\u65e5" * 30 + " three"
    lines = folded(text, 20, "  ", "> ")
    assert max(map(cell_len, lines)) <= 20 and lines[0].startswith("> one two")
    assert "".join(line[2:] for line in lines).replace(" ", "") == text.replace(" ", "")
    assert folded("", 20) == [""]
