"""Files that are either whole or absent, also after the power went: written under a temporary name, synced, then moved.

A rename is atomic, but it may reach the disk before what was written: then the machine comes back with an empty file under
the final name. So a file is synced before it is moved, and its folder after that (POSIX says no more of a rename than that
others see it; Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014).
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from difficulty.errors import StorageError, UsageError

PARTIAL = ".partial"
# Errors that say nothing of what was asked for: the disk is full, a quota or the largest size is reached, the device fails.
_STORAGE = frozenset(
    code
    for name in ("ENOSPC", "EDQUOT", "EIO", "EFBIG", "ESTALE", "ENOMEM")
    if (code := getattr(errno, name, None)) is not None
)
# Names of open files, which are written into as they are: after what was written there, and where `>>` appends.
_OPEN_FILES = re.compile(r"(?:/dev|/proc/self)/fd/(\d+)|/dev/std(?:out|err)")
_TRIES = 5  # to make a folder in one that another process, whose trial it was for, removes again
LONGEST_NAME = 255  # bytes, on all common file systems


def write_atomic(path: str | Path, content: str | bytes) -> None:
    """Write `content` to `path` so that a reader sees the old file or the new one, never a part, also after a power cut.

    A link stays, and the file that it leads to is replaced; a device or a pipe is written into. A file that is replaced keeps
    its permissions.

    Raises:
        UsageError: there is a folder of that name, or its folder cannot be written to.
        StorageError: the disk is full or fails. The old file is as it was, and nothing is left beside it.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        target = _target(path)
        if target is None or _is_device(target):
            _write_into(path, data)
            return
        make_folder(target.parent)
        _replace(target, data)
    except OSError as error:
        raise cannot_write(path, error) from error


def append_line(path: str | Path, line: str) -> bool:
    """Add a line to a file, which is made where it is missing, and wait until it is on the disk. What an earlier write left without an
    end keeps its line to itself; whether there was such a rest.

    Raises:
        OSError: it cannot be written, or the disk is full. The file is as it was.
    """
    path = Path(path)
    is_new = not path.exists()
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, 0o666)
    try:
        size = os.fstat(descriptor).st_size
        rest = False
        if size:
            os.lseek(descriptor, size - 1, os.SEEK_SET)
            rest = os.read(descriptor, 1) != b"\n"
        data = (b"\n" if rest else b"") + line.encode() + b"\n"
        try:
            _write_all(descriptor, data)
            sync_file(descriptor)
        except OSError:
            if os.fstat(descriptor).st_size <= size + len(data):  # nobody has added another line meanwhile
                os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)
    if is_new:
        sync_folder(path.parent)
    return rest


def check_writable(*paths: str | Path | None) -> None:
    """Refuse files that could not be written, before the work of which they are to hold the results. Nothing is left of the trial.

    None and "-", which stand for no file, are passed over.

    Raises:
        UsageError, StorageError: as `write_atomic`; or two of them are one file.
    """
    seen: dict[Path, str | Path] = {}
    for path in paths:
        if path is None or str(path) == "-":
            continue
        target = _try(path)
        if target is not None and target in seen:
            raise UsageError(
                f"{str(path)!r} is named for two outputs, and would hold the last alone. Name two files."
            )
        if target is not None:
            seen[target] = path


def _try(path: str | Path) -> Path | None:
    """The file that `path` leads to, after a trial; None for devices, pipes and open files."""
    try:
        target = _target(path)
        if target is None or _is_device(target):
            return None
        with folder_if_used(target.parent):
            _drop(*_open_partial(target))
        return target
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: str | Path, error: Exception) -> UsageError:
    """What to raise where writing to `path` gave `error`: a `StorageError` where the disk does not take it.

    An error of a library counts too: Rust's end with "(os error 28)".
    """
    code = _code(error)
    reason = getattr(error, "strerror", None) or (os.strerror(code) if code else str(error))
    if code in _STORAGE:
        return StorageError(
            f"cannot write {str(path)!r}: {reason}. Nothing half was left there; make room, and run the same command again."
        )
    if code == errno.ENAMETOOLONG:
        return UsageError(f"cannot write {str(path)!r}: its name is too long. Choose a shorter one.")
    return UsageError(f"cannot write {str(path)!r}: {reason}. Choose a writable place.")


def no_room(error: Exception) -> bool:
    """True where `error` says that a disk is full, or a quota or the largest size of a file reached: reading never does."""
    return _code(error) in {getattr(errno, name, None) for name in ("ENOSPC", "EDQUOT", "EFBIG")} - {None}


def _code(error: Exception) -> int | None:
    told = re.search(r"\(os error (\d+)\)", str(error))
    return getattr(error, "errno", None) or (int(told[1]) if told else None)


def real_path(path: str | Path) -> Path:
    """Where `path` leads to, through all links, whether something is there or not.

    Raises:
        OSError: it leads nowhere: a name that is too long, a loop of links, a file where a folder should be.
    """
    try:
        target = Path(os.path.realpath(path))
        with contextlib.suppress(FileNotFoundError):
            target.lstat()
    except ValueError as error:  # a zero byte, or what is no text
        raise OSError(errno.EINVAL, "no file can have this name") from error
    return target


def make_folder(path: Path) -> list[Path]:
    """Make `path` and what is missing above it, so that it is still there after a power cut; the folders that were made, the lowest last.

    Raises:
        OSError: one of them cannot be made.
    """
    for _ in range(_TRIES):
        with contextlib.suppress(FileNotFoundError):
            return _make_folder(path)
    return _make_folder(path)


