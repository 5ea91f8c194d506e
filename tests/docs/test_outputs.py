"""What the machinery of the pages does with marks, blocks, and what was printed."""

from __future__ import annotations

import pytest

from doc_tools.blocks import Malformed, blocks_of
from doc_tools.commands import commands_of, mistakes, wrong_plan
from doc_tools.outputs import settled, shown, strangers

PRINTED = "one\ntwo\nthree 3\nfour\n"


def page(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)


def test_marks_belong_to_the_block_after_them() -> None:
    text = page("<!-- a note -->", "<!-- in tests:", "  first", "  second", "long: an hour -->", "```bash", "x", "```", "```text", "y", "```")  # fmt: skip
    first, second = blocks_of("p.md", text)
    assert first.marks == {"in tests": "\nfirst\nsecond", "long": "an hour"}
    assert (second.marks, second.body, second.lines) == ({}, "y\n", (9, 10))


def test_markdown_that_was_printed_stands_between_two_marks() -> None:
    (block,) = blocks_of("p.md", page("<!-- output -->", "| a |", "|---|", "", "b", "<!-- end -->"))
    assert (block.kind, block.body) == ("output", "| a |\n|---|\n\nb\n")


@pytest.mark.parametrize(
    "lines",
    [
        ("<!-- long: an hour", "lnog: an hour -->", "```bash", "x", "```"),
        ("<!-- not run: it cannot be -->", "words"),
        ("<!-- output -->", "| a |"),
    ],
)
def test_marks_that_mean_nothing_are_told(lines: tuple[str, ...]) -> None:
    with pytest.raises(Malformed):
        blocks_of("p.md", page(*lines))


@pytest.mark.parametrize(
    ("cut", "lines"),
    [
        ("1", "one …"),
        ("2-3", "… two three 3 …"),
        ("3-", "… three 3 four"),
        ("/t/", "… two three 3 …"),
        ("1; /four/", "one … four"),
        ("/two/-/four/", "… two three 3 four"),
        ("1-!/three/", "one two …"),
    ],
)
def test_a_cut_keeps_what_it_says_and_shows_gaps(cut: str, lines: str) -> None:
    (block,) = blocks_of("p.md", page(f"<!-- cut: {cut} -->", "```text", "```"))
    assert " ".join(shown(PRINTED, block).splitlines()) == lines


def test_a_cut_to_a_line_that_is_not_there_is_told() -> None:
    (block,) = blocks_of("p.md", page("<!-- cut: /five/ -->", "```text", "```"))
    with pytest.raises(Malformed):
        shown(PRINTED, block)


def test_what_is_shown_and_was_not_printed_is_found_whatever_the_digits() -> None:
    (block,) = blocks_of("p.md", page("<!-- may differ: /^four/ -->", "```text", "one", "…", "three  42", "four more", "five", "```"))  # fmt: skip
    assert strangers(block, PRINTED) == ["five"]


def test_times_dates_and_hashes_differ_from_run_to_run() -> None:
    first = "12 s, 3 to 4 minutes on 2026-11-26, sha bb5b3dbe975a863e, 1.5 GB; 0.962"
    second = "9 s, 3.5 to 6 minutes on 2027-01-01, sha 0123456789abcdef, 0.9 GB; 0.962"
    assert settled(first) == settled(second) != settled(second.replace("0.962", "0.963"))


def test_commands_of_a_shell_are_told_apart() -> None:
    script = "\n".join(["A=1 junkdna show a | tee b && junkdna \\", "  fit c 2>&1 > d # no", 'x="$(junkdna table e)"', "cat <<'E'", "junkdna none", "E", "junkdna show 'f", "g' || true"])  # fmt: skip
    ours = [words[1:] for words in commands_of(script) if words[0] == "junkdna"]
    assert ours == [["show", "a"], ["fit", "c"], ["table", "e"], ["show", "f\ng"]]


@pytest.mark.parametrize(
    ("command", "word"),
    [
        ("junkdna fit runs --delta-teir 0.2", "--delta-teir"),
        ("junkdna fit", "Missing"),
        ("junkdna recover --steps many", "many"),
        ("junkdna sweep export a b --output c --nothing", "--nothing"),
        ("junkdna tiers biuld", "biuld"),
        ("lm_eval --modle hf --tasks a", "--modle"),
        ("lm_eval --model hf --tasks a --num_fewshot many", "many"),
        ("lm_eval --model hf", "--tasks"),
        ("python benchmarks/nothing.py", "no such file"),
    ],
)
def test_commands_that_could_not_be_run_are_found(command: str, word: str) -> None:
    (wrong,) = mistakes(f"{command} || true")
    assert word in wrong


@pytest.mark.parametrize(
    "command",
    ["junkdna fit ...", "junkdna recover --arm … -o out", "junkdna --help", "junkdna --install-completion", "lm_eval --model hf …", "lm_eval ls tasks", "ls --nothing"],
)  # fmt: skip
def test_others_are_not(command: str) -> None:
    assert not mistakes(command)


@pytest.mark.parametrize(
    ("verb", "plan", "word"),
    [("sweep", "sparsty: 0.5", "sparsty"), ("study", "arms: [sparse_transfr]", "sparse_transfr"), ("study", "steps: many", "steps")],
)  # fmt: skip
def test_plans_that_could_not_be_used_are_found(verb: str, plan: str, word: str) -> None:
    assert word in (wrong_plan(verb, plan) or "")
