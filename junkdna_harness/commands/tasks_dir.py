"""`junkdna tasks-dir`."""

from __future__ import annotations

from junkdna_harness.presentation.console import say


def tasks_dir() -> None:
    """Print the folder of our task files."""
    from junkdna_harness.autoload import tasks_dir as folder

    say(folder())
