"""One process at a time: a lock file that is held as long as the process that made it lives, however it ends.

Two things hold it, for neither is enough alone:

- **A lease.** The file is made with O_EXCL, which is atomic on local disks and on NFS from version 3 on, and holds who made it and
  a random token. The holder touches it every `BEAT` seconds. Who has not done so for `STALE` seconds counts as dead. Both times are
  the file server's: the age of the lease is taken from another file that is touched in the same folder, so clocks of machines
  do not matter.
- **A record lock** of the system on that file, where the file system has locks. It says at once, without waiting for `STALE`
  seconds, that a holder on this machine has been killed, or that one which is stopped is not dead. It says nothing about other
  machines, for many network folders grant every machine its own locks. It is never inherited by worker processes.

A dead holder's file is removed by one process only: by the one which holds the claim, a lease of its own whose name
has the dead one's token in it, and which finds, holding it, that the file is still that one and still dead. A holder's own release
goes the same way, and so does a holder that was stopped for long before it goes on. So nothing removes a file that it has not
looked at, and a claim whose maker died is removed as any other lease.

Who was stopped (SIGSTOP, a suspended machine, a cut network) for longer than `STALE` seconds may have lost its lease to another.
It sees that in `Lock.check`, which is called before every write: its file is gone, or another. What no lock without the file server's
help can rule out is a process that is stopped between that check and the write for `STALE` seconds. What is
written under the lock must stand that: whole files moved into place, and a manifest with hashes written last (see `sweep.store`).

The system drops a record lock as soon as the process closes *any* handle of the file. So a path that is held here already is
refused before the file is opened a second time, and a holder looks at its file through the handle that it has.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import random
import re
import secrets
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from difficulty.errors import UsageError
from difficulty.files import partial_name

POLL = 0.05  # seconds before a second try; later ones wait longer
LONGEST_POLL = 1.0
BEAT = 15.0  # seconds between two signs of life
STALE = 120.0  # seconds without one after which a holder counts as dead; far above what NFS clients keep attributes for (60)
RACE = 0.3  # seconds in which one who asks may be in the way of another who asks

_OLD_RECORD = re.compile(
    rb"\d+\s*"
)  # older versions wrote the number of the process alone, and held a record lock
_HELD = (errno.EACCES, errno.EAGAIN)
_held: set[Path] = set()
_guard = threading.Lock()


class Lock:
    """A lock file that this process has made. `check` says whether it is still held."""

    def __init__(self, path: Path, descriptor: int, token: str) -> None:
        self.path, self.token = path, token
        self._descriptor, self._process = descriptor, os.getpid()
        self._beaten, self._lost = _clock(), False
        self._busy, self._ended = threading.Lock(), threading.Event()

    def check(self) -> None:
        """To be called before every write that the lock is for.

        Raises:
            UsageError: another process has taken the lock over, its file is gone, or the folder does not answer.
        """
        try:
            held = self._beat()
        except OSError as error:
            raise UsageError(
                f"the lock {str(self.path)!r} cannot be looked at: {error.strerror or error}. Nothing more is written; start the same "
                "command again when the folder can be reached."
            ) from error
        if not held:
            raise UsageError(
                f"the lock {str(self.path)!r} is no longer held by this process: it was stopped or cut off for longer than "
                f"{STALE:.0f} s and another process took over, or somebody removed the file. Nothing more is written; start "
                "the same command again."
            )

    def start(self) -> None:
        """Give a sign of life every `BEAT` seconds."""
        threading.Thread(target=self._live, daemon=True, name="lock").start()

    def release(self) -> None:
        """Let go of it; the file is gone afterwards, where it is still ours."""
        if os.getpid() != self._process:
            return  # a forked worker: the file is not its own, and our locks may have been held when it was forked
        self._ended.set()
        with self._busy:
            with suppress(OSError):  # then it ends by itself after STALE seconds
                if not self._lost:
                    claim = _take(_claim_path(self.path, self.token))
                    if claim is not None:
                        with claim.claimed():
                            self.remove()
            self._close()

    def remove(self) -> None:
        """Remove the file where it is ours, and close it."""
        if self._is_there():
            if os.name == "nt":  # removes no file that is open
                self._close()
            self.path.unlink()
        self._close()

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """A block after which a claim is removed."""
        try:
            yield
        finally:
            with suppress(OSError):
                self.remove()
            self._close()

    def _live(self) -> None:
        while not self._ended.wait(BEAT):
            with suppress(OSError):  # an outage; check() tells of it, if it lasts
                if not self._beat():
                    return

    def _beat(self) -> bool:
        """Give a sign of life; False where it is no longer ours."""
        with self._busy:
            if self._lost or self._descriptor < 0:
                return False
            if _clock() - self._beaten <= STALE / 2:
                self._lost = not self._touch()
            else:  # another may be about to remove it
                claim = _take(_claim_path(self.path, self.token))
                if claim is None:
                    self._lost = True
                else:
                    with claim.claimed():
                        self._lost = not self._touch()
            return not self._lost

    def _touch(self) -> bool:
        """Set the file's time to now, by the file server's clock; False where it is not there any more.

        This asks the server, so that what is looked at next is not what was known before.
        """
        try:
            now = _clock()
            os.utime(self._descriptor if os.utime in os.supports_fd else self.path)
        except OSError as error:
            if error.errno in (errno.ESTALE, errno.ENOENT):  # NFS: removed by another machine
                return False
            raise
        if not self._is_there():
            return False
        self._beaten = now
        return True

    def _is_there(self) -> bool:
        if self._descriptor < 0:
            return False
        try:
            ours = os.fstat(self._descriptor)
            return ours.st_nlink > 0 and os.path.samestat(ours, self.path.stat())
        except OSError as error:
            if error.errno in (errno.ESTALE, errno.ENOENT):
                return False
            raise

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with suppress(OSError):
                os.close(descriptor)


@contextmanager
def locked(path: Path, busy: str, patience: float = 0.0) -> Iterator[Lock]:
    """Hold the file `path`, which is gone afterwards. Call `check` of what is given before every write within the block.

    `busy` is the sentence for the user where another process, or another thread of this one, still holds it after
    `patience` seconds; who it is is added.

    Raises:
        UsageError: `busy`.
        OSError: the file cannot be written.
    """
    path = Path(os.path.realpath(path.parent)) / path.name  # by another name it would not be known as held
    lock = _acquire(path, busy, time.monotonic() + max(patience, RACE))
    lock.start()
    try:
        yield lock
    finally:
        lock.release()
        with _guard:
            _held.discard(path)


def _acquire(path: Path, busy: str, deadline: float) -> Lock:
    pause = POLL
    while True:
        with _guard:
            mine = path not in _held
            if mine:
                _held.add(path)
        lock = None
        try:
            lock = _take(path) if mine else None
        finally:
            if lock is None and mine:
                with _guard:
                    _held.discard(path)
        if lock is not None:
            return lock
        if time.monotonic() >= deadline:
            raise UsageError(f"{busy}{_who(path) if mine else ''}")
        time.sleep(pause * random.uniform(0.5, 1.0))
        pause = min(2 * pause, LONGEST_POLL)


def _take(path: Path) -> Lock | None:
    """The lock, or None where another holds it, or was faster."""
    with suppress(FileExistsError):
        return _create(path)
    found = _look(path)
    if found is not None:
        if not found.gone:
            return None
        claim = _take(_claim_path(path, found.token))
        if claim is None:
            return None
        with claim.claimed():
            again = _look(path)
            if again is not None and again.gone and again.token == found.token:
                path.unlink()
    with suppress(FileExistsError):
        return _create(path)
    return None


def _create(path: Path) -> Lock:
    """The lock file, made by this process.

    Raises:
        FileExistsError: it is there.
        OSError: it cannot be written.
    """
    token = secrets.token_hex(8)
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0), 0o666)
    lock = Lock(path, descriptor, token)
    try:
        # Before the record is there, so that nobody tries for the record lock before we have it.
        has_record_lock = _record_lock(descriptor) is True
        record = {
            "token": token, "machine": _machine(descriptor), "host": platform.node(), "pid": os.getpid(),
            "record_lock": has_record_lock,
        }  # fmt: skip
        os.write(
            descriptor, json.dumps(record).encode() + b"\n"
        )  # not synced: after a power cut nobody holds it
    except BaseException:
        with suppress(OSError):
            lock.remove()
        raise
    return lock


@dataclass(frozen=True)
class _Found:
    """A lock file of another, whether its maker is gone, and who that is."""

    token: str
    gone: bool
    host: str
    pid: int | None
    silent: float  # seconds since its last sign of life


def _look(path: Path) -> _Found | None:
    """The lock file that is there; None where there is none.

    Raises:
        OSError: it cannot be opened for writing.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        return None
    try:
        text, facts = os.read(descriptor, 4096), os.fstat(descriptor)
        record = _parsed(text)
        old = _OLD_RECORD.fullmatch(text) is not None
        silent = _now(path.parent) - facts.st_mtime
        gone = (
            abs(silent) > STALE
        )  # a time far ahead is no sign of life either: the server's clock was set back
        if old or record.get("record_lock"):
            granted = _record_lock(descriptor)
            here = old or record.get("machine") == _machine(descriptor)
            gone = granted is not False and (gone or (here and granted is True))
        token = record.get("token") or f"{facts.st_ino:x}-{facts.st_mtime_ns:x}"
        pid = int(text) if old else record.get("pid")
        return _Found(str(token), gone, str(record.get("host") or "an unknown machine"), pid, silent)
    finally:
        os.close(descriptor)


