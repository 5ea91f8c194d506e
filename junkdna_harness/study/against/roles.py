"""What a series of the paper stands for: which task, what was done to the weights, and which of two it is said to be, easy or hard."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from difficulty.runs.identity import DENSE_FREEZING, SPARSE_TO_DENSE, SPARSE_TRANSFER
from junkdna_harness.study.against.known import EASY, HARD, Task, setup_of, task_of
from junkdna_harness.study.against.points import Series

_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%\s*data")
_METHODS = ("sparsegpt", "wanda", "random", "magnitude")
_EASY = ("(easy", "open book", "majority")
_HARD = ("(hard", "closed book", "minority")
_CONTROLS = ("random", "largest", "large weights")


@dataclass(frozen=True)
class Role:
    """`arm`: the training after pruning, None for none; `share` of the data; `difficulty`: easy, hard, or nothing said."""

    task: Task | None
    method: str
    arm: str | None
    share: float
    difficulty: str
    book: bool
    pattern: bool


@dataclass(frozen=True)
class Pair:
    """Two series of a panel of which the second is said to lose more; `what`: in words, why."""

    keeps: Series
    loses: Series
    what: str


def role_of(series: Series) -> Role:
    """What a series stands for, from its names."""
    name, panel = series.name.lower(), series.panel.lower()
    task = task_of(series)
    method = next((one for text in (name, panel) for one in _METHODS if one in text), "magnitude")
    share = _SHARE.search(name) or _SHARE.search(panel)
    difficulty = EASY if any(part in name for part in _EASY) else ""
    difficulty = HARD if any(part in name for part in _HARD) else difficulty
    return Role(
        task,
        method,
        _arm(series),
        1.0 if share is None else min(float(share[1]) / 100, 1.0),
        difficulty or (task.role if task is not None else ""),
        "open book" in name or "closed book" in name,
        any(level.pattern for level in series.levels),
    )


def _arm(series: Series) -> str | None:
    name = series.name.lower()
    if "freez" in name:
        return DENSE_FREEZING
    if "sparse to dense" in name or "sparse-to-dense" in name:
        return SPARSE_TO_DENSE
    setup = setup_of(series.figure)
    trained = setup is not None and setup.training != "none" and "mbart" not in series.figure.lower()
    return SPARSE_TRANSFER if trained or "sparse transfer" in name else None


def panels(points: Sequence[Series]) -> list[list[Series]]:
    """The series of each panel, in the file's order."""
    found: dict[tuple[str, str], list[Series]] = {}
    for series in points:
        found.setdefault((series.figure, series.panel), []).append(series)
    return list(found.values())


def pairs(panel: Sequence[Series]) -> list[Pair]:
    """The comparisons that a panel is drawn for: easy against hard, much data against little, one training against another."""
    roles = [(series, role_of(series)) for series in panel]
    named = [(s, r) for s, r in roles if any(part in s.name.lower() for part in (*_EASY, *_HARD))]
    easy = [s for s, r in named if r.difficulty == EASY]
    hard = [s for s, r in named if r.difficulty == HARD]
    if easy and hard:
        return [Pair(easy[0], hard[0], "easy and hard task")]
    shares = sorted(((r.share, s) for s, r in roles if _SHARE.search(s.name.lower())), key=lambda one: one[0])
    if len(shares) > 1 and shares[0][0] < shares[-1][0]:
        return [Pair(shares[-1][1], shares[0][1], "much and little data")]
    arms = {r.arm: s for s, r in roles if r.arm is not None}
    wanted = (
        (DENSE_FREEZING, SPARSE_TRANSFER, "small weights kept as they were, and at zero"),
        (SPARSE_TRANSFER, SPARSE_TO_DENSE, "zeros kept, and free to grow back"),
    )
    return [Pair(arms[a], arms[b], what) for a, b, what in wanted if a in arms and b in arms]


def controls(panel: Iterable[Series]) -> list[str]:
    """The series of a panel that prune other weights than the small ones: random or the largest."""
    return [s.name for s in panel if any(word in f"{s.name} {s.panel}".lower() for word in _CONTROLS)]
