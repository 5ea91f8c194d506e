"""The `junkdna` command: every verb is a file of `junkdna_harness.commands`."""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress
from typing import Annotated, Any, NoReturn

import typer

from difficulty.errors import UsageError
from junkdna_harness.commands.check import check
from junkdna_harness.commands.compare import compare
from junkdna_harness.commands.doctor import doctor
from junkdna_harness.commands.fidelity import fidelity
from junkdna_harness.commands.fit import fit
from junkdna_harness.commands.gate import gate
from junkdna_harness.commands.inspect import inspect
from junkdna_harness.commands.label import label
from junkdna_harness.commands.lm_eval import lm_eval
from junkdna_harness.commands.power import power
from junkdna_harness.commands.prune import prune
from junkdna_harness.commands.quantize import quantize
from junkdna_harness.commands.recover import recover
from junkdna_harness.commands.report import report
from junkdna_harness.commands.show import show
from junkdna_harness.commands.study import study
from junkdna_harness.commands.sweep import sweep
from junkdna_harness.commands.sweep_export import sweep_export
from junkdna_harness.commands.table import table
from junkdna_harness.commands.tasks_dir import tasks_dir
from junkdna_harness.commands.tiers import build
from junkdna_harness.commands.tiers import show as show_tiers
from junkdna_harness.commands.verb import (
    CONTEXT,
    Group,
    Plain,
    Verb,
    Verbs,
    WithSubcommands,
    kebab,
    with_page,
)
from junkdna_harness.commands.versions import print_versions
from junkdna_harness.presentation.console import say

app = typer.Typer(
    cls=Verbs,
    name="junkdna",
    help="What did compression cost a language model, and on which tasks?",
    no_args_is_help=True,
    context_settings=CONTEXT,
    pretty_exceptions_enable=False,
)


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the versions of this, lm-eval, torch and transformers.",
            callback=print_versions, is_eager=True,
        ),
    ] = False,
) -> None:  # fmt: skip
    """What did compression cost a language model, and on which tasks?"""


for verb in (
    prune, quantize, recover, inspect, fidelity, fit, compare, report, show, table, label, check, gate, power,
):  # fmt: skip
    app.command(verb.__name__, cls=with_page(Verb, verb.__name__))(verb)
for plain in (study, doctor):
    app.command(plain.__name__, cls=with_page(Plain, plain.__name__))(plain)
app.command("tasks-dir", cls=with_page(Plain, "tasks-dir"))(tasks_dir)
app.command(
    "lm-eval",
    cls=with_page(Plain, "lm-eval"),
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)(lm_eval)
sweep_app = typer.Typer(cls=with_page(WithSubcommands, "sweep"), name="sweep", invoke_without_command=True)
sweep_app.callback()(sweep)
sweep_app.command("export", cls=with_page(Plain, "sweep export"))(sweep_export)
app.add_typer(sweep_app, name="sweep")
tiers_app = typer.Typer(
    cls=with_page(Group, "tiers"),
    name="tiers",
    help="Split any lm-eval task into tiers of difficulty.",
    no_args_is_help=True,
)
tiers_app.command("build", cls=with_page(Verb, "tiers build"))(build)
tiers_app.command("show", cls=with_page(Plain, "tiers show"))(show_tiers)
app.add_typer(tiers_app, name="tiers")


def main() -> None:
    """Run the command; a user's mistake ends it with one sentence on stderr and exit code 2, a full disk with 74."""
    keep_alone(sys.argv[1:2], app)
    try:
        app(prog_name="junkdna")
    except UsageError as error:
        say(f"junkdna: {error}", stderr=True)
        _leave(error.exit_code)
    except SystemExit as error:
        if not isinstance(error.code, int | None):
            raise
        _leave(error.code or 0)


def keep_alone(words: list[str], verbs: typer.Typer) -> None:
    """Leave all verbs out but the one that is asked for: typer makes the options of every verb at each start, in a fifth of its time."""
    asked = [kebab(word) for word in words]
    known: list[Any] = [*verbs.registered_commands, *verbs.registered_groups]
    if any([one.name] == asked for one in known):
        verbs.registered_commands = [one for one in verbs.registered_commands if [one.name] == asked]
        verbs.registered_groups = [one for one in verbs.registered_groups if [one.name] == asked]


def _leave(code: int) -> NoReturn:
    """End the process without taking its modules apart, which takes two seconds once torch is loaded."""
    atexit._run_exitfuncs()
    with suppress(OSError):  # the reader of a pipe may have left
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
