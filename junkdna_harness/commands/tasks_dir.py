"""`junkdna tasks-dir`."""

from __future__ import annotations

from junkdna_harness.presentation.console import say


def tasks_dir() -> None:
    """Print the folder of the task YAMLs, for lm_eval's --include_path."""
    from junkdna_harness.autoload import tasks_dir as folder

    say(folder())
