"""`junkdna lm-eval …`: lm_eval with our models and tasks, for those who turn the autoload off."""

from __future__ import annotations

import sys

import typer


def lm_eval(context: typer.Context) -> None:
    """Run lm_eval, all options its own, with our models and tasks."""
    from junkdna_harness.autoload import install

    install()
    from lm_eval.__main__ import cli_evaluate

    sys.argv = ["lm_eval", *context.args]
    cli_evaluate()
