"""The commands in a bash block, each tried on the parser that would read it: options exist, values have their type, choices are among them.
Nothing is run.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import tempfile
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import typer
from lm_eval._cli.harness import HarnessCLI

from difficulty.errors import UsageError
from doc_tools.blocks import ROOT
from junkdna_harness.cli import app
from junkdna_harness.study.asked import make_plan
from junkdna_harness.sweep.options import read_plan_file

_SEPARATES = re.compile(r"[|&;()\n]+")
_REDIRECTS = re.compile(r"[<>&]*[<>][<>&]*")
_ASSIGNS = re.compile(r"[A-Za-z_]\w*=.*", re.S)
_FIRST = {"do", "then", "if", "while", "else", "!", "time", "env", "exec"}
_ACTS = {"--install-completion", "--show-completion"}  # done while the words are read
_MORE = {"...", "…"}


def commands_of(script: str) -> Iterator[list[str]]:
    """Every simple command of a shell script, without assignments before it and redirections."""
    for line in _whole_lines(script):
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;()<>")
        lexer.whitespace_split = True
        words: list[str] = []
        tokens = list(lexer)
        skip = False
        for token, following in pairwise([*tokens, "\n"]):
            if skip:
                skip = False
            elif _REDIRECTS.fullmatch(token):
                skip = True
            elif _SEPARATES.fullmatch(token):
                yield from _command(words)
                words = []
            elif not (token.isdigit() and _REDIRECTS.fullmatch(following)):
                words.append(token)
        yield from _command(words)


def _whole_lines(script: str) -> Iterator[str]:
    """Lines with those joined that a backslash or an open quotation goes on in; without what `<<WORD` takes in."""
    waiting, until = "", None
    for line in script.splitlines():
        if until is not None:
            until = None if line.strip() == until else until
            continue
        waiting += line
        if waiting.endswith("\\"):
            waiting = waiting[:-1]
            continue
        try:
            shlex.split(waiting, comments=True)
        except ValueError:
            waiting += "\n"
            continue
        if here := re.search(r"<<-?\s*['\"]?(\w+)", waiting):
            until = here[1]
        yield waiting
        waiting = ""
    if waiting:
        yield waiting


def _command(words: list[str]) -> Iterator[list[str]]:
    for word in words:
        for inner in re.findall(r"\$\(([^()]*)\)", word):  # in quotation marks
            yield from commands_of(inner)
    while words and (words[0] in _FIRST or _ASSIGNS.fullmatch(words[0])):
        words = words[1:]
    if words:
        yield words


def mistakes(script: str) -> list[str]:
    """What is wrong with the commands of a script, one sentence each.

    `...` and `…` stand for further arguments or for a value, so what is required may be missing beside them.
    """
    return [f"{shlex.join(words)}: {wrong}" for words in commands_of(script) if (wrong := _wrong(words))]


def _wrong(words: list[str]) -> str | None:
    """Why a command could not be run as it stands; None where it could, or is not one of ours."""
    if _ACTS & set(words):
        return None
    more = any(word in _MORE for word in words)
    name, *arguments = [word for word in words if word not in _MORE]
    if name == "python" and arguments[:2] in (["-m", "junkdna_harness"], ["-m", "junkdna_harness.cli"]):
        name, arguments = "junkdna", arguments[2:]
    if name == "junkdna":
        return _wrong_for_typer(arguments, more)
    if name in {"lm_eval", "lm-eval"}:
        return _wrong_for_lm_eval(arguments, more)
    if name == "python" and arguments and arguments[0].startswith("benchmarks/"):
        return None if (ROOT / arguments[0]).is_file() else "there is no such file"
    return None


@cache
def _verbs() -> Any:
    return typer.main.get_command(app)


def _wrong_for_typer(arguments: list[str], more: bool) -> str | None:
    command, context = _verbs(), None
    name, rest = "junkdna", arguments
    try:
        while True:
            context = command.make_context(name, rest, parent=context)
            rest = [*getattr(context, "_protected_args", []), *context.args]
            if not (rest and hasattr(command, "resolve_command")):
                return None
            name, command, rest = command.resolve_command(context, rest)
            if name == "lm-eval":
                return _wrong_for_lm_eval(rest, more)
    except typer.Exit:  # --help, --version
        return None
    except Exception as error:
        if "there is no file of options" in str(error):  # the page shows it, and writes it nowhere
            return None
        if not hasattr(error, "format_message"):
            raise
        lacks = type(error).__name__ in {"MissingParameter", "NoArgsIsHelpError", "BadOptionUsage"}
        return None if more and lacks else str(error.format_message())


def _wrong_for_lm_eval(arguments: list[str], more: bool) -> str | None:
    harness = HarnessCLI()
    if arguments and arguments[0] not in harness._subparsers.choices:
        arguments = ["run", *arguments]
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            given = harness._parser.parse_args(arguments)
    except SystemExit as error:
        lacks = more and "expected one argument" in said.getvalue()
        return said.getvalue().strip().splitlines()[-1] if error.code and not lacks else None
    if given.command == "run" and not (given.tasks or given.config or more):
        return "no --tasks"
    return None


def wrong_plan(of: str, text: str) -> str | None:
    """Why a file with this text could not be the plan of `sweep`, `study` or `study MODEL`; None where it could."""
    verb, *model = of.split()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plan.yaml"
        path.write_text(text, encoding="utf-8")
        try:
            if verb == "study":
                make_plan(*model, plan_file=path)
                return None
            known = {option.name for option in _verbs().commands[verb].params}
            unknown = [key for key in read_plan_file(path) if key.replace("-", "_") not in known]
            return f"{verb} has no option {', '.join(unknown)}" if unknown else None
        except UsageError as error:
            return str(error)


def spoken(page: str) -> list[str]:
    """The commands of ours that stand in a page's sentences, `junkdna …` between backticks."""
    text = (ROOT / page).read_text(encoding="utf-8")
    text = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.M | re.S)
    return [
        " ".join(found.split()) for found in re.findall(r"(?<!`)`((?:junkdna|lm_eval) [^`]+)`(?!`)", text)
    ]
