"""What `junkdna prune` and `junkdna quantize` share: a progress bar, and the check that comes first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from difficulty.errors import UsageError

Progress = Callable[[int, int, str], None]


@contextmanager
def progress_bar(what: str) -> Iterator[Progress]:
    """A bar on stderr that moves with each call (done, total, label)."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[label]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=1, label="")
        yield lambda done, total, label: bar.update(task, completed=done, total=total, label=label)


def check_output(output: Path | None, force: bool, needed: bool) -> None:
    """Refuse, before the work is done, an output that could not be written after it.

    Raises:
        UsageError: there is none, or it is a file or a folder that is not empty.
    """
    if output is None:
        if needed:
            raise UsageError("nothing would be kept. Give --output DIR, or --dry-run to see the cost alone.")
        return
    if output.is_file():
        raise UsageError(f"{str(output)!r} is a file. Name a folder that does not exist yet.")
    if output.is_dir() and any(output.iterdir()) and not force:
        raise UsageError(
            f"{str(output)!r} exists and is not empty. Name another folder, or pass --force to replace it."
        )
