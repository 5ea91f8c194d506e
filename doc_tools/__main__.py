"""Run the blocks of pages, and write anew what they show: `python -m doc_tools [PAGE…]`.

Without a page, all of them. CONTRIBUTING.md ("Documentation") says how blocks are marked.
"""

from __future__ import annotations

import argparse
import difflib
import json
import sys
import tempfile
import time
from pathlib import Path

from doc_tools import notebook, reference
from doc_tools.blocks import ROOT, SHOWN, Block, blocks_of, pages
from doc_tools.outputs import settled, shown
from doc_tools.session import Failed, Session
from doc_tools.shared import Shared

TIMES = Path(__file__).with_name("times.json")


def main() -> int:
    """0 where every page is as it was (or was written anew), 1 where one differs or fails."""
    parser = argparse.ArgumentParser(prog="python -m doc_tools", description=__doc__)
    parser.add_argument("pages", nargs="*", help="e.g. README.md docs/gate.md")
    parser.add_argument("--check", action="store_true", help="write nothing; say what differs")
    parser.add_argument(
        "--short", action="store_true", help="leave out blocks that are long, and what rests on them"
    )
    parser.add_argument(
        "--list", action="store_true", help="the pages, their blocks, and how long they took last"
    )
    parser.add_argument("--cache", type=Path, help="a folder that keeps what several pages look at")
    given = parser.parse_args()
    chosen = given.pages or [*pages(), reference.PAGE, notebook.PAGE]
    if given.list:
        return listed(chosen)
    with tempfile.TemporaryDirectory() as folder:
        shared = Shared(given.cache or Path(folder) / "shared")
        done = [one(page, shared, check=given.check, short=given.short) for page in chosen]
    return 0 if all(done) else 1


def one(page: str, shared: Shared, *, check: bool, short: bool) -> bool:
    """Bring one page up to date; whether that went well and, with `check`, nothing had to change."""
    began = time.perf_counter()
    path = ROOT / page
    before = path.read_text(encoding="utf-8")
    try:
        after = reference.text() if page == reference.PAGE else notebook.text() if page == notebook.PAGE else again(page, before, shared, short)  # fmt: skip
    except Failed as error:
        print(f"{page}: {error}", file=sys.stderr)
        return False
    seconds = time.perf_counter() - began
    same = before == after if page == reference.PAGE else settled(before) == settled(after)
    if not check:
        path.write_text(before if same else after, encoding="utf-8")
        if not short and seconds >= 1:
            remember(page, seconds)
    print(
        f"{page}: {'as it was' if same else 'differs' if check else 'written anew'} ({seconds:.0f} s)",
        flush=True,
    )
    if not same and page != notebook.PAGE:
        print("\n".join(difflib.unified_diff(settled(before), settled(after), "shown", "printed", "", "", 1)))
    return same or not check


def again(page: str, text: str, shared: Shared, short: bool) -> str:
    """The page with what its blocks print now."""
    lines = text.splitlines(keepends=True)
    found = blocks_of(page, text)
    new: list[tuple[Block, str]] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        Session(Path(folder) / "page", shared, testing=short) as session,
    ):
        for block in found:
            session.run(block)
            if (
                block.kind in SHOWN
                and "example" not in block.marks
                and session.printed is not None
                and session.itself
            ):
                new.append((block, shown(session.printed, block)))
    for block, body in reversed(new):
        first, last = block.lines
        indent = (
            lines[first - 1][: len(lines[first - 1]) - len(lines[first - 1].lstrip())]
            if block.kind == "text"
            else ""
        )
        lines[first:last] = [f"{indent}{line}".rstrip() + "\n" for line in body.splitlines()]
    return "".join(lines)


def remember(page: str, seconds: float) -> None:
    """Keep how long a page took."""
    times = json.loads(TIMES.read_text()) if TIMES.exists() else {}
    times[page] = {"seconds": round(seconds), "on": time.strftime("%Y-%m-%d")}
    TIMES.write_text(json.dumps(dict(sorted(times.items())), indent=1) + "\n")


def listed(chosen: list[str]) -> int:
    """Print a line for each page."""
    times = json.loads(TIMES.read_text()) if TIMES.exists() else {}
    for page in chosen:
        blocks = blocks_of(page) if page.endswith(".md") else []
        run = [block for block in blocks if block.kind in {"bash", "python"} and "not run" not in block.marks]
        long = sum("long" in block.marks or "uses" in block.marks for block in run)
        last = times.get(page)
        took = f"{last['seconds']} s on {last['on']}" if last else "no time yet"
        print(f"{page:40} {len(run):3} blocks run, {long:2} of them long; {took}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
