"""Folders that several pages look at (`makes: runs/embedded` on one, `uses: runs/embedded` on others), made once."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from doc_tools.blocks import Block, Malformed, blocks_of, pages
from junkdna_harness.lock import locked

if TYPE_CHECKING:
    from doc_tools.session import Session


@cache
def makers() -> dict[str, Block]:
    """Folder → the block that makes it."""
    found: dict[str, Block] = {}
    for page in pages():
        for block in blocks_of(page):
            if name := block.marks.get("makes"):
                if name in found:
                    raise Malformed(f"{block}: {found[name]} makes {name} too")
                found[name] = block
    return found


class Shared:
    """Where such folders are kept: for one call of the command or one session of tests, or for longer where somebody says so."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def made(self, name: str, session: Session) -> str | None:
        """What was printed when `name` was made, which is put into a page's folder now; None where nobody has made it."""
        place = self._place(name, session)
        if not place.exists():
            return None
        if not (session.home / name).exists():
            shutil.copytree(place / "folder", session.home / name)
        return (place / "printed").read_text(encoding="utf-8")

    def keep(self, name: str, session: Session) -> None:
        """Remember what a block of a page has just made."""
        place = self._place(name, session)
        partial = place.with_suffix(f".{os.getpid()}")
        shutil.copytree(session.home / name, partial / "folder")
        (partial / "printed").write_text(session.printed or "", encoding="utf-8")
        with suppress(OSError):  # another process was first
            partial.rename(place)
        shutil.rmtree(partial, ignore_errors=True)

    def give(self, name: str, session: Session) -> None:
        """Put the folder `name` into a page's own; it is made first where nobody has."""
        if name not in makers():
            raise Malformed(f"no block makes {name}")
        place = self._place(name, session)
        with locked(self.folder / f"{place.name}.lock", f"{name} is still being made", patience=3600):
            if not place.exists():
                with (
                    tempfile.TemporaryDirectory(dir=self.folder) as folder,
                    type(session)(
                        Path(folder), self, testing=session.testing, scripts=session.scripts
                    ) as maker,
                ):
                    maker.run(makers()[name])
        self.made(name, session)

    def _place(self, name: str, session: Session) -> Path:
        return self.folder / f"{'small' if session.testing else 'whole'}-{name.replace('/', '-')}"
