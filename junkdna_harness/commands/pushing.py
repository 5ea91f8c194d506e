"""`--push-to-hub` of `junkdna prune`, `quantize` and `recover`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from difficulty.errors import UsageError
from junkdna_harness.presentation.console import say

if TYPE_CHECKING:
    from junkdna_harness.hub import Repository

PANEL_HUB = "Hugging Face Hub"

PushToHub = Annotated[
    str | None,
    typer.Option(
        "--push-to-hub",
        metavar="ORG/NAME",
        help="Upload the checkpoint to this repository; what it takes is looked at before anything is done.",
        rich_help_panel=PANEL_HUB,
    ),
]
Private = Annotated[
    bool | None,
    typer.Option(
        "--private/--public",
        help="Who may read a repository that is made: private where nothing is said.",
        rich_help_panel=PANEL_HUB,
    ),
]
PushBranch = Annotated[
    str | None,
    typer.Option(help="Upload to this branch, which is made where there is none.", rich_help_panel=PANEL_HUB),
]


def repository_of(
    push_to_hub: str | None, private: bool | None, push_branch: str | None, output: Path | None, dry_run: bool
) -> Repository | None:
    """Where the checkpoint is to go, after asking the Hub whether it may; None where it goes nowhere.

    Raises:
        UsageError: it may not, or there will be no checkpoint.
    """
    if push_to_hub is None:
        if private is not None or push_branch is not None:
            raise UsageError(
                "--private, --public and --push-branch are about --push-to-hub. Add --push-to-hub ORG/NAME."
            )
        return None
    if output is None:
        raise UsageError("--push-to-hub uploads the checkpoint, and none is written. Add --output DIR.")
    from junkdna_harness.hub import Repository, check

    repository = Repository(push_to_hub, private, push_branch)
    found = check(repository)
    if dry_run:
        say(f"checked: {found}")
    return repository


def push(output: Path, repository: Repository, message: str) -> None:
    """Upload the checkpoint in `output`, and say what was left out.

    Raises:
        PushError: it could not be done.
    """
    from junkdna_harness import hub
    from junkdna_harness.compress.checkpoint_files import parts_of

    ours, others = parts_of(output)
    address = hub.push(output, ours, repository, message)
    if others:
        say(f"note: no part of the checkpoint, so not uploaded: {', '.join(others)}", stderr=True)
    say(f"uploaded: {address}" + (f" (branch {repository.branch})" if repository.branch else ""))
