"""`junkdna lm-eval …`: lm_eval with our models and tasks, for those who turn the autoload off."""

from __future__ import annotations

import sys

import typer


def lm_eval(context: typer.Context) -> None:
    """Run lm_eval, with all of its own options, with our models and tasks known to it."""
    from junkdna_harness.autoload import install

    install()
    from lm_eval.__main__ import cli_evaluate

    sys.argv = ["lm_eval", *context.args]
    cli_evaluate()
