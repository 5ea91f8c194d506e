"""What a page shows of what was printed: cut as its mark says, compared, and written anew."""

from __future__ import annotations

import re
from collections.abc import Iterable

from doc_tools.blocks import Block, Malformed

GAP = "…"
_END = r"(\d+|/(?:[^/])+/)"
_PIECE = re.compile(rf"{_END}(-(!)?{_END}?)?")
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
    while text and not text[-1]:
        del text[-1]
    if before < len(lines) - 1 and block.kind == "text":
        text.append(GAP)
    return "".join(f"{line}\n" for line in text)


def _pieces(block: Block) -> list[re.Match[str]]:
    found = [_PIECE.fullmatch(piece.strip()) for piece in block.marks["cut"].split(";")]
    if None in found:
        raise Malformed(
            f"{block}: a cut is of 3, 3-7, 3-, /words/, /words/-, /from/-/to/, /from/-!/before/, with ; between"
        )
    return [piece for piece in found if piece is not None]


def _numbers(piece: re.Match[str], lines: list[str], block: Block) -> Iterable[int]:
    """The lines that a piece of a cut keeps, counted from 0."""
    first, on, before, last = piece.groups()
    starts = _found(first, lines, 0, block)
    if not on:
        return starts
    if last is None:
        return range(starts[0], len(lines))
    end = _found(last, lines, starts[0] + 1, block)[0]
    return range(starts[0], end if before else end + 1)


def _found(place: str, lines: list[str], after: int, block: Block) -> list[int]:
    """The lines that a place names, from `after` on: a number, counted from 1, or words between slashes."""
    if place.isdigit():
        return [min(int(place), len(lines)) - 1]
    hits = [number for number in range(after, len(lines)) if re.search(place[1:-1], lines[number])]
    if not hits:
        raise Malformed(f"{block}: {place} is in no line, from line {after + 1} on, of:\n" + "\n".join(lines))
    return hits


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
