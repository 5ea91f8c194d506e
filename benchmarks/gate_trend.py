"""How often the trend over a history raises a false alarm, and how soon it sees a loss that creeps in: simulated histories.

The suite is as large as the default one: 13 families of four tiers with 250 items each, 70 comparisons (overall, each tier over all
families, each family, each tier of each family). The start scores 0.97 on tier 1 to 0.85 on tier 4. Commits change answers in one of
these ways; "noise" is the share of items that differ between two commits for no reason:

- comes and goes: an item's outcome is drawn anew at every commit, right with a probability of its own (few lie between 0 and 1);
- lingers: the same, but an item is drawn anew at one commit in five;
- stays: as many right items are lost as wrong ones are gained in expectation, at random, and stay so until they are hit again.

A creeping loss turns right items into wrong ones for good, a few per commit.

    python benchmarks/gate_trend.py --null           # false alarms
    python benchmarks/gate_trend.py --creep          # a loss that creeps in
    python benchmarks/gate_trend.py --null --rows 0 2   # some rows alone
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from difficulty.stats.drift import BETS, STRETCH, drift_evidence
from difficulty.stats.tango import binary_tail

FAMILIES, TIERS, ITEMS = 13, 4, 250
CELLS = FAMILIES * TIERS
COMPARISONS = 1 + TIERS + FAMILIES + CELLS
RATE, LIMIT = 0.05, 0.02
SHARE = np.tile(np.array([0.97, 0.94, 0.90, 0.85], dtype=np.float32), FAMILIES)[:, None]
CHUNK = 50
NEVER = 10**6
Right = NDArray[np.bool_]
Floats = NDArray[np.float64]


class World(NamedTuple):
    """How commits change answers. `loss`: points per commit on the cells named by `where`; `best_of`: the baseline is the best of so many."""

    change: str
    noise: float
    commits: int
    loss: float = 0.0
    where: str = ""
    best_of: int = 1


NULL = [
    *(World(change, noise, commits) for change in ("comes and goes", "lingers", "stays") for noise in (0.01, 0.02) for commits in (50, 200)),
    World("comes and goes", 0.02, 50, best_of=3),
]  # fmt: skip
CREEP = [
    World(change, noise, commits, loss, where)
    for where, commits in (("all items", 20), ("tier 4 of all families", 40), ("tier 4 of one family", 100))
    for loss in (0.002, 0.003, 0.005)
    for change in ("comes and goes", "stays")
    for noise in (0.01, 0.02)
]


def main() -> None:
    """Simulate and print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--n", type=int, default=1000, help="histories per row")
    parser.add_argument("--null", action="store_true", help="without drift")
    parser.add_argument("--creep", action="store_true", help="with a loss that creeps in")
    parser.add_argument("--rows", type=int, nargs=2, default=(0, 99), help="from, to")
    options = parser.parse_args()
    _same_as_the_product()
    start = time.time()
    if options.null or not options.creep:
        print(
            "| answers change and | noise | commits | any of 70 alarms | step by step | growth not taken off | overall alone | a family alone | a tier of 250 alone |"
        )
        print("|:--|--:|--:|--:|--:|--:|--:|--:|--:|")
        for world in NULL[slice(*options.rows)]:
            print(_null_row(world, options.n), flush=True)
    if options.creep or not options.null:
        print(
            "| loss on | points per commit | answers change and | noise | alarm at commit | seen | step by step | gate, previous commit | gate, first baseline |"
        )
        print("|:--|--:|:--|--:|--:|--:|--:|--:|--:|")
        for world in CREEP[slice(*options.rows)]:
            print(_creep_row(world, options.n), flush=True)
    print(f"{time.time() - start:.0f} s", file=sys.stderr)


