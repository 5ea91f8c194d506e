"""A YAML file holds the options of a verb: every kind of value arrives as from the command line, which comes first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from difficulty.errors import UsageError
from junkdna_harness.cli import app
from junkdna_harness.commands.options_file import known_options
from junkdna_harness.commands.verb import Verb
from tests.cli.test_spelling import VERBS, parse

WITH_FILES = {words: verb for words, verb in VERBS.items() if isinstance(verb, Verb)}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read(words: tuple[str, ...], text: str, *given: str) -> dict[str, Any]:
    Path("p.yaml").write_text(text)
    return parse(words, "p.yaml", *given)


def refusal(words: tuple[str, ...], text: str, *given: str) -> str:
    with pytest.raises(UsageError) as found:
        read(words, text, *given)
    return str(found.value)


def test_the_verbs_that_do_something_take_a_file() -> None:
    asked = (
        "prune",
        "quantize",
        "check",
        "report",
        "recover",
        "fidelity",
        "fit",
        "gate",
        "compare",
        "table",
        "power",
        "show",
    )
    assert {(name,) for name in asked} | {("tiers", "build")} <= set(WITH_FILES)


WRITTEN = {bool: "true", int: "7", float: "0.25", str: "007", Path: "deep/er.x"}


@pytest.mark.parametrize("words", WITH_FILES, ids=" ".join)
def test_every_option_of_a_file_is_read_as_on_the_command_line(words: tuple[str, ...]) -> None:
    verb = WITH_FILES[words]
    lines, line = [], []
    positional: list[str] = []
    for param in verb.params:
        one = next(one for one in known_options(verb).values() if one.name == param.name and not one.negated)
        text = one.choices[-1] if one.choices else WRITTEN[one.kind]
        if param.param_type_name == "argument":
            positional += [text] * (2 if one.many else 1)
            lines.append(f"{param.name}: {[text, text] if one.many else text}")
            continue
        long = next(opt for opt in param.opts if opt.startswith("--"))
        lines.append(f"{long[2:]}: {[text] * 2 if one.many else text}")
        line += [long] if one.kind is bool else [long, text] * (2 if one.many else 1)
    lines = [text.replace("'", "") for text in lines]
    from_file = read(words, "\n".join(lines))
    assert from_file == parse(words, *positional, *line)
    assert read(words, "\n".join(text.replace("-", "_") for text in lines)) == from_file
    assert all(value not in (None, False, [], ()) for value in from_file.values())


def test_the_command_line_comes_first() -> None:
    found = read(
        ("prune",), "sparsity: 0.3\nforce: true\npretrained: there", "--sparsity", "0.5", "--no-force", "here"
    )
    assert (found["sparsity"], found["force"], found["pretrained"]) == ("0.5", False, "here")
    assert read(("report",), "runs: [a, b]\nby: task", "c")["runs"] == [Path("c")]


def test_what_is_text_stays_as_it_is_written() -> None:
    found = read(
        ("prune",),
        "revision: 1e5\npretrained: 007\nbits: 4\npattern: 2:4\nsparsity: 0.50\noutput: 2026-11-25",
    )
    assert (found["revision"], found["pretrained"], found["bits"]) == ("1e5", "007", "4")
    assert (found["pattern"], found["sparsity"], found["output"]) == ("2:4", "0.50", Path("2026-11-25"))


def test_a_list_of_texts_is_joined_as_on_the_command_line() -> None:
    assert read(("fit",), "runs: r\nclaims: [P1, P2]")["claims"] == "P1,P2"
    assert read(("prune",), "targets: ['mlp.*', attn]")["targets"] == "mlp.*,attn"
    assert read(("check",), "new: r\nmax_drop: 0.02")["max_drop"] == ["0.02"]


def test_null_is_not_given_and_no_is_the_flag_turned_off() -> None:
    found = read(("prune",), "sparsity: null\nno_force: true\nsymmetric: false")
    assert (found["sparsity"], found["force"], found["symmetric"]) == (None, False, False)


def test_values_of_options_are_no_files_of_options() -> None:
    found = parse(("prune",), "--recipe", "r.yaml", "--output=o.yaml")
    assert (found["recipe"], found["pretrained"]) == (Path("r.yaml"), None)
    Path("r.yaml").write_text("sparsity: 0.25")
    assert parse(("prune",), "--recipe", "r.yaml", "r.yaml")["recipe"] == Path("r.yaml")
    Path("run.yaml").mkdir()
    assert parse(("report",), "run.yaml")["runs"] == [Path("run.yaml")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sparsty: 0.5", "'p.yaml' has the unknown option 'sparsty'. Did you mean 'sparsity'?"),
        ("5: 5", "'p.yaml' has the unknown option 5."),
        ("group-size: 16\ngroup_size: 32", "'p.yaml' gives 'group-size' and 'group_size', which are one option. Keep one of them."),
        ("seed: 1\nmask-seed: 1", "'p.yaml' gives 'seed' and 'mask-seed', which are one option. Keep one of them."),
        ("force: true\nno-force: true", "'p.yaml' gives 'force' and 'no-force', which are one option. Keep one of them."),
        ("bits: 4\nbits: 4", "the key 'bits' stands there twice"),
        ("force: yes", "'p.yaml': force 'yes' cannot be used. Write true or false."),
        ("nsamples: 1.5", "'p.yaml': nsamples 1.5 cannot be used. Write a whole number."),
        ("nsamples: true", "'p.yaml': nsamples True cannot be used. Write a whole number."),
        ("nsamples: [1, 2]", "'p.yaml': nsamples [1, 2] cannot be used. Write a whole number, not a list."),
        ("method: {a: b}", "'p.yaml': method {'a': 'b'} cannot be used. Write a text (in quotes, if need be)."),
        ("output: true", "'p.yaml': output True cannot be used. Write a text (in quotes, if need be)."),
        ("- a", "'p.yaml' holds no options. Write one per line, as NAME: VALUE."),
        ("a: [", "is no YAML"),
    ],
)  # fmt: skip
def test_what_a_file_must_not_say_is_refused_in_one_sentence(text: str, said: str) -> None:
    assert said in refusal(("prune",), text)


def test_numbers_and_choices_are_looked_at() -> None:
    assert "alpha inf cannot be used. Write a number." in refusal(("check",), "alpha: .inf")
    assert "inconclusive 'exit4' cannot be used. Write exit3 or fail or pass." in refusal(
        ("check",), "inconclusive: exit4"
    )


def test_files_that_are_not_there_or_are_two() -> None:
    with pytest.raises(UsageError, match="there is no file of options 'no.yaml'"):
        parse(("prune",), "no.yaml")
    with pytest.raises(UsageError, match="'a.yaml' and 'b.yml' are two files of options"):
        parse(("prune",), "a.yaml", "b.yml")


def test_a_missing_option_is_asked_for_and_a_file_may_bring_it() -> None:
    Path("p.yaml").write_text("by: answer_length")
    assert "Missing option '--task'" in CliRunner().invoke(app, ["tiers", "build", "p.yaml"]).output
    assert read(("tiers", "build"), "task: t\nby: answer_length")["task"] == "t"


def test_a_sweep_takes_either_spelling_too() -> None:
    Path("p.yaml").write_text("num-fewshot: 1\nnum_fewshot: 2")
    done = CliRunner().invoke(app, ["sweep", "p.yaml"])
    assert "'num-fewshot' and 'num_fewshot', which are one option" in str(done.exception)


def test_a_study_takes_its_plan_as_an_argument_too() -> None:
    Path("p.yaml").write_text("max-length: 5\nstep: 3")
    said = [
        str(CliRunner().invoke(app, ["study", *words]).exception)
        for words in (["p.yaml"], ["--plan", "p.yaml"])
    ]
    assert said[0] == said[1]
    assert "no option 'step'. Did you mean 'steps'" in said[0]
