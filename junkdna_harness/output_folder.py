"""Output folders that appear whole or not at all, and what may be replaced: only what this package, or a library of models, wrote.

A folder is written as `.NAME.partial` beside it, synced, and moved. `.NAME.partial.lock` is held meanwhile, so that what a
process that ended left there can be told from what another one is writing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from difficulty.errors import UsageError
from difficulty.files import (
    cannot_write,
    folder_if_used,
    no_room,
    partial_name,
    real_path,
    sync_folder,
    sync_tree,
)
from difficulty.runs.checkpoint import MANIFEST
from junkdna_harness.held_folder import held
from junkdna_harness.lock import Lock
from junkdna_harness.resources import check_disk

Ours = Callable[[Path], bool]
SOURCE = "what is read"
LOCK = ".lock"


def is_checkpoint(folder: Path) -> bool:
    """True for a folder with `junkdna.json`, or with `config.json` and weights."""
    if (folder / MANIFEST).is_file():
        return True
    weights = ("*.safetensors", "*.bin", "*.gguf")
    return (folder / "config.json").is_file() and any(any(folder.glob(one)) for one in weights)


def check_output_folder(
    path: str | Path,
    force: bool = False,
    source: str | Path | None = None,
    need: int = 0,
    ours: Ours = is_checkpoint,
) -> None:
    """Refuse, before any work, a folder that could not be written after it. Nothing is left of the trial; a replacement that was cut
    off is undone, as the old folder may be what is to be read.

    `source` is what is read meanwhile (a folder, or else without meaning); `need` bytes are to be written; `ours` tells the
    folders that `force` may replace.

    Raises:
        UsageError: the folder is there and may not be replaced, cannot be made, or has not the room.
    """
    target = _target(path)
    if not os.path.lexists(target) and _aside(target).is_dir():
        try:
            with _alone(path, target):
                _put_back(target)
        except OSError as error:
            raise cannot_write(path, error) from error
    _refuse_taken(path, target, force, source, ours)
    try:
        with folder_if_used(target.parent):
            trial = target.with_name(partial_name(target.name, f".{os.getpid()}"))
            trial.mkdir()
            trial.rmdir()
            if need:
                check_disk(Path(path), need)
    except OSError as error:
        raise cannot_write(path, error) from error


@contextlib.contextmanager
def output_folder(
    path: str | Path, force: bool = False, source: str | Path | None = None, ours: Ours = is_checkpoint
) -> Iterator[Path]:
    """A folder to write to, which becomes `path` when the block ends well, and is removed when it does not.

    Where `path` is a link, the folder that it leads to is replaced, and the link stays.

    Raises:
        UsageError: as `check_output_folder`; or another process is writing the same folder.
        StorageError: the disk is full or fails. What was at `path` is as it was.
    """
    target = _target(path)
    temporary = target.with_name(partial_name(target.name))
    with contextlib.ExitStack() as stack:
        lock = stack.enter_context(_alone(path, target))
        try:
            _put_back(target)
            _refuse_taken(path, target, force, source, ours)
            _clear(temporary)
            temporary.mkdir()
            stack.callback(_clear_ours, lock, temporary)
        except OSError as error:
            raise cannot_write(path, error) from error
        try:
            yield temporary
        except Exception as error:
            if no_room(error):
                raise cannot_write(path, error) from error
            raise
        try:
            sync_tree(temporary)
            lock.check()
            _refuse_taken(path, target, force, source, ours)  # hours may have gone by
            _move(temporary, target)
        except OSError as error:
            raise cannot_write(path, error) from error


def _alone(path: str | Path, target: Path) -> contextlib.AbstractContextManager[Lock]:
    busy = f"another process is writing {str(path)!r}. Wait until it has ended, or name another folder."
    return held(target.with_name(partial_name(target.name, LOCK)), path, busy)


def _target(path: str | Path) -> Path:
    """The folder that `path` leads to.

    Raises:
        UsageError: it leads nowhere.
    """
    try:
        return real_path(path)
    except OSError as error:
        raise cannot_write(path, error) from error


def _refuse_taken(path: str | Path, target: Path, force: bool, source: str | Path | None, ours: Ours) -> None:
    """Refuse what is there and must stay."""
    if not os.path.lexists(target):
        return
    if not target.is_dir():
        what = "a file" if target.is_file() else "no folder"
        raise UsageError(f"{str(path)!r} is {what}. Name a folder that does not exist yet.")
    for place, name in _never(source).items():
        if target in place.parents or (target == place and name != SOURCE):
            verb = "is" if target == place else "contains"
            raise UsageError(
                f"{str(path)!r} {verb} {name}, and cannot be replaced. Name a folder that does not exist yet."
            )
    if target.is_mount():
        raise UsageError(
            f"{str(path)!r} is where a disk is mounted, and cannot be replaced. Name a folder in it."
        )
    entry = next(target.iterdir(), None)
    if entry is None:
        return
    if not force:
        raise UsageError(
            f"{str(path)!r} exists and is not empty. Name another folder, or pass --force to replace it."
        )
    if not ours(target):
        raise UsageError(
            f"{str(path)!r} was not written by this command (it holds {entry.name!r}), so --force does not replace it. Name another "
            "folder, or remove it yourself."
        )


def _never(source: str | Path | None) -> dict[Path, str]:
    """Places that go down with no folder. The source itself may be written over, for it has been read by then."""
    places = {}
    if source is not None and Path(source).exists():
        places[Path(source).resolve()] = SOURCE
    with contextlib.suppress(RuntimeError):  # there is none
        places[Path.home().resolve()] = "your home folder"
    with contextlib.suppress(OSError):  # it has been removed
        places[Path.cwd()] = "the current folder"
    return places


def _aside(target: Path) -> Path:
    return target.with_name(partial_name(target.name, ".replaced"))


def _put_back(target: Path) -> None:
    """Undo a replacement that was cut off between its two moves; clear one that was cut off after them."""
    aside = _aside(target)
    if os.path.lexists(target):
        _clear(aside)
    elif aside.is_dir():
        os.replace(aside, target)


def _move(new: Path, target: Path) -> None:
    """Move `new` to `target`; a folder that stood there is kept aside until the move has happened."""
    aside = _aside(target)
    if target.is_dir() and not any(target.iterdir()):
        target.rmdir()
    if target.exists():
        _clear(aside)
        os.replace(target, aside)
        try:
            os.replace(new, target)
        except OSError:
            os.replace(aside, target)
            raise
        sync_folder(target.parent)
        _clear(aside)
    else:
        os.replace(new, target)
        sync_folder(target.parent)


def _clear_ours(held: Lock, folder: Path) -> None:
    """Remove our partial folder; where another process has taken over, what is there is its own."""
    with contextlib.suppress(UsageError):
        held.check()
        _clear(folder)


def _clear(folder: Path) -> None:
    """Remove a partial folder; a link or a file of that name is removed itself, never what it leads to."""
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder, ignore_errors=True)
