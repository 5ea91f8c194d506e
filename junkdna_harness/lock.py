"""One process at a time: a file that is locked as long as the process that holds it lives, however it ends.

A record lock is not inherited by worker processes, so it ends with the process that took it. It has one trap: the
system drops it as soon as the process closes *any* handle of the file. So a path that is held here already is refused
before the file is opened a second time.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from difficulty.errors import UsageError

POLL = 0.05  # seconds between two tries

_held: set[Path] = set()
_guard = threading.Lock()


@contextmanager
def locked(path: Path, busy: str, patience: float = 0.0, remove: bool = False) -> Iterator[None]:
    """Hold the file `path`, which is made where it is missing; with `remove` it is gone afterwards.

    `busy` is the sentence for the user where another process, or another thread of this one, still holds it after
    `patience` seconds.

    Raises:
        UsageError: `busy`.
        OSError: the file cannot be written.
    """
    path = path.absolute()
    handle = _acquire(path, busy, time.monotonic() + patience)
    try:
        yield
    finally:
        if remove:
            # Before it is let go: who waits for it sees that it is gone, and makes it anew.
            with suppress(OSError):  # Windows removes no file that is open
                path.unlink()
        handle.close()
        with _guard:
            _held.discard(path)


def _acquire(path: Path, busy: str, deadline: float) -> IO[str]:
    while True:
        with _guard:
            mine = path not in _held
            if mine:
                _held.add(path)
        handle = _take(path) if mine else None
        if handle is not None:
            return handle
        if time.monotonic() >= deadline:
            raise UsageError(busy)
        time.sleep(POLL)


def _take(path: Path) -> IO[str] | None:
    """The locked file, or None where another process holds it; `_held` is left as it must be."""
    handle: IO[str] | None = None
    try:
        opened = path.open("a")
        if _lock(opened) and _is_still_there(opened, path):
            opened.seek(0)
            opened.truncate()
            opened.write(f"{os.getpid()}\n")
            opened.flush()
            handle = opened
        else:
            opened.close()
        return handle
    finally:
        if handle is None:
            with _guard:
                _held.discard(path)


def _is_still_there(handle: IO[str], path: Path) -> bool:
    """False where the one who held it has removed the file between our opening and our locking it."""
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _lock(handle: Any) -> bool:
    try:
        import fcntl

        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:  # Windows
        import msvcrt

        try:
            msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError:
            return False
    except OSError:
        return False
    return True
