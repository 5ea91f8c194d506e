"""What a page shows of what was printed: cut as its mark says, compared, and written anew."""

from __future__ import annotations

import re
from collections.abc import Iterable

from doc_tools.blocks import Block, Malformed

GAP = "…"
_PIECE = re.compile(r"/(?P<first>.+?)/(?P<on>-(?:/(?P<last>.+?)/)?)?|(?P<from>\d+)(?P<to>-\d*)?")
# Of one run of the same command and another: times, dates, hashes.
_DIFFERS = [
    (re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d)?)?"), "DATE"),
    (re.compile(r"\b[0-9a-f]{12,}\b"), "HASH"),
    (re.compile(r"\b\d+:\d\d(:\d\d)?\b"), "TIME"),
    (re.compile(r"\b\d+(\.\d+)?( ?| to \d+(\.\d+)? )(s|ms|min|minutes?|seconds?|hours?|h)\b"), "TIME"),
    (re.compile(r"\b\d+(\.\d+)? (MB|GB|MiB|GiB)\b"), "SIZE"),
]


def shown(printed: str, block: Block) -> str:
    """The lines that the block shows of what was printed; a line with `…` stands for those that were cut."""
    lines = printed.strip("\n").splitlines()
    if "cut" not in block.marks:
        return "".join(f"{line}\n" for line in lines)
    kept = sorted({number for piece in _pieces(block) for number in _numbers(piece, lines, block)})
    text, before = [], -1
    for number in kept:
        if number > before + 1 and block.kind == "text":  # in a table such a line would be a row
            text.append(GAP)
        text.append(lines[number])
        before = number
    if before < len(lines) - 1 and block.kind == "text":
        text.append(GAP)
    return "".join(f"{line}\n" for line in text)


def _pieces(block: Block) -> list[re.Match[str]]:
    found = [_PIECE.fullmatch(piece.strip()) for piece in block.marks["cut"].split(";")]
    if None in found:
        raise Malformed(
            f"{block}: cut takes 3, 3-7, 3-, /words/, /words/- and /words/-/words/, with ; between them"
        )
    return [piece for piece in found if piece is not None]


def _numbers(piece: re.Match[str], lines: list[str], block: Block) -> Iterable[int]:
    """The lines that a piece of a cut keeps, counted from 0."""
    if piece["from"]:
        first = int(piece["from"]) - 1
        last = (
            first + 1 if piece["to"] is None else len(lines) if piece["to"] == "-" else int(piece["to"][1:])
        )
        return range(first, min(last, len(lines)))
    hits = [number for number, line in enumerate(lines) if re.search(piece["first"], line)]
    if not hits:
        raise Malformed(f"{block}: no line has /{piece['first']}/ in:\n" + "\n".join(lines))
    if not piece["on"]:
        return hits
    if piece["last"] is None:
        return range(hits[0], len(lines))
    ends = [number for number in range(hits[0] + 1, len(lines)) if re.search(piece["last"], lines[number])]
    if not ends:
        raise Malformed(f"{block}: no line after /{piece['first']}/ has /{piece['last']}/")
    return range(hits[0], ends[0] + 1)


def settled(text: str) -> list[str]:
    """Lines without what differs from run to run on one machine."""
    for pattern, word in _DIFFERS:
        text = pattern.sub(word, text)
    return [line.rstrip() for line in text.splitlines()]


def loose(line: str) -> str:
    """A line as another processor would print it too: its rounding may flip an item, and numbers may be wider or narrower."""
    return re.sub(r"[\s─━╌]+", " ", re.sub(r"\d[\d,.]*", "0", line)).strip()


def strangers(block: Block, printed: str) -> list[str]:
    """Lines that the block shows and that were not printed, whatever the digits."""
    told = {loose(line) for line in printed.splitlines()}
    may_differ = re.compile(block.marks["may differ"].strip("/") if "may differ" in block.marks else r"(?!)")
    lines = [line for line in block.body.splitlines() if line.strip() not in ("", GAP)]
    return [line for line in lines if not may_differ.search(line) and loose(line) not in told]
