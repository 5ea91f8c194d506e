"""Both spellings of an option are one, values stay as they are; versions, completion, `-m`, and what is said of a typo."""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import copy
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from junkdna_harness.cli import app, keep_alone
from tests.commands import OFFLINE, command, junkdna


def verbs(group: Any = None, before: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """(words, command) of every verb, those of groups too."""
    for name, one in (group or get_command(app)).commands.items():
        yield (*before, name), one
        if hasattr(one, "commands"):
            yield from verbs(one, (*before, name))


VERBS = dict(verbs())


def run(*words: str) -> Any:
    return CliRunner().invoke(app, list(words), env={"COLUMNS": "200"})


def parse(words: tuple[str, ...], *given: str) -> dict[str, Any]:
    """The values that a verb is called with."""
    root = get_command(app).make_context("junkdna", [*words, *given])
    context, args = root, [*getattr(root, "_protected_args", ()), *root.args]
    while hasattr(context.command, "commands") and args:
        name, one, rest = context.command.resolve_command(context, args)
        context = one.make_context(name, rest, parent=context)
        args = [*getattr(context, "_protected_args", ()), *context.args]
    return dict(context.params)


@pytest.mark.parametrize("words", [w for w in VERBS if w != ("lm-eval",)], ids=" ".join)
def test_every_verb_and_group_has_short_help_and_shows_options_in_one_spelling(
    words: tuple[str, ...],
) -> None:
    short, long = run(*words, "-h"), run(*words, "--help")
    assert (short.exit_code, short.output) == (0, long.output)
    assert not [opt for param in VERBS[words].params for opt in param.opts if "_" in opt and opt[0] == "-"]


def test_both_spellings_of_every_option_reach_the_same_parameter() -> None:
    seen = 0
    for words, verb in VERBS.items():
        parser = verb.make_parser(
            get_command(app).make_context("junkdna", [words[0]], resilient_parsing=True)
        )
        for param in verb.params:
            for opt in param.opts:
                if opt.startswith("--") and "-" in opt[2:]:
                    snake = "--" + opt[2:].replace("-", "_")
                    value = [] if getattr(param, "is_flag", False) else ["a_b-c"]
                    found = [parser.parse_args([one, *value])[0] for one in (opt, snake)]
                    assert found[0] == found[1] != {}, (words, opt)
                    seen += 1
    assert seen > 80


def test_values_are_not_respelt() -> None:
    given = parse(("sweep",), "--model_args", "a_b=c_d,e-f=g_h", "--include-path=x_y", "--methods", "m_n:o_p")
    assert given["model_args"] == ["a_b=c_d,e-f=g_h"]
    assert (given["include_path"], given["methods"]) == ("x_y", "m_n:o_p")
    assert (
        parse(("tiers", "build"), "--task", "a_b", "--by=field:c_d", "--min_items", "3")["by"] == "field:c_d"
    )


def test_lm_eval_gets_its_words_as_they_stand() -> None:
    words = ["--model_args", "a_b=c-d", "--num_fewshot=2", "-h", "--log_samples", "--help", "run"]
    root = get_command(app).make_context("junkdna", ["lm-eval", *words])
    name, one, rest = root.command.resolve_command(root, [*root._protected_args, *root.args])  # type: ignore[attr-defined]
    assert one.make_context(name, rest, parent=root).args == words


def test_the_version_names_what_results_depend_on_and_loads_none_of_it() -> None:
    done = command("junkdna_harness", "--version", fresh=True)  # `python -m junkdna_harness`
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "junkdna-harness",
        "lm-eval",
        "torch",
        "transformers",
    ]
    assert all(re.fullmatch(r"\S+ \d+\.\d\S*", line) for line in done.stdout.splitlines()), done.stdout


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("junkdna swe", ["sweep"]),
        ("junkdna sweep e", ["export"]),
        ("junkdna sweep export --h", ["--help"]),
        ("junkdna prune --group_s", ["--group-size"]),
        ("junkdna tiers b", ["build"]),
    ],
)
def test_a_shell_completes(line: str, expected: list[str], tmp_path: Path) -> None:
    asked = {"_JUNKDNA_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    done = CliRunner().invoke(app, [], prog_name="junkdna", env=asked | OFFLINE)
    assert done.output.split() == expected


def test_completion_can_be_shown_and_plans_are_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = junkdna("--show-completion", "bash", fresh=True, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert done.returncode == 0
    assert "_JUNKDNA_COMPLETE=complete_bash" in done.stdout
    monkeypatch.chdir(tmp_path)
    for name in ("a.yaml", "a.txt"):
        Path(name).touch()
    asked = {"_JUNKDNA_COMPLETE": "complete_bash", "COMP_WORDS": "junkdna sweep ", "COMP_CWORD": "2"}
    done_too = CliRunner().invoke(app, [], prog_name="junkdna", env=asked)
    assert done_too.output.split() == ["export", "a.yaml"]


def test_help_of_a_verb_in_either_order() -> None:
    assert run("help", "sweep", "export").output == run("sweep", "export", "--help").output
    assert run("help").output == run("--help").output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("prne",), "Did you mean 'prune'?"),
        (("prune", "--sparsty", "0.5"), "--sparsity"),
        (("prune", "--group-sise", "16"), "--group-size"),
        (("prune", "--pretrained", "x"), "PRETRAINED is an argument of junkdna prune"),
        (("report", "--runs", "x"), "RUNS is an argument of junkdna report"),
        (("sweep", "exprt", "a", "b"), "Did you mean 'export'?"),
    ],
)
def test_a_typo_is_met_with_the_nearest_name(words: tuple[str, ...], said: str) -> None:
    done = run(*words)
    assert done.exit_code != 0
    assert said in done.output + str(done.exception)


def test_a_plan_or_folder_of_the_name_of_the_subcommand_is_reached_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("export").write_text("methodz: magnitude\n")
    assert "'./export' has the unknown option 'methodz'" in str(run("sweep", "./export").exception)
    assert "Missing argument" in run("sweep", "export").output
    assert run("sweep", "export", "--help").output.split()[1:4] == ["junkdna", "sweep", "export"]
    assert "export" in run("sweep", "--help").output


@pytest.mark.parametrize(
    ("word", "left"),
    [
        ("prune", ["prune"]),
        ("sweep", ["sweep"]),
        ("tasks_dir", ["tasks-dir"]),
        ("prne", None),
        ("--version", None),
        ("help", None),
    ],
)
def test_a_start_makes_the_options_of_the_verb_that_is_asked_for_alone(
    word: str, left: list[str] | None
) -> None:
    every = list(get_command(app).commands)  # type: ignore[attr-defined]
    one = copy(app)
    keep_alone([word], one)
    assert list(get_command(one).commands) == (left or every)  # type: ignore[attr-defined]
    assert list(get_command(app).commands) == every  # type: ignore[attr-defined]
