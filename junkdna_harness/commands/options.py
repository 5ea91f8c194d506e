"""Options that several commands share, so that they mean and say the same."""

from __future__ import annotations

import typer

LABEL = typer.Option(
    "--label",
    help="Which run a log is of, where nothing says so: 'FOLDER=wanda 0.5', 'FOLDER=rtn 4 bits', 'FOLDER=dense'.",
)
ALLOW_DIFFERENT_PROMPTS = typer.Option(
    "--allow-different-prompts",
    help="Go on where the runs were asked different prompts (shots, chat template, system prompt, task version).",
)