def _make_folder(path: Path) -> list[Path]:
    missing = []
    place = path
    while not place.is_dir():
        missing.append(place)
        if place == place.parent:
            break
        place = place.parent
    made: list[Path] = []
    try:
        for folder in reversed(missing):
            try:
                folder.mkdir()
            except FileExistsError:
                if not folder.is_dir():
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from None
                continue
            made.append(folder)
            sync_folder(folder.parent)
    except OSError:
        _remove_unused(made)
        raise
    return made


def _remove_unused(made: list[Path]) -> None:
    for folder in reversed(made):
        with contextlib.suppress(OSError):  # something is in it
            folder.rmdir()


@contextlib.contextmanager
def folder_if_used(path: Path) -> Iterator[None]:
    """`path` is a folder within the block; what of it was made for that is gone afterwards where nothing was put into it.

    Raises:
        OSError: it cannot be made.
    """
    made = make_folder(path)
    try:
        yield
    finally:
        _remove_unused(made)


def sync_file(descriptor: int) -> None:
    """Wait until what was written to an open file is on the disk, beyond the cache of the device where the system can ask for it.

    Raises:
        OSError: it could not be written.
    """
    if sys.platform == "darwin":  # its fsync stops at the cache of the device
        import fcntl

        with contextlib.suppress(OSError):  # a file system that knows no better
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
    os.fsync(descriptor)


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk. Where a system cannot sync folders (Windows, some network folders), nothing is done.

    Raises:
        OSError: the device fails.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno in _STORAGE:
            raise
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Sync every file and every folder below `folder`, and itself: what other libraries wrote there.

    Raises:
        OSError: something could not be written.
    """
    for place, _, names in os.walk(folder, topdown=False):
        for name in names:
            path = Path(place, name)
            if path.is_symlink() or not path.is_file():
                continue
            descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
            try:
                sync_file(descriptor)
            finally:
                os.close(descriptor)
        sync_folder(Path(place))


def partial_name(name: str, mark: str = "") -> str:
    """The name under which `name` is written first, short enough where `name` is as long as it may be."""
    end = f"{mark}{PARTIAL}"
    room = LONGEST_NAME - len(end) - 1
    return f".{name.encode()[:room].decode(errors='ignore')}{end}"


def _target(path: str | Path) -> Path | None:
    """The file that `path` leads to; None for a file that this process holds open."""
    if _OPEN_FILES.fullmatch(str(path)):
        return None
    return real_path(path)


def _is_device(path: Path) -> bool:
    """True for what is there and is no file: it is never replaced."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    return not stat.S_ISREG(mode)


def _write_into(path: str | Path, data: bytes) -> None:
    if found := _OPEN_FILES.fullmatch(str(path)):
        for stream in (sys.stdout, sys.stderr):  # what was printed before comes first
            with contextlib.suppress(ValueError):  # it is closed
                stream.flush()
        # Opened anew it would be written from its beginning, over what is there.
        descriptor = os.dup(int(found[1] or (1 if str(path).endswith("out") else 2)))
    else:
        descriptor = os.open(path, os.O_WRONLY)
    try:
        _write_all(descriptor, data)
    finally:
        os.close(descriptor)


def _replace(target: Path, data: bytes) -> None:
    descriptor, temporary = _open_partial(target)
    try:
        _write_all(descriptor, data)
        if target.exists():
            temporary.chmod(stat.S_IMODE(target.stat().st_mode))
        sync_file(descriptor)
        if os.name == "nt":  # moves no file that is open
            os.close(descriptor)
            descriptor = -1
        os.replace(temporary, target)
    except BaseException:
        _drop(descriptor, temporary)
        raise
    os.close(descriptor)  # where an open file can be moved, its lock is held until it is
    sync_folder(target.parent)


def _drop(descriptor: int, temporary: Path) -> None:
    """Remove a file of `_open_partial` while its lock is held: afterwards another process may be writing it."""
    if os.name == "nt" and descriptor >= 0:  # removes no file that is open
        os.close(descriptor)
        descriptor = -1
    try:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _open_partial(target: Path) -> tuple[int, Path]:
    """A file beside `target`, empty and open, that nobody else writes. One name serves all, so that what a killed process
    left is used up; while another process is at it, or where files cannot be locked, a name of our own."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    flags |= getattr(os, "O_BINARY", 0)
    common = target.with_name(partial_name(target.name))
    try:
        import fcntl

        made = not os.path.lexists(common)
        descriptor = os.open(common, flags, 0o666)
    except (ImportError, FileExistsError, PermissionError, IsADirectoryError):
        pass
    except OSError as error:
        if error.errno != errno.ELOOP:  # a link: somebody else's
            raise
    else:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            there = os.fstat(descriptor)
            if (
                os.path.samestat(there, common.stat())
                and there.st_uid == os.geteuid()
                and there.st_nlink == 1
            ):
                os.ftruncate(descriptor, 0)
                return descriptor, common
        except BlockingIOError:
            made = False  # by another, perhaps, who is writing it
        except OSError:
            pass  # no locks here, as on some network folders
        _close_unused(descriptor, common if made else None)
    own = target.with_name(partial_name(target.name, f".{secrets.token_hex(4)}"))
    return os.open(own, flags | os.O_EXCL, 0o666), own


def _close_unused(descriptor: int, made: Path | None) -> None:
    """Close a file that is not to be written, and remove it where we made it."""
    try:
        with contextlib.suppress(OSError):
            if made is not None and os.path.samestat(os.fstat(descriptor), made.lstat()):
                made.unlink()
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]