def histories(world: World, n: int, rng: np.random.Generator) -> Iterator[Right]:
    """The start, then every commit: shape (n, cells, items)."""
    shape = (n, CELLS, ITEMS)

    def uniform() -> NDArray[np.float32]:
        return rng.random(shape, dtype=np.float32)

    lost = (_where(world) / SHARE).astype(np.float32)
    right = uniform() < SHARE
    if world.change == "stays":
        yield right
        for _ in range(world.commits):
            share = right.mean(axis=2, keepdims=True, dtype=np.float32)
            flips = np.minimum(world.noise / 2, np.minimum(share, 1 - share))
            draw = uniform()
            right = np.where(
                right,
                draw >= flips / np.maximum(share, 1e-9) + lost,
                draw < flips / np.maximum(1 - share, 1e-9),
            )
            yield right
        return
    # Probabilities spread evenly over [0, 1] differ between two draws in a third of the cases.
    chance = np.where(uniform() < 3 * world.noise, uniform(), right.astype(np.float32))
    drawn = [uniform() < chance for _ in range(world.best_of)]
    scores = np.stack([one.mean(axis=(1, 2)) for one in drawn])
    right = np.stack(drawn)[scores.argmax(axis=0), np.arange(n)]
    yield right
    for _ in range(world.commits):
        if world.loss:
            chance = np.where(uniform() < lost, np.float32(0), chance)
        again = uniform() < chance
        right = (
            again
            if world.change == "comes and goes"
            else np.where(uniform() < 0.2, again, right & (chance > 0))
        )
        yield right


def _where(world: World) -> Floats:
    cells = np.zeros((FAMILIES, TIERS))
    if world.where == "all items":
        cells[:] = world.loss
    elif world.where == "tier 4 of all families":
        cells[:, 3] = world.loss
    elif world.where:
        cells[0, 3] = world.loss
    return cells.reshape(CELLS, 1)


class Seen(NamedTuple):
    """What is known after a commit: log e-values, shape (n, comparisons), and counts (lost, gained) per comparison.

    `plain`: the product over consecutive commits; `unpriced`: the trend's product without its expected growth taken off.
    """

    trend: Floats
    plain: Floats
    unpriced: Floats
    since_start: tuple[Floats, Floats]
    since_previous: tuple[Floats, Floats]


def judged(commits: Iterator[Right]) -> Iterator[Seen]:
    """`drift_evidence` of all comparisons at once, from counts; and the plain product over consecutive commits."""
    start = anchor = before = next(commits)
    cells = start.shape[:2]
    lost = gained = np.zeros(cells)
    price, plain, kept = np.zeros((*cells, len(BETS))), 0.0, 0.0
    for t, now in enumerate(commits, 1):
        right = before.sum(axis=2)
        away, back = (before & ~now).sum(axis=2), (~before & now).sum(axis=2)
        over_right = 1 + gained / np.maximum(right, 1) * (1 / (1 - BETS[:, None, None]) - 1)
        over_wrong = 1 + lost / np.maximum(ITEMS - right, 1) * (1 / (1 + BETS[:, None, None]) - 1)
        growth = np.where(
            (right > 0) & (right < ITEMS), BETS[:, None, None] / 2 * (over_right - over_wrong), 0.0
        )
        price = price + np.moveaxis((away + back) * growth, 0, 2)
        step = pooled(away), pooled(back)
        plain = plain + _log_factors(*step)
        whole = pooled((start & ~now).sum(axis=2)), pooled((~start & now).sum(axis=2))
        priced = np.stack([pooled(price[..., k]) for k in range(len(BETS))], axis=2)
        lost, gained = (anchor & ~now).sum(axis=2).astype(float), (~anchor & now).sum(axis=2).astype(float)
        logs = kept + _log_factors(pooled(lost), pooled(gained))
        unpriced = _mean_of_bets(_log_factors(*whole))
        yield Seen(_mean_of_bets(logs - priced), _mean_of_bets(plain), unpriced, whole, step)
        before = now
        if t % STRETCH == 0:
            kept, anchor, lost, gained = logs, now, np.zeros(cells), np.zeros(cells)


def pooled(counts: Floats) -> Floats:
    """Sums of cells (n, cells) over each comparison, (n, comparisons): overall, tiers, families, cells."""
    table = counts.reshape(-1, FAMILIES, TIERS)
    return np.concatenate(
        [table.sum(axis=(1, 2))[:, None], table.sum(axis=1), table.sum(axis=2), counts], axis=1
    )


SIZES = pooled(np.full((1, CELLS), ITEMS))[0]


def _log_factors(lost: Floats, gained: Floats) -> Floats:
    return lost[..., None] * np.log1p(BETS) + gained[..., None] * np.log1p(-BETS)


def _mean_of_bets(logs: Floats) -> Floats:
    top = logs.max(axis=2, keepdims=True)
    return top[..., 0] + np.log(np.exp(logs - top).mean(axis=2))


