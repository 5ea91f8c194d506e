"""The `junkdna` command: every verb is a file of `junkdna_harness.commands`."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from difficulty.errors import UsageError
from difficulty.visible import visible
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
from junkdna_harness.commands.tiers import tiers_app
from junkdna_harness.presentation.console import say


class Verbs(TyperGroup):
    """Verbs of two words are looked for first: `sweep export` is beside `sweep`, which takes the name of a plan."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The verb that the arguments begin with, and the arguments that are left."""
        both = " ".join(args[:2])
        if both in self.commands:
            return both, self.commands[both], args[2:]
        return super().resolve_command(ctx, args)

    def make_context(self, *args: Any, **extra: Any) -> Any:
        """The context of a call."""
        with _mistakes_shown():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Run the verb."""
        with _mistakes_shown():
            return super().invoke(ctx)


@contextmanager
def _mistakes_shown() -> Iterator[None]:
    """What typer says of a wrong option quotes what was given, which may be the name of a file that another made."""
    try:
        yield
    except Exception as error:
        if hasattr(error, "format_message") and isinstance(getattr(error, "message", None), str):
            error.message = visible(error.message)  # type: ignore[attr-defined]
        raise


app = typer.Typer(
    cls=Verbs,
    name="junkdna",
    help="What did compression cost a language model, and on which tasks?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for verb in (
    prune,
    quantize,
    inspect,
    sweep,
    fidelity,
    show,
    compare,
    table,
    label,
    fit,
    report,
    check,
    power,
    gate,
    recover,
    study,
    doctor,
):
    app.command()(verb)
app.command("sweep export")(sweep_export)
app.add_typer(tiers_app)
app.command("tasks-dir")(tasks_dir)
app.command(
    "lm-eval",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)(lm_eval)


def main() -> None:
    """Run the command; a user's mistake ends it with one sentence on stderr and exit code 2, a full disk with 74."""
    try:
        app()
    except UsageError as error:
        say(f"junkdna: {error}", stderr=True)
        _leave(error.exit_code)
    except SystemExit as error:
        if not isinstance(error.code, int | None):
            raise
        _leave(error.code or 0)


def _leave(code: int) -> NoReturn:
    """End the process without taking its modules apart, which takes two seconds once torch is loaded."""
    atexit._run_exitfuncs()
    with suppress(OSError):  # the reader of a pipe may have left
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
