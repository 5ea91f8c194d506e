"""How often judging after every batch is wrong, and how many items it needs (`python benchmarks/gate.py --sequential`).

The suite and the policies are those of `gate_joint.py` up to 35 comparisons. The items come in one random order in batches that grow by
a half; after each, comparisons that are not decided are judged by the evidence of all their items so far: a pass where 1 / e <= 5 %, a
fail by Holm over all comparisons. Items of which every comparison is decided are not asked. It ends with a fail, when all have
passed, or with the items.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping

import numpy as np
from gate_joint import EVERY, POLICIES, line, members, worse
from gate_suite import CELLS, DENSE, ITEMS, TAILS, Loss, everywhere, suite

from difficulty.stats.betting import Bets
from difficulty.stats.multiple import holm
from difficulty.stats.power import Claim, items_for
from difficulty.stats.sequential import asymptotic_path
from junkdna_harness.gate.planned import PlannedComparison, plan_comparisons

ALPHA = 0.05
FIRST, GROWTH = 100, 1.5
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
        f"{n:,} simulated models a row; error rate 5 % each way. Items: share of the 6,000 that were asked, median (and 90th percentile).",
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
        f"{n:,} draws a row whose mean loss lies at the limit; a look after each of 200 to 2,000 items; asymptotic evidence at 5 %.",
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
    member = members(planned).astype(bool)
    bets = [Bets(one.limit) for one in planned]
    seen: Counter[str] = Counter()
    shares = []
    for _ in range(n):
        if isinstance(loss, Mapping):
            truth = loss
        else:
            truth = worse(g, planned, 1.0, discordance)[0] if loss < 0 else everywhere(loss)
        verdict, share = _judge(_moved(g, truth, discordance), member, bets, g)
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


def _judge(
    moved: np.ndarray, member: np.ndarray, bets: list[Bets], g: np.random.Generator
) -> tuple[str, float]:
    order = g.permutation(len(moved))
    moved, inside = moved[order], member[order]
    open_ = np.ones(len(bets), dtype=bool)
    counts = np.zeros((3, len(bets)), dtype=np.int64)  # n, lost, gained
    above = np.zeros(len(bets))
    at, asked, size = 0, 0, float(FIRST)
    while at < len(moved):
        batch = slice(at, min(len(moved), at + int(size)))
        at, size = batch.stop, size * GROWTH
        wanted = (inside[batch] & open_).any(axis=1)
        asked += int(wanted.sum())
        new, rows = moved[batch][wanted], inside[batch][wanted] & open_
        counts += np.stack([rows.sum(axis=0), rows[new > 0].sum(axis=0), rows[new < 0].sum(axis=0)])
        for i in np.flatnonzero(open_):
            down, up = bets[i].of_counts(*counts[:, i])
            above[i] = max(above[i], float(up))
            open_[i] = not float(down) >= -np.log(ALPHA)
        if (holm(np.exp(-above)) <= ALPHA).any():
            return "fail", asked / len(moved)
        if not open_.any():
            return "pass", asked / len(moved)
    return "inconclusive", asked / len(moved)


def _alone(n: int) -> list[str]:
    """Items that one comparison needs, beside the fixed number that decides with the same power."""
    lines = [
        "One comparison, a look after every item: items until it is decided, beside the fixed number that decides with the same power.",
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