def _parsed(text: bytes) -> dict[str, Any]:
    """The record in a lock file; empty where it is not written yet, or of an older version."""
    with suppress(ValueError):
        record = json.loads(text)
        if isinstance(record, dict) and re.fullmatch(r"[0-9a-f]{1,64}", str(record.get("token"))):
            return record
    return {}


def _who(path: Path) -> str:
    """A sentence on who holds a lock; empty where that cannot be found out."""
    with suppress(OSError):
        found = _look(path)
        if found is not None and found.pid is not None:
            return (
                f" It is process {found.pid} on {found.host!r}, seen {max(found.silent, 0):.0f} s ago; where nothing else tells, it counts "
                f"as dead after {STALE:.0f} s without a sign of life."
            )
    return ""


def _claim_path(path: Path, token: str) -> Path:
    """Where who removes the lock file with this token stands; such names are cleared as all left-over files are."""
    return path.with_name(partial_name(path.name.lstrip("."), f".{token}"))


def _record_lock(descriptor: int) -> bool | None:
    """Take the record lock: True where it is ours now, False where another has it, None where the file system has none."""
    try:
        import fcntl

        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:  # Windows
        import msvcrt

        try:
            os.lseek(descriptor, 1 << 20, os.SEEK_SET)  # what is locked there nobody can read
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError:
            return False
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
    except OSError as error:
        return False if error.errno in _HELD else None
    return True


def _now(folder: Path) -> float:
    """The time by the clock of the server that holds the folder."""
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=".now.", suffix=".partial")
    try:
        os.utime(descriptor if os.utime in os.supports_fd else name)
        return os.fstat(descriptor).st_mtime
    finally:
        os.close(descriptor)
        with suppress(OSError):
            Path(name).unlink()


def _clock() -> float:
    """Seconds that go on while the machine is suspended, where the system has such a clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def _machine(descriptor: int) -> str:
    """Where record locks of this process reach: this start of this machine, and this mount of the folder."""
    return f"{_boot()}:{os.fstat(descriptor).st_dev:x}"


@cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return f"{platform.node()}-{uuid.getnode():x}"
