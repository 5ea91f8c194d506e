"""How often judging after every batch is wrong, and how many items it needs (`python benchmarks/gate.py --sequential`).

The suite and the policies are those of `gate_joint.py` up to 35 comparisons. The items are asked and judged by the walk of `junkdna gate`
itself (`gate/walk.py`), each model in an order of its own; what an item scored is drawn, and nothing else is made up.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from gate_joint import EVERY, POLICIES, line, members, worse
from gate_suite import CELLS, DENSE, ITEMS, TAILS, Loss, everywhere, suite

from difficulty.stats.betting import Bets
from difficulty.stats.power import Claim, items_for
from difficulty.stats.sequential import asymptotic_path
from junkdna_harness.gate.planned import PlannedComparison, plan_comparisons
from junkdna_harness.gate.walk import Compared, Items, Walk, walk_through

ALPHA = 0.05
WORLDS: tuple[tuple[str, float | Loss, float], ...] = (
    ("equal", 0.0, 0.0),
    ("equal", 0.0, 0.01),
    ("equal", 0.0, 0.05),
    ("at one limit", -1.0, 0.01),
    ("at one limit", -1.0, 0.05),
    ("close call: 1.5 points everywhere", 0.015, 0.01),
    ("5 points everywhere", 0.05, 0.02),
    ("20 points in one tier of one family", {(0, 4): 0.2}, 0.02),
)
ALONE: tuple[tuple[float, float, float, Claim], ...] = (
    (0.02, 0.0, 0.0, "pass"),
    (0.02, 0.01, 0.0, "pass"),
    (0.02, 0.05, 0.0, "pass"),
    (0.02, 0.1, 0.0, "pass"),
    (0.05, 0.02, 0.0, "pass"),
    (0.02, 0.02, 0.01, "pass"),
    (0.02, 0.02, 0.04, "fail"),
    (0.02, 0.02, 0.1, "fail"),
    (0.05, 0.05, 0.2, "fail"),
)


def sequential(n: int) -> list[str]:
    """Two tables: verdicts under optional stopping, and items beside those of a fixed number."""
    lines = [
        "## Gate: judged after every batch",
        "",
        f"{n:,} simulated models per row, asked by the walk of `junkdna gate` itself; error rate 5 % each way. Items: share of the 6,000 that were asked, median (and 90th percentile).",
        "",
        "| comparisons | model | discordance | pass | fail | inconclusive | wanted | items |",
        "|--:|:--|--:|--:|--:|--:|:--|--:|",
    ]
    base = suite({cell: np.ones(ITEMS) for cell in CELLS})
    for number in (1, 5, 35):
        planned = plan_comparisons(base, POLICIES[number])
        for name, loss, discordance in WORLDS:
            lines.append(_row(n, number, planned, name, loss, discordance))
            print(lines[-1], file=sys.stderr, flush=True)
    lines.append(_row(n, 35, plan_comparisons(base, EVERY), "at every limit (all 0.02)", 0.02, 0.02))
    lines += ["", *_alone(n)]
    return [
        *lines,
        "",
        f"`python benchmarks/gate.py --n {n} --sequential`",
    ]


def unbounded(n: int) -> list[str]:
    """The share of wrong decisions about metrics without a limit, with a look after every item from 200 to 2,000."""
    lines = [
        "## Gate: unbounded metrics judged after every item",
        "",
        f"{n:,} draws per row whose mean loss lies at the limit; a look after each of 200 to 2,000 items; asymptotic evidence at 5 %.",
        "",
        "| items' loss | passes | fails | |",
        "|:--|--:|--:|:--|",
    ]
    most = ALPHA + 2 * (ALPHA * (1 - ALPHA) / n) ** 0.5
    for name, draw in TAILS.items():
        g, ones = np.random.default_rng(20261126), np.ones(2000)
        paths = [asymptotic_path(1 + draw(g, 2000), ones, 1.0) for _ in range(n)]
        shares = [float(np.mean([path[side].max() >= -np.log(ALPHA) for path in paths])) for side in (0, 1)]
        cells = " | ".join(f"{100 * share:.1f} %" for share in shares)
        lines.append(f"| {name} | {cells} | {'' if max(shares) <= most else 'NOT MET'} |")
    return [*lines, "", f"`python benchmarks/gate.py --n {n} --sequential --tails`"]


def _row(
    n: int, number: int, planned: list[PlannedComparison], name: str, loss: float | Loss, discordance: float
) -> str:  # fmt: skip
    g = np.random.default_rng(20261126)
    comparisons = [
        Compared(np.flatnonzero(column), one.limit)
        for one, column in zip(planned, members(planned).T, strict=True)
    ]
    seen: Counter[str] = Counter()
    shares = []
    for _ in range(n):
        if isinstance(loss, Mapping):
            truth = loss
        else:
            truth = worse(g, planned, 1.0, discordance)[0] if loss < 0 else everywhere(loss)
        verdict, share = _walked(_moved(g, truth, discordance), comparisons, int(g.integers(2**31)))
        seen[verdict] += 1
        shares.append(share)
    cells = line(n, f"| {number} | {name} | {100 * discordance:g} %", seen, _errors(name, number))
    return f"{cells} {100 * float(np.median(shares)):.0f} % ({100 * float(np.quantile(shares, 0.9)):.0f} %) |"


def _errors(name: str, number: int) -> tuple[str, ...]:
    """The verdicts that are wrong of such a model: at a limit both are; 20 points in one cell are 0.8 overall, which is allowed."""
    if name.startswith("at"):
        return "pass", "fail"
    kept = name.startswith(("equal", "close")) or (number == 1 and name.startswith("20 points"))
    return ("fail",) if kept else ("pass",)


def _moved(g: np.random.Generator, loss: Loss, discordance: float) -> np.ndarray:
    """What each item lost: 1, 0 or -1, as in `gate_suite.pair`."""
    parts = []
    for cell in CELLS:
        share = DENSE[cell[1]]
        before, draw = g.random(ITEMS) < share, g.random(ITEMS)
        lost = before & (draw < np.minimum(1.0, (loss.get(cell, 0.0) + discordance / 2) / share))
        gained = ~before & (draw < min(1.0, discordance / 2 / (1 - share)))
        parts.append(lost.astype(np.int8) - gained)
    return np.concatenate(parts)


def _walked(moved: np.ndarray, comparisons: Sequence[Compared], seed: int) -> tuple[str, float]:
    """The verdict of `junkdna gate` on a model whose items moved so, and the share that it asked."""
    before = (moved >= 0).astype(float)  # what was gained was wrong; all else may have been right
    items = Items(before, np.arange(len(moved)))
    walk = walk_through(Walk(items, comparisons, seed, ALPHA), (before - moved).__getitem__)
    return walk.judge.verdict, walk.n_asked / walk.n_all


def _alone(n: int) -> list[str]:
    """Items that one comparison needs, beside the fixed number that decides with the same power."""
    lines = [
        "One comparison, a look after every item, with the whole error rate (the gate keeps a fifth of it for the test of all items): items until it is decided, "
        "beside the fixed number that decides with the same power.",
        "",
        "| limit | discordance | true loss | decision | fixed, 80 % | half are decided by | 80 % by | fixed, 95 % | 95 % by | mean / fixed 80 % |",
        "|--:|--:|--:|:--|--:|--:|--:|--:|--:|--:|",
    ]
    for limit, discordance, loss, claim in ALONE:
        lost, gained = loss + discordance / 2, discordance / 2
        fixed = [items_for(p, lost, gained, limit, ALPHA, claim) or 0 for p in (0.8, 0.95)]
        stops = _stops(n, 5 * fixed[1], lost, gained, limit, claim)
        by = [int(np.quantile(stops, p, method="higher")) for p in (0.5, 0.8, 0.95)]
        lines.append(
            f"| {limit:g} | {100 * discordance:g} % | {loss:g} | {claim} | {fixed[0]:,} | {by[0]:,} | {by[1]:,} | {fixed[1]:,} | {by[2]:,} "
            f"| {stops.mean() / fixed[0]:.2f} |"
        )
        print(lines[-1], file=sys.stderr, flush=True)
    return lines


def _stops(n: int, most: int, lost: float, gained: float, limit: float, claim: Claim) -> np.ndarray:
    g, bets, found = np.random.default_rng(20261126), Bets(limit), []
    items = np.arange(1, most + 1)
    for _ in range(n):
        u = g.random(most)
        sides = bets.of_counts(items, np.cumsum(u < lost), np.cumsum(u > 1 - gained))
        over = sides[claim == "fail"] >= -np.log(ALPHA)
        found.append(int(over.argmax()) + 1 if over.any() else most)
    return np.array(found)