def _null_row(world: World, n: int) -> str:
    together, alone = np.log(COMPARISONS / RATE), np.log(1 / RATE)
    hits: list[Floats] = []
    rng = np.random.default_rng(20260711)
    for _ in range(0, n, CHUNK):
        most = np.full((3, CHUNK, COMPARISONS), -np.inf)
        for seen in judged(histories(world, CHUNK, rng)):
            most = np.maximum(most, [seen.trend, seen.plain, seen.unpriced])
        each = most[0] >= alone
        parts = [each[:, 0], each[:, 1 + TIERS : -CELLS].mean(axis=1), each[:, -CELLS:].mean(axis=1)]
        hits.append(np.stack([*(most >= together).any(axis=2), *parts]))
    shares = " | ".join(f"{100 * share:.1f} %" for share in np.concatenate(hits, axis=1).mean(axis=1))
    how = world.change + (f" (baseline: the best of {world.best_of})" if world.best_of > 1 else "")
    return f"| {how} | {100 * world.noise:g} % | {world.commits} | {shares} |"


def _creep_row(world: World, n: int) -> str:
    threshold = np.log(COMPARISONS / RATE)
    rng = np.random.default_rng(20260711)
    found: list[NDArray[np.int64]] = []
    for chunk in range(0, n, CHUNK):
        first = np.full(
            (4, CHUNK), NEVER
        )  # trend, plain, gate against the previous commit, gate against the first baseline
        for t, seen in enumerate(judged(histories(world, CHUNK, rng)), 1):
            fails = [np.zeros(CHUNK, dtype=bool)] * 2
            if chunk < 200:  # the exact tests of the gate take long: 200 histories
                fails = [
                    _fails(*counts, open_)
                    for counts, open_ in zip(
                        (seen.since_previous, seen.since_start), first[2:] == NEVER, strict=True
                    )
                ]
            now = np.stack(
                [(seen.trend >= threshold).any(axis=1), (seen.plain >= threshold).any(axis=1), *fails]
            )
            first = np.where(now & (first == NEVER), t, first)
        found.append(first)
    trend, plain, previous, fixed = np.concatenate(found, axis=1)
    low, middle, high = (_commit(np.percentile(trend, q, method="nearest"), world) for q in (10, 50, 90))
    gate = [
        _commit(np.median(one[:200]), world)
        if (one[:200] < NEVER).mean() >= 0.5
        else f"{100 * (one[:200] < NEVER).mean():.0f} %"
        for one in (previous, fixed)
    ]
    return (
        f"| {world.where} | {100 * world.loss:g} | {world.change} | {100 * world.noise:g} % | **{middle}** ({low} to {high}) "
        f"| {100 * (trend < NEVER).mean():.0f} % | {_commit(np.percentile(plain, 50, method='nearest'), world)} | {gate[0]} | {gate[1]} |"
    )


def _commit(value: float, world: World) -> str:
    return f"> {world.commits}" if value >= NEVER else f"{value:.0f}"


def _fails(lost: Floats, gained: Floats, wanted: Right) -> Right:
    """Whether `junkdna check` with a limit of 2 points fails: the smallest exact p, Holm-corrected, of those histories that are wanted."""
    drop = (lost - gained) / SIZES
    z = (drop - LIMIT) * SIZES / np.sqrt(np.maximum(lost + gained, 1))
    fails = np.zeros(len(lost), dtype=bool)
    for draw, one in zip(*np.nonzero((z > 2) & wanted[:, None]), strict=True):
        if not fails[draw]:
            p = binary_tail(int(SIZES[one]), int(lost[draw, one]), int(gained[draw, one]), LIMIT, upper=True)
            fails[draw] = p * COMPARISONS < RATE
    return fails


def _same_as_the_product() -> None:
    """Stop where the counts do not give what `drift_evidence` gives."""
    world = World("stays", 0.02, STRETCH + 5, 0.005, "all items")
    answers = np.stack([right[0] for right in histories(world, 1, np.random.default_rng(1))])
    last = list(judged(iter(answers[:, None])))[-1].trend[0]
    groups = np.repeat(np.arange(CELLS), ITEMS)
    whole = drift_evidence(answers.reshape(len(answers), -1).astype(float), groups=groups)[-1]
    cell = drift_evidence(answers[:, 3].astype(float))[-1]
    if not np.allclose([last[0], last[-CELLS + 3]], [whole, cell]):
        raise SystemExit("the counts in this benchmark do not give the e-values of difficulty.stats.drift")


if __name__ == "__main__":
    main()
