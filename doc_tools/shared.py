"""Folders that several pages look at (`makes: runs/embedded` on one, `uses: runs/embedded` on others), made once."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

from doc_tools.blocks import Block, Malformed, blocks_of, pages
from junkdna_harness.lock import locked


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

    def keep(self, name: str, home: Path, *, testing: bool) -> None:
        """Remember what a block of a page has just made."""
        place = self._place(name, testing)
        if not place.exists():
            shutil.copytree(home / name, place.with_suffix(".partial"))
            place.with_suffix(".partial").rename(place)

    def give(self, name: str, home: Path, *, testing: bool) -> None:
        """The folder `name`, in a page's own; made first where nobody has."""
        from doc_tools.session import Session  # a session may want a folder that a session makes

        if name not in makers():
            raise Malformed(f"no block makes {name}")
        place = self._place(name, testing)
        with locked(self.folder / f"{place.name}.lock", f"{name} is still being made", patience=3600):
            if not place.exists():
                with Session(self.folder / f"{place.name}.making", self, testing=testing) as session:
                    session.run(makers()[name])
        if not (home / name).exists():
            shutil.copytree(place, home / name)

    def _place(self, name: str, testing: bool) -> Path:
        return self.folder / f"{'small' if testing else 'whole'}-{name.replace('/', '-')}"
