"""Files that are either whole or absent: written under a temporary name, then moved."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from difficulty.errors import UsageError


def write_atomic(path: str | Path, content: str | bytes) -> None:
    """Write `content` to `path` so that a reader sees the old file or the new one, never a part.

    Raises:
        UsageError: the folder cannot be written to.
    """
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(data)
        Path(temporary).chmod(0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise UsageError(
            f"cannot write {str(path)!r}: {error.strerror or error}. Choose a writable place."
        ) from error


@contextlib.contextmanager
def atomic_dir(path: str | Path, force: bool = False) -> Iterator[Path]:
    """A temporary folder that becomes `path` when the block ends well, and is removed when it does not.

    Raises:
        UsageError: `path` exists and is not empty, and `force` is not set; or it cannot be written.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise UsageError(f"{str(path)!r} is a file. Name a folder that does not exist yet.")
    if path.is_dir() and any(path.iterdir()) and not force:
        raise UsageError(
            f"{str(path)!r} exists and is not empty. Name another folder, or pass --force to replace it."
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial"))
    except OSError as error:
        raise UsageError(
            f"cannot write {str(path)!r}: {error.strerror or error}. Choose a writable place."
        ) from error
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        _replace_dir(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _replace_dir(new: Path, target: Path) -> None:
    """Move `new` to `target`; a folder that stood there is kept aside until the move has happened."""
    if not target.exists():
        os.replace(new, target)
        return
    aside = target.with_name(f".{target.name}.replaced.partial")
    shutil.rmtree(aside, ignore_errors=True)
    os.replace(target, aside)
    os.replace(new, target)
    shutil.rmtree(aside, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
