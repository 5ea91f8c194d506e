"""A model of a disk: what was synced is there after a power cut, of all else any part may be.

`watched` notes every sync, move, new folder and removal below a folder. `cuts` then gives, for every moment between two of
them, folders as a machine may find them when it is started again. POSIX promises no more than this; see Pillai et al., "All
File Systems Are Not Created Equal" (OSDI 2014), whose tool enumerates such states in the same way.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

CALLS = ("fsync", "replace", "mkdir", "unlink", "rmdir")
# How much of what was not synced has reached the disk: nothing; all names and no content, which is the classic empty file under
# its final name; all names and half of the content; some names, drawn by lot.
KINDS = ("nothing", "names", "halves", "some")
Folder = dict[str, int]  # name -> inode


@dataclass
class Moment:
    """The disk between two calls: `synced` and `now` are folders (inode -> its names), `content` of files as synced, `live` as it is."""

    synced: dict[int, Folder]
    now: dict[int, Folder]
    content: dict[int, bytes]
    live: dict[int, bytes]
    mark: int


@dataclass
class Disk:
    """What was noted below `root`. `mark` is the caller's: how many results had been promised by then."""

    root: Path
    keep: Path  # a link to each file seen, so that no inode is given out twice
    moments: list[Moment] = field(default_factory=list)
    mark: int = 0
    _synced: dict[int, Folder] = field(default_factory=dict)
    _content: dict[int, bytes] = field(default_factory=dict)

    def sync(self, folder: Path) -> None:
        """Count `folder`, which was there before, as safe."""
        for place, _, names in os.walk(folder):
            self._synced[Path(place).stat().st_ino] = _listing(Path(place))
            for name in names:
                path = Path(place, name)
                self._content[path.stat().st_ino] = path.read_bytes()
                os.link(path, self.keep / str(path.stat().st_ino))

    def note(self, call: str, arguments: tuple[object, ...]) -> None:
        """Take a call that was made; only a sync changes what is safe."""
        if call == "fsync":
            path = Path(f"/proc/self/fd/{arguments[0]}").readlink()
            if path.is_dir():
                self._synced[path.stat().st_ino] = _listing(path)
            elif path.is_file():
                inode = path.stat().st_ino
                self._content[inode] = path.read_bytes()
                if not (self.keep / str(inode)).exists():
                    os.link(path, self.keep / str(inode))
        now, live = {}, {}
        for place, _, names in os.walk(self.root):
            now[Path(place).stat().st_ino] = _listing(Path(place))
            for name in names:
                path = Path(place, name)
                if not _is_lock(name):
                    live[path.stat().st_ino] = path.read_bytes()
        self.moments.append(Moment(dict(self._synced), now, dict(self._content), live, self.mark))

    def cuts(self, target: Path, seed: int = 0) -> Iterator[tuple[int, str, int]]:
        """Fill `target` anew with each state that a cut may leave; yields the moment's number, the kind, and the mark."""
        lot = random.Random(seed)
        inode = self.root.stat().st_ino
        for number, moment in enumerate(self.moments):
            for kind in KINDS:
                _empty(target)
                _lay_out(moment, inode, target, kind, lot)
                yield number, kind, moment.mark


@contextmanager
def watched(root: Path, keep: Path, patch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """Note what is done below `root`, which is there and synced, until the block ends."""
    keep.mkdir()
    disk = Disk(root, keep)
    disk._synced[root.stat().st_ino] = _listing(root)
    for call in CALLS:
        patch.setattr(os, call, _noting(call, getattr(os, call), disk))
    try:
        yield disk
    finally:
        patch.undo()


def _noting(call: str, real: Callable[..., object], disk: Disk) -> Callable[..., object]:
    def noting(*args: object, **kwargs: object) -> object:
        result = real(*args, **kwargs)
        path = Path(f"/proc/self/fd/{args[0]}").readlink() if call == "fsync" else Path(str(args[-1]))
        if path.is_relative_to(disk.root):
            disk.note(call, args)
        return result

    return noting


def _listing(folder: Path) -> Folder:
    return {entry.name: entry.inode() for entry in os.scandir(folder) if not _is_lock(entry.name)}


def _is_lock(name: str) -> bool:
    """Locks hold nothing that a power cut could spoil, and come and go so that their inodes would be taken for others."""
    return name == "lock" or ".lock" in name


def _empty(folder: Path) -> None:
    for place, folders, names in os.walk(folder, topdown=False):
        for name in names:
            Path(place, name).unlink()
        for name in folders:
            Path(place, name).rmdir()
    folder.mkdir(exist_ok=True)


def _lay_out(moment: Moment, inode: int, target: Path, kind: str, lot: random.Random) -> None:
    synced, now = moment.synced.get(inode, {}), moment.now.get(inode, moment.synced.get(inode, {}))
    if kind == "nothing":
        names = synced
    elif kind == "some":
        names = {
            name: chosen
            for name in sorted({*synced, *now})
            if (chosen := lot.choice((synced.get(name), now.get(name)))) is not None
        }
    else:
        names = now
    for name, child in names.items():
        path = target / name
        if child in moment.now or child in moment.synced:
            path.mkdir()
            _lay_out(moment, child, path, kind, lot)
        elif child in moment.content:
            path.write_bytes(moment.content[child])
        else:
            data = moment.live.get(child, b"")
            part = {"halves": len(data) // 2, "some": lot.randint(0, len(data))}.get(kind, 0)
            path.write_bytes(data[:part])
