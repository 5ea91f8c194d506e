"""Which tokens a set of log-likelihood requests really needs: each context once, each option after its context once.

A request is a context and a continuation. The naive way runs context and continuation together through the model, for
every option of a multiple-choice item again. Here requests become rows: a row is run through the model once, and
tails continue it from its cached keys and values. Rows that begin alike (a few-shot header) may share a header.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

Tokens = tuple[int, ...]

# A context is worth a pass of its own where that saves a third of the tokens: the tails cost a second, smaller pass.
WORTHWHILE = 1.5
# A header shorter than this, or shared by fewer rows, costs about as much in an extra pass as it saves.
MIN_HEADER_TOKENS = 32
MIN_HEADER_ROWS = 4
MIN_HEADER_SAVING = 0.2


@dataclass(frozen=True)
class Target:
    """One token to score: the logits at `position` of its row or tail predict `token` of request `slot`."""

    position: int
    token: int
    slot: int


@dataclass
class Tail:
    """Tokens that follow a row's own; positions of its targets count from the tail's start."""

    tokens: Tokens
    targets: list[Target] = field(default_factory=list)


@dataclass
class Row:
    """Tokens that go through the model once.

    The first `context` of them belong to the context of every request of the row: no logits are needed before the last of these.
    """

    tokens: Tokens
    context: int
    targets: list[Target] = field(default_factory=list)
    tails: list[Tail] = field(default_factory=list)

    @property
    def longest(self) -> int:
        """Tokens of the row and of its longest tail."""
        return len(self.tokens) + max((len(tail.tokens) for tail in self.tails), default=0)


@dataclass(frozen=True)
class Batch:
    """Rows for one forward pass, longest first, all of which begin with `header` (often empty)."""

    header: Tokens
    rows: list[Row]

    @property
    def slots(self) -> list[int]:
        """The requests that this batch finishes."""
        return slots_of(self.rows)


def slots_of(rows: Iterable[Row]) -> list[int]:
    """The requests that these rows and their tails answer, each once."""
    targets = [
        t for row in rows for part in (row.targets, *(tail.targets for tail in row.tails)) for t in part
    ]
    return list(dict.fromkeys(t.slot for t in targets))


def split_request(
    context: Sequence[int], continuation: Sequence[int], max_length: int
) -> tuple[Tokens, Tokens]:
    """Context as the model sees it and continuation, cut on the left exactly where lm-eval's `hf` cuts.

    Raises:
        AssertionError: an empty side, or a continuation longer than the model's window, as in `hf`.
    """
    assert len(context) > 0
    assert 0 < len(continuation) <= max_length
    seen = tuple([*context, *continuation][-(max_length + 1) :])
    return seen[: len(seen) - len(continuation)], tuple(continuation)


def build_rows(
    pairs: Sequence[tuple[Tokens, Tokens]], may_share: Callable[[int], bool], side_by_side: int = 0
) -> list[Row]:
    """Rows that score every (context, continuation); equal inputs become one row.

    `may_share(length)` says whether a row of that many tokens in all may be continued from a cache. A context and its
    options that have at most `side_by_side` tokens cost no second pass, so there the context is always shared.
    """
    by_context: dict[Tokens, dict[Tokens, list[int]]] = {}
    for slot, (context, continuation) in enumerate(pairs):
        by_context.setdefault(context, {}).setdefault(continuation, []).append(slot)
    flat: dict[Tokens, Row] = {}
    rows: list[Row] = []
    for context, continuations in by_context.items():
        longest = len(context) + max(map(len, continuations)) - 1
        small = len(context) + sum(map(len, continuations)) <= side_by_side
        worthwhile = len(continuations) > 1 if small else _saving(context, continuations) >= WORTHWHILE
        if worthwhile and may_share(longest):
            rows.append(_shared_row(context, continuations))
        else:
            for continuation, slots in continuations.items():
                _add_flat(flat, context, continuation, slots)
    return rows + list(flat.values())


def _saving(context: Tokens, continuations: dict[Tokens, list[int]]) -> float:
    tails = {continuation[:-1] for continuation in continuations}
    together = len(context) * len(tails) + sum(map(len, tails))
    return together / (len(context) + sum(map(len, tails)))


def _shared_row(context: Tokens, continuations: dict[Tokens, list[int]]) -> Row:
    row = Row(context, len(context))
    tails: dict[Tokens, Tail] = {}
    for continuation, slots in continuations.items():
        row.targets += [Target(len(context) - 1, continuation[0], slot) for slot in slots]
        if len(continuation) > 1:
            tail = tails.setdefault(continuation[:-1], Tail(continuation[:-1]))
            tail.targets += [Target(j, t, slot) for slot in slots for j, t in enumerate(continuation[1:])]
    row.tails = sorted(tails.values(), key=lambda tail: -len(tail.tokens))
    return row


def _add_flat(flat: dict[Tokens, Row], context: Tokens, continuation: Tokens, slots: list[int]) -> None:
    tokens = context + continuation[:-1]
    row = flat.setdefault(tokens, Row(tokens, len(context)))
    row.context = min(row.context, len(context))
    first = len(context) - 1
    row.targets += [Target(first + j, token, slot) for slot in slots for j, token in enumerate(continuation)]


def build_batches(
    rows: list[Row], size_at: Callable[[list[Row], int], int], headers: bool
) -> Iterator[Batch]:
    """Batches of rows that share a header and are of similar length; `size_at(rows, position)` gives each one's size."""
    groups = group_by_header(rows) if headers else [((), rows)]
    for header, members in groups:
        for with_tails in (True, False):
            chosen = [row for row in members if bool(row.tails) == with_tails]
            chosen.sort(key=lambda row: (-len(row.tokens), row.tokens))
            start = 0
            while start < len(chosen):
                size = max(1, size_at(chosen, start))
                yield Batch(header, chosen[start : start + size])
                start += size


