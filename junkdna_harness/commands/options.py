"""Options that several commands share, so that they mean and say the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from junkdna_harness.tracking import Wandb

LABEL = typer.Option(
    "--label",
    help="Which run a log is of, where nothing says so: 'FOLDER=wanda 0.5', 'FOLDER=rtn 4 bits', 'FOLDER=dense'.",
)
ALLOW_DIFFERENT_PROMPTS = typer.Option(
    "--allow-different-prompts",
    help="Go on where the runs were asked different prompts (shots, chat template, system prompt, task version).",
)
PANEL_WANDB = "Weights & Biases"
WandbArgs = Annotated[
    str | None,
    typer.Option(
        "--wandb-args",
        metavar="NAME=VALUE,...",
        help="Log there, too: arguments of wandb.init as in lm_eval, e.g. project=compression,name=first.",
        rich_help_panel=PANEL_WANDB,
    ),
]
WandbConfigArgs = Annotated[
    str | None,
    typer.Option(
        "--wandb-config-args",
        metavar="NAME=VALUE,...",
        help="What is added to the config of what is logged, as in lm_eval.",
        rich_help_panel=PANEL_WANDB,
    ),
]


def wandb_of(wandb_args: str | None, wandb_config_args: str | None) -> Wandb | None:
    """Where to log, looked at before any work; None where it was not asked for.

    Raises:
        UsageError: wandb is not installed, nobody is logged in, or an argument cannot be used.
    """
    if wandb_args is None and wandb_config_args is None:
        return None
    from junkdna_harness.tracking import read_wandb

    return read_wandb(wandb_args, wandb_config_args)
