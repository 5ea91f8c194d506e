"""One process at a time trains into a folder: two would write into each other's checkpoints."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from junkdna_harness.held_folder import held

PATIENCE = 30.0  # seconds; the workers of a study that was killed live on for less than one


def is_first_process() -> bool:
    """True in the first of the processes that `accelerate launch` started, and where there is one only."""
    return int(os.environ.get("RANK", "0")) == 0


def beside(output: Path, mark: str) -> Path:
    """`.NAME.MARK` beside the folder that `output` leads to: a run that names it by a link finds the same."""
    place = Path(os.path.realpath(output))
    return place.with_name(f".{place.name}.{mark}")


@contextmanager
def alone(output: Path) -> Iterator[Callable[[], None]]:
    """Nothing else trains into `output` within the block; a run of several processes takes the lock once.

    What is given is to be called before anything is written: it raises a `UsageError` where another process has taken over.

    Raises:
        UsageError: another process still trains into it after `PATIENCE`, or its parent cannot be written.
    """
    if not is_first_process():
        yield lambda: None
        return
    busy = (
        f"another process is training into {str(output)!r}. Wait until it has ended, or name another folder."
    )
    with held(beside(output, "lock"), output, busy, PATIENCE) as lock:
        yield lock.check
