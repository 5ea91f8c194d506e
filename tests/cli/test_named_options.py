"""Every option that a sentence of ours names is there, in the verb that the sentence is about."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import difficulty
import junkdna_harness
from difficulty.errors import UsageError
from junkdna_harness.cli import app
from junkdna_harness.compress.spec import PruneSpec
from tests.cli.test_spelling import VERBS

OPTION = re.compile(r"(?<![\w-])--([a-z][a-z_-]*[a-z])(?![\w-])")
OF_OTHERS = {"no-deps", "threads"}  # of pip; of the script that trains the embedded models
# Where a sentence does not name its verb, the module's place says which verbs it may be said by.
SAID_BY = {
    "junkdna_harness.commands.": ("",),
    "junkdna_harness.commands.limits": ("check", "gate", "power"),
    "junkdna_harness.commands.trend_of": ("check", "gate"),
    "junkdna_harness.commands.compressing": ("prune", "quantize"),
    "junkdna_harness.commands.fit_tables": ("fit",),
    "junkdna_harness.commands.tiers": ("tiers build",),
    "junkdna_harness.sweep.": ("sweep", "study"),
    "junkdna_harness.recover.": ("recover", "study"),
    "junkdna_harness.study.": ("study",),
    "junkdna_harness.fidelity.": ("fidelity",),
    "junkdna_harness.gate.": ("check", "gate", "power"),
    "junkdna_harness.sequential.": ("gate",),
    "junkdna_harness.tiers.": ("tiers build", "compare"),
    "junkdna_harness.tiers.compar": ("compare",),
    "junkdna_harness.report.": ("report",),
    "junkdna_harness.compress.": ("prune", "quantize", "recover", "sweep"),
    "junkdna_harness.texts.": ("sweep", "fidelity"),
    "difficulty.judge.": ("fit", "report"),
    "difficulty.cut.": ("tiers build", "compare"),
}  # fmt: skip


def options() -> dict[str, set[str]]:
    """Verb -> the options that it has, without dashes; `lm_eval` too."""
    from lm_eval._cli.harness import HarnessCLI

    found = {}
    for words, verb in VERBS.items():
        named = {opt for param in verb.params for opt in (*param.opts, *param.secondary_opts)}
        found[" ".join(words)] = {opt[2:] for opt in named if opt.startswith("--")} | {"help"}

    def walk(parser: argparse.ArgumentParser) -> Iterator[str]:
        for action in parser._actions:
            yield from action.option_strings
            if isinstance(action, argparse._SubParsersAction):
                for inner in action.choices.values():
                    yield from walk(inner)

    found["junkdna"] = {"version", "help"}
    found["lm_eval"] = {opt[2:] for opt in walk(HarnessCLI()._parser) if opt.startswith("--")}
    return found


def texts() -> Iterator[tuple[str, int, str]]:
    """(module, line, text) of every string that is no docstring; what is filled in stands as {}."""
    for package in (junkdna_harness, difficulty):
        root = Path(package.__path__[0])
        for path in sorted(root.rglob("*.py")):
            module = ".".join(path.relative_to(root.parent).with_suffix("").parts)
            tree = ast.parse(path.read_text(encoding="utf-8"))
            apart = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
            for node in ast.walk(tree):
                if isinstance(node, ast.JoinedStr):
                    apart |= {id(inner) for inner in ast.walk(node) if inner is not node}
                    if id(node) not in apart:
                        pieces = [p.value if isinstance(p, ast.Constant) else "{}" for p in node.values]
                        yield module, node.lineno, "".join(map(str, pieces))
            for node in ast.walk(tree):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in apart:
                    yield module, node.lineno, node.value


def verbs_of(module: str, before: str, known: dict[str, set[str]]) -> set[str]:
    """The verbs that an option after the text `before` may be of: those of the module, and those that are named there."""
    named = {
        verb
        for verb in known
        if re.search(rf"junkdna {verb}\b|\b{verb} (with )?(--\S+ )*(\S+ )?\Z", before.lower())
    }
    fitting = [place for place in SAID_BY if module.startswith(place)]
    places = SAID_BY[max(fitting, key=len)] if fitting else ()
    if places == ("",):
        places = (module.rpartition(".")[2].replace("_", " "),)
    return named | (set(places) & set(known) or set(known))


@pytest.fixture(scope="module")
def named() -> list[tuple[str, str, set[str]]]:
    """(where, option, verbs) of every option that is named."""
    known = options()
    found = []
    for module, line, text in texts():
        for match in OPTION.finditer(text):
            verbs = verbs_of(module, text[: match.start()], known)
            found.append((f"{module}:{line} in {text:.90}", match.group(1), verbs))
    return found


def test_every_option_that_is_named_is_there(named: list[tuple[str, str, set[str]]]) -> None:
    known = options()
    assert len(named) > 200
    missing = []
    for where, option, verbs in named:
        has = set().union(*(known[verb] for verb in verbs)) | known["lm_eval"] | OF_OTHERS
        if option not in has:
            missing.append(f"--{option} (of {', '.join(sorted(verbs))}): {where}")
    assert not missing, "\n".join(missing)


def test_options_are_named_as_the_help_writes_them(named: list[tuple[str, str, set[str]]]) -> None:
    lm_evals = options()["lm_eval"]
    assert [where for where, option, _ in named if "_" in option and option not in lm_evals] == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "prune --group-size 16 -o o",
            "--group-size 16 says how to quantize. Give --bits too, or leave it out.",
        ),
        ("prune --act-order -o o", "--act-order says how to quantize. Give --bits too"),
        ("prune --sparsity 0.5 --pattern 2:4 -o o", "--sparsity 0.5 and --pattern 2:4 were both given."),
        ("prune --sparsity x -o o", "--sparsity 'x' is no number. Write a fraction, e.g. --sparsity 0.5."),
        ("prune --seed -1 -o o", "--seed -1 is no whole number"),
        ("prune --criterion reap -o o", "--criterion reap is for --method experts. Leave it out."),
        ("quantize --kv_tokens 8 -o o", "--kv-tokens 8 is of a cache of few bits. Give --kv-bits too"),
        (
            "quantize --method bnb-nf4 -o o",
            "--model junkdna-quantized --model_args method=bnb-nf4, or choose",
        ),
        ("recover --fraction 2 -o o", "--fraction 2.0 of the training data"),
        ("recover --sparsity 2 --mask-seed 1 -o o", "--sparsity 2 is not in [0, 1)"),
        (
            "sweep --methods magnitude --sparsity 0.5 --tasks difficulty_tiers --model-args scope=globl",
            "scope='globl' is unknown",
        ),
    ],
)
def test_sentences_are_in_the_spelling_of_the_command_line(
    line: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in str(CliRunner().invoke(app, line.split()).exception)


def test_for_lm_eval_and_python_they_stay_as_arguments_are_written() -> None:
    with pytest.raises(UsageError, match="group_size=16 says how to quantize. Give bits= too"):
        PruneSpec.from_strings({"group_size": 16})
