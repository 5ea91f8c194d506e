"""`junkdna --version`: what is installed, from the packages' own records, so that none of them is loaded."""

from __future__ import annotations

import typer

from junkdna_harness.presentation.console import say

SHOWN = ("junkdna-harness", "lm-eval", "torch", "transformers")


def print_versions(asked: bool) -> None:
    """Print the versions and end, where that was asked for."""
    if not asked:
        return
    from importlib.metadata import PackageNotFoundError, version

    for name in SHOWN:
        try:
            found = version(name)
        except PackageNotFoundError:
            found = "not installed"
        say(f"{name} {found}")
    raise typer.Exit
