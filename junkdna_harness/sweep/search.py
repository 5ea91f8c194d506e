"""Which sparsity loses how much: a search on what was measured so far, which says where to measure next.

Nothing is kept between two calls: what was found follows from the points alone, so that a search that was stopped goes on.
More sparsity is assumed to lose more. Each level that is evaluated narrows the brackets of all targets.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from junkdna_harness.compress.notation import Sparsity

FIRST = 0.1  # sparsity, where nothing is known: most controls break down near it
HIGHEST = 0.99
MOST_TRIED = 10  # evaluations for one target
SPAN = 64.0  # where the lower end is the dense model, a cut goes down by no more than this factor
EDGE = 0.1  # of a bracket, that a cut keeps away from its ends
MOST_MARKS = 100  # weights of a group, up to which the sparsities between two points are counted one by one
REACHED = 0.05  # of the loss that is sought


@dataclass(frozen=True)
class Point:
    """A sparsity that was evaluated, and the loss there; infinite where the run failed: the model was broken.

    `sizes` are those of the groups (tensors, rows) of which each loses that share, rounded to whole weights: they decide which
    sparsities there are. Empty where they are not known.
    """

    level: float
    loss: float
    sizes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Target:
    """A loss that is sought, with what counts as equal (`tolerance`) and how many evaluations were made for it."""

    loss: float
    tolerance: float
    tried: int = 0


@dataclass(frozen=True)
class State:
    """What is known of a target: the point whose loss is `nearest`, the bracket (`above` None: no point loses as much).

    `ended` says why there is nothing more to evaluate, as the end of a sentence; empty where it was reached, None where the
    search goes on.
    """

    nearest: Point | None
    below: Point
    above: Point | None
    ended: str | None

    @property
    def reached(self) -> bool:
        """True where the nearest point counts as equal."""
        return self.ended == ""


def known(points: Sequence[Point], target: Target, dense: Point) -> State:
    """What `points` say about a target. `dense` is the model with nothing removed, at level 0 and loss 0."""
    ordered = [dense, *sorted(points, key=lambda p: p.level)]
    first = next((i for i, p in enumerate(ordered) if p.loss >= target.loss), None)
    below, above = (ordered[-1], None) if first is None else (ordered[max(first - 1, 0)], ordered[first])
    measured = [p for p in ordered[1:] if math.isfinite(p.loss)]
    nearest = min(measured, key=lambda p: (abs(p.loss - target.loss), p.level), default=None)
    return State(nearest, below, above, _ended(nearest, below, above, target))


def _ended(nearest: Point | None, below: Point, above: Point | None, target: Target) -> str | None:
    if target.loss <= target.tolerance:
        return "it is too small to be told from none"
    if nearest is not None and abs(nearest.loss - target.loss) <= target.tolerance:
        return ""
    if above is None and below.level >= HIGHEST:
        return "even the highest sparsity loses less"
    if above is not None and _next_to_each_other(below, above):
        return "the loss jumps over it between two sparsities with none between them"
    if target.tried >= MOST_TRIED:
        return f"it was not met in {target.tried} evaluations"
    return None


def _next_to_each_other(below: Point, above: Point) -> bool:
    """True where no model lies between: one more weight in groups of one size, or the last digit that names a run."""
    marks = _marks(below, above)
    return above.level - below.level <= 1e-9 or (marks is not None and len(marks) <= 1)


def _marks(below: Point, above: Point) -> list[Fraction] | None:
    """The sparsities between two points at which a group loses one more weight; None where they are many or not known."""
    sizes = above.sizes or below.sizes
    found: set[Fraction] = set()
    for size in sizes:
        first, last = (Sparsity(point.level).removed(size) for point in (below, above))
        if last - first > MOST_MARKS:
            return None
        found |= {Fraction(2 * k + 1, 2 * size) for k in range(first, last)}
    return sorted(found) if sizes else None


def next_levels(
    points: Sequence[Point], targets: Iterable[Target], dense: Point
) -> dict[float, list[Target]]:
    """The sparsities to evaluate next, each with the targets that it is for; empty where no search goes on.

    One for each bracket: the cut for the middle one of the targets in it narrows it for all.
    """
    brackets: dict[tuple[float, float | None], list[tuple[Target, State]]] = {}
    for target in targets:
        state = known(points, target, dense)
        if state.ended is None:
            ends = state.below.level, None if state.above is None else state.above.level
            brackets.setdefault(ends, []).append((target, state))
    found: dict[float, list[Target]] = {}
    for inside in brackets.values():
        ordered = sorted(inside, key=lambda pair: pair[0].loss)
        target, state = ordered[(len(ordered) - 1) // 2]
        level = _cut(state.below, state.above, target, bool(points))
        found.setdefault(level, []).extend(target for target, _ in ordered)
    return found


def _cut(below: Point, above: Point | None, target: Target, begun: bool) -> float:
    """Where to cut a bracket: where the line between its ends meets the target, and every third time at the middle."""
    if above is None:
        if not begun:
            return FIRST
        middle = (below.level + 1) / 2
        return _short(middle, below.level, 1.0) if middle < 0.97 else HIGHEST
    low, high = below.level, above.level
    least = max(low, high / SPAN)  # sparsities of different orders of magnitude are halved by their ratio
    middle = math.sqrt(least * high)
    line = middle
    if target.tried % 3 and math.isfinite(above.loss):
        if low > 0 and below.loss > 0:  # a power law between two points: losses too are of different orders
            share = math.log(target.loss / below.loss) / math.log(above.loss / below.loss)
            line = low * (high / low) ** share
        else:
            line = low + (high - low) * (target.loss - below.loss) / (above.loss - below.loss)
    kept = min(max(line, least + EDGE * (high - least) if low else least), high - EDGE * (high - low))
    return _other_model(kept, below, above)


def _other_model(level: float, below: Point, above: Point) -> float:
    """The level, or the nearest one at which the model is neither that of the one end nor that of the other."""
    marks = _marks(below, above)
    if marks is None or len(marks) < 2:
        return _short(level, below.level, above.level)
    between = [(float(a), float(b)) for a, b in pairwise(marks)]
    low, high = min(between, key=lambda ends: abs(sum(ends) / 2 - level))
    return _short(level if low < level < high else (low + high) / 2, low, high)


def _short(level: float, low: float, high: float) -> float:
    """The level with as few digits as leave it at its place within the bracket."""
    for digits in range(1, 10):
        short = float(f"{level:.{digits}g}")
        if low < short < high and abs(short - level) <= 0.05 * min(level - low, high - level):
            return short
    return float(f"{level:.10g}")


def falls(points: Sequence[Point], tolerance: float) -> tuple[Point, Point] | None:
    """Two sparsities of which the larger loses clearly less, by more than `tolerance` and than 5 %; None where none do."""
    worst: tuple[Point, Point] | None = None
    highest: Point | None = None
    for point in sorted(points, key=lambda p: p.level):
        if not math.isfinite(point.loss):
            continue
        if highest is not None and highest.loss - point.loss > max(tolerance, REACHED * highest.loss):
            fall = highest.loss - point.loss
            if worst is None or fall > worst[0].loss - worst[1].loss:
                worst = highest, point
        if highest is None or point.loss > highest.loss:
            highest = point
    return worst
