"""The help of every verb reads as a page: one line in the list, options under headings, examples that run, its document."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from junkdna_harness.cli import app
from junkdna_harness.commands.pages import PAGES, literal
from junkdna_harness.commands.verb import Verb
from tests.cli.test_spelling import VERBS, parse

DOCS = Path(__file__).parents[2] / "docs"
WIDE = 78  # what an 80 column terminal leaves of a line below the options
EXAMPLES = [example for page in PAGES.values() for example in page.examples]


def help_of(*words: str) -> str:
    done = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "80"})
    assert done.exit_code == 0
    return done.output


def test_every_verb_has_a_page_and_a_document_that_is_there() -> None:
    assert {" ".join(words) for words in VERBS} == set(PAGES)
    assert [name for name, page in PAGES.items() if not (DOCS / f"{page.docs}.md").is_file()] == []


def test_the_list_of_verbs_has_a_line_each_in_80_columns() -> None:
    lines = help_of().splitlines()
    for (name, *inner), verb in VERBS.items():
        if not inner:
            first = verb.help.split("\n\n")[0]
            assert any(line.startswith(f"│ {name} ") and first in line for line in lines), name
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("name", PAGES)
def test_the_help_of_a_verb_ends_with_examples_and_its_document(name: str) -> None:
    if name == "lm-eval":  # its help is lm_eval's
        return
    shown = help_of(*name.split())
    lines = [line.strip() for line in shown.splitlines()]
    assert max(map(len, shown.splitlines())) <= 80
    assert [
        one for one in (*PAGES[name].examples, f"More: docs/{PAGES[name].docs}.md") if one not in lines
    ] == []
    assert ("PLAN.yaml holds options" in shown) == isinstance(VERBS[tuple(name.split())], Verb)


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_are_understood_and_fit_on_a_line(example: str) -> None:
    program, *words = shlex.split(example)
    assert program == "junkdna" and len(example) <= WIDE
    name = " ".join(words[:2]) if " ".join(words[:2]) in PAGES else words[0]
    if name != "lm-eval":
        parse(tuple(name.split()), *words[len(name.split()) :])


def test_headings_name_options_that_are_there_once_and_long_pages_leave_none_out() -> None:
    for words, verb in VERBS.items():
        options: Any = {param.name for param in verb.params if param.param_type_name == "option"}
        named = [name for names in PAGES[" ".join(words)].panels.values() for name in names]
        assert len(named) == len(set(named)), words
        apart = [p.name for p in verb.params if p.name in options and not p.rich_help_panel]
        assert not apart or len(options) < 8, (words, apart)
    every = {param.name for verb in VERBS.values() for param in verb.params}
    assert {name for page in PAGES.values() for names in page.panels.values() for name in names} <= every


def test_brackets_in_help_are_no_styles() -> None:
    assert "A cell is the mean [its 95 % interval]" in " ".join(help_of("report").split())
    assert literal(literal("[a] [1] \\[b]")) == "\\[a] [1] \\[b]"


RUN = (
    "prune",
    "inspect",
    "fidelity",
    "sweep",
    "compare",
    "label",
    "fit",
    "show",
    "table",
    "check",
    "tiers build",
    "tiers show",
)


@pytest.mark.slow
def test_the_examples_run_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that need no more than a few seconds; a sweep asks fewer items here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in RUN:
        for example in PAGES[name].examples[: 1 if name in ("prune", "fidelity") else None]:
            words = shlex.split(example)[1:] + (
                ["--limit", "4"] if example.startswith("junkdna sweep --") else []
            )
            done = CliRunner().invoke(app, words)
            assert done.exit_code in ((0, 1, 3) if name == "check" else (0,)), (
                example,
                done.output,
                done.exception,
            )
