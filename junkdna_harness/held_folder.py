"""A folder that one process at a time writes into, and of which nothing is left where nothing was written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from difficulty.files import cannot_write, make_folder
from junkdna_harness.lock import Lock, locked

LOCK = "lock"


@contextmanager
def held_folder(folder: Path, busy: str) -> Iterator[Lock]:
    """Hold `folder`, which is made where it is missing, by a file in it. If nothing was put into it meanwhile, as what was asked for
    was refused, it is as before: neither the file nor a folder that was made stays.

    Raises:
        UsageError: `busy`, where another process holds it; or it cannot be written.
    """
    made: list[Path] = []
    try:
        with ExitStack() as stack:
            try:
                made = make_folder(folder)
                lock = stack.enter_context(locked(folder / LOCK, busy))
            except OSError as error:
                raise cannot_write(folder, error) from error
            yield lock
    finally:
        for one in reversed(made):
            with suppress(OSError):  # something is in it
                one.rmdir()
