"""The fenced blocks of a page, in order, with the marks that stand in a comment right before each.

    <!-- not run: it needs a model of the hub -->
    ```bash
    junkdna prune org/model --sparsity 0.5 --output pruned
    ```

CONTRIBUTING.md ("Documentation") says what each mark means. Of the libraries that run blocks of Markdown (mktestdocs, pytest-codeblocks, cogapp)
none keeps a shell over a page, writes outputs anew, or holds outputs that were cut; so the running is ours, and the reading markdown-it's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[1]
MARKS = {
    "not run",
    "long",
    "run",
    "in tests",
    "makes",
    "uses",
    "keeps",
    "cut",
    "may differ",
    "example",
    "wide",
    "plan of",
    "output",
    "end",
}
KINDS = {"bash", "python", "yaml", "json", "text"}
SHOWN = {"text", "output"}  # what was printed: a block, or Markdown between <!-- output --> and <!-- end -->
WRITTEN = {"docs/reference/cli.md", "docs/licences.md"}  # whole pages that a command writes
_COMMENT = re.compile(r"<!--(.*?)-->", re.S)
_MARK = re.compile(r"\s*([a-z ]+?)\s*(?::\s*(.*?))?\s*")


class Malformed(ValueError):
    """A page whose marks or blocks mean nothing."""


@dataclass(frozen=True)
class Block:
    """One block. `lines` are those of its body in the file, counted from 0, the last one excluded."""

    page: str
    kind: str
    body: str
    lines: tuple[int, int]
    marks: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.page}:{self.lines[0]}"


def pages() -> list[str]:
    """Every page whose blocks are looked after, README first."""
    found = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")}
    return ["README.md", "CONTRIBUTING.md", *sorted(found - WRITTEN)]


def blocks_of(page: str, text: str | None = None) -> list[Block]:
    """The blocks of a page, named by its path in the repository."""
    text = (ROOT / page).read_text(encoding="utf-8") if text is None else text
    found, marks = [], dict[str, str]()
    opened: tuple[int, dict[str, str]] | None = None
    for token in MarkdownIt("commonmark").parse(text):
        first, last = token.map or (0, 0)
        if token.type == "html_block":
            marks |= dict(_marks(token, page))
            if "output" in marks:
                opened, marks = (last, marks), {}
            if "end" in marks and opened is not None:
                body = "".join(text.splitlines(keepends=True)[opened[0] : first])
                found.append(Block(page, "output", body, (opened[0], first), opened[1]))
                opened, marks = None, {}
        elif token.type == "fence":
            found.append(Block(page, token.info.strip(), token.content, (first + 1, last - 1), marks))
            marks = {}
        elif marks and token.nesting >= 0 and opened is None:
            raise Malformed(f"{page}:{first}: {', '.join(marks)} stands before no block")
    if opened is not None:
        raise Malformed(f"{page}:{opened[0]}: <!-- output --> has no <!-- end -->")
    return found


def _marks(token: Token, page: str) -> Iterator[tuple[str, str]]:
    """The marks in comments, each a line and the indented ones after it; a comment that begins otherwise is nobody's business."""
    for comment in _COMMENT.findall(token.content):
        found = dict[str, str]()
        last = ""
        for line in comment.strip().splitlines():
            match = _MARK.fullmatch(line)
            if match and match[1] in MARKS:
                last = match[1]
                found[last] = match[2] or ""
            elif last and line.startswith("  "):
                found[last] += f"\n{line.strip()}"
            elif found:
                raise Malformed(f"{page}:{(token.map or [0])[0] + 1}: no mark is called {line.strip()!r}")
            else:
                break
        yield from found.items()
