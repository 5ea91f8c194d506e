"""Rows of tokens side by side in one line of a pass, each seeing itself alone, and their options beside them.

A question of 30 tokens and its options' few make small matrix products, and a batch of unequal ones is padded. Packed, a
line holds several questions, each followed by its options; a mask lets every token see its own option, question and header
and nothing else, and positions count as if it stood alone. The lines of a pass may continue different headers.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from junkdna_harness.models.prefix_plan import Batch, Row, Tokens, group_by_header, slots_of

# Lines are filled up to this where no row is longer: 8 of them make products as wide as they need to be.
LINE_TOKENS = 128
# In a longer line the masked attention, which computes every pair of tokens, costs more than packing saves.
MOST_LINE_TOKENS = 256
# What a pass more costs beside its tokens, in tokens.
PASS_TOKENS = 64
# Batches of more rows than this are wide enough as they are.
MOST_ROWS = 32
# A header costs no pass of its own: those of a batch run together. Two rows are enough to save one.
MIN_HEADER_ROWS = 2


@dataclass(frozen=True)
class Line:
    """Rows that stand side by side; `parent` is the header they continue, by its number."""

    parent: int
    rows: list[Row]


@dataclass(frozen=True)
class Packed:
    """One forward pass of at most `batch_size` lines that continue `headers` (none: lines begin with their rows)."""

    headers: tuple[Tokens, ...]
    lines: list[Line]

    @property
    def slots(self) -> list[int]:
        """The requests that this pass finishes."""
        return slots_of([row for line in self.lines for row in line.rows])


def computed_tokens(batches: Iterable[Batch | Packed]) -> int:
    """Tokens that these batches run through the model, without padding."""
    total = 0
    before: tuple[Tokens, ...] = ()
    for batch in batches:
        headers = batch.headers if isinstance(batch, Packed) else (batch.header,) if batch.header else ()
        if headers and headers != before:
            before = headers
            total += sum(map(len, headers))
        if isinstance(batch, Packed):
            total += sum(_length(line, len(headers[line.parent]) if headers else 0) for line in batch.lines)
        else:
            total += sum(size_of(row, len(batch.header)) for row in batch.rows)
    return total


def can_be_packed(row: Row, header: Tokens = ()) -> bool:
    """True where the row and its tails fit into a line, and gain by it: a row that fills one has to have tails or a header."""
    most = MOST_LINE_TOKENS if row.tails or header else LINE_TOKENS
    return size_of(row, len(header)) <= most


def size_of(row: Row, skip: int) -> int:
    """Tokens of the row from `skip` on, and of its tails."""
    return len(row.tokens) - skip + sum(len(tail.tokens) for tail in row.tails)


def pieces_of(line: Line) -> int:
    """How many texts stand side by side in a line: its rows, and their tails."""
    return sum(1 + len(row.tails) for row in line.rows)


def pack(rows: list[Row], batch_size: int, may_pack: Callable[[Row], bool]) -> tuple[list[Packed], list[Row]]:
    """Packed passes, and the rows that are better run as they are.

    Headers run `batch_size` at a time, those of similar length together, so that at most so many are kept in memory.
    """
    passes: list[Packed] = []
    groups, alone = [], [row for row in rows if not may_pack(row)]
    rest: list[Row] = []
    for header, members in group_by_header([row for row in rows if may_pack(row)], MIN_HEADER_ROWS):
        fit = [row for row in members if can_be_packed(row, header)]
        if header and len(fit) >= MIN_HEADER_ROWS:
            groups.append((header, fit))
            rest += [row for row in members if not can_be_packed(row, header)]
        else:
            rest += members
    lines = fill([row for row in rest if can_be_packed(row)], 0, 0)
    passes += [Packed((), chunk) for chunk in _chunks(lines, (0,), batch_size)]
    groups.sort(key=lambda group: (-len(group[0]), group[0]))
    for start, stop in cut([len(header) for header, _ in groups], batch_size):
        passes += _together(groups[start:stop], batch_size)
    return passes, alone + [row for row in rest if not can_be_packed(row)]


def _together(groups: Sequence[tuple[Tokens, list[Row]]], batch_size: int) -> Iterator[Packed]:
    """Passes of the rows of several headers. Lines of one header alone share its keys and values without a copy."""
    headers = tuple(header for header, _ in groups)
    skips = [len(header) for header in headers]
    left: list[Line] = []
    for number, (header, members) in enumerate(groups):
        lines = fill(members, len(header), number)
        whole = len(lines) // batch_size * batch_size
        for chunk in _chunks(lines[:whole], skips, batch_size):
            yield Packed(headers, chunk)
        left += lines[whole:]
    left.sort(key=lambda line: -_length(line, skips[line.parent]))
    for chunk in _chunks(left, skips, batch_size):
        yield Packed(headers, chunk)


def fill(rows: list[Row], skip: int, parent: int) -> list[Line]:
    """Lines of these rows, longest first: none longer than the longest row, or `LINE_TOKENS` where all are shorter."""
    waiting = sorted(rows, key=lambda row: (size_of(row, skip), row.tokens))
    sizes = [size_of(row, skip) for row in waiting]
    lines = []
    while waiting:
        room = max(sizes[-1], LINE_TOKENS)
        line: list[Row] = []
        while (position := bisect_right(sizes, room) - 1) >= 0:
            room -= sizes.pop(position)
            line.append(waiting.pop(position))
        lines.append(Line(parent, line))
    return sorted(lines, key=lambda line: -_length(line, skip))


def _length(line: Line, skip: int) -> int:
    return sum(size_of(row, skip) for row in line.rows)


def _chunks(lines: list[Line], skips: Sequence[int], most: int) -> list[list[Line]]:
    """Passes of at most `most` neighbouring lines, which are sorted by length, with as little padding as is worth a pass."""
    lengths = [_length(line, skips[line.parent]) for line in lines]
    return [lines[start:stop] for start, stop in cut(lengths, most)]


def cut(lengths: Sequence[int], most: int) -> list[tuple[int, int]]:
    """Where to cut a sorted list, longest first, so that padded tokens and `PASS_TOKENS` for each part come to the least."""
    cost, start = [0.0], [0]
    for stop in range(1, len(lengths) + 1):
        options = [
            (cost[i] + lengths[i] * (stop - i) + PASS_TOKENS, i) for i in range(max(0, stop - most), stop)
        ]
        best, first = min(options)
        cost.append(best)
        start.append(first)
    parts, stop = [], len(lengths)
    while stop:
        parts.append((start[stop], stop))
        stop = start[stop]
    return parts[::-1]
