"""A folder, or a file, that one process at a time writes, and of which nothing is left where nothing was written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from difficulty.files import cannot_write, folder_if_used
from junkdna_harness.lock import Lock, locked

LOCK = "lock"


def held_folder(folder: Path, busy: str) -> AbstractContextManager[Lock]:
    """Hold `folder`, which is made where it is missing, by a file in it. If nothing was put into it meanwhile, as what was asked for
    was refused, it is as before: neither the file nor a folder that was made stays.

    Raises:
        UsageError: `busy`, where another process holds it; or it cannot be written.
    """
    return held(folder / LOCK, folder, busy)


@contextmanager
def held(lock_file: Path, named: str | Path, busy: str, patience: float = 0.0) -> Iterator[Lock]:
    """Hold `lock_file`; folders above it that had to be made are gone afterwards where nothing was put into them. `named`: what of
    the user's it is for, in a sentence.

    Raises:
        UsageError: `busy`, where another process still holds it after `patience` seconds; or it cannot be written.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(folder_if_used(lock_file.parent))
            lock = stack.enter_context(locked(lock_file, busy, patience))
        except OSError as error:
            raise cannot_write(named, error) from error
        yield lock