def group_by_header(rows: list[Row], least_rows: int = MIN_HEADER_ROWS) -> list[tuple[Tokens, list[Row]]]:
    """Rows grouped by a common beginning where that saves enough; the rest under the empty header.

    `least_rows` is how many rows make a header worth its pass.
    """
    ordered = sorted(rows, key=lambda row: row.tokens)
    # A header must leave the last token of every context to its row: that token's logits are scored.
    common = [
        min(_common_length(a.tokens, b.tokens), a.context - 1, b.context - 1)
        for a, b in zip(ordered, ordered[1:], strict=False)
    ]
    _, runs = _best_runs(common, (0, len(ordered)), MIN_HEADER_TOKENS, least_rows)
    groups: list[tuple[Tokens, list[Row]]] = []
    rest: list[Row] = []
    position = 0
    for start, end in runs:
        rest += ordered[position:start]
        position = end
        length, members = min(common[start : end - 1]), ordered[start:end]
        if (len(members) - 1) * length >= MIN_HEADER_SAVING * sum(len(row.tokens) for row in members):
            groups.append((members[0].tokens[:length], members))
        else:
            rest += members
    rest += ordered[position:]
    return [*groups, ((), rest)] if rest else groups


def _best_runs(
    common: list[int], span: tuple[int, int], least: int, least_rows: int
) -> tuple[int, list[tuple[int, int]]]:
    """Tokens saved, and the runs of rows [a, b) whose neighbours share at least `least` tokens that save them."""
    saved, chosen = 0, []
    position, end = span
    while position < end:
        stop = position + 1
        while stop < end and common[stop - 1] >= least:
            stop += 1
        if stop - position >= least_rows:
            here = (stop - position - 1) * min(common[position : stop - 1])
            # Two halves of a run may share much more than the run: look again with a higher bar.
            finer, runs = _best_runs(common, (position, stop), 2 * least, least_rows)
            saved += max(here, finer)
            chosen += runs if finer > here else [(position, stop)]
        position = stop
    return saved, chosen


def _common_length(a: Tokens, b: Tokens) -> int:
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[:middle] == b[:middle]:
            low = middle
        else:
            high = middle - 1
    return low
