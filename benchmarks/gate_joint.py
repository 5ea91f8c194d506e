"""How often the joint decision of a policy is wrong, with 1, 5, 35 and 100 comparisons (`python benchmarks/gate.py --joint`).

The suite is that of `gate.py`. The mixed policy limits what may be lost overall (0.02), by tier (0.03), by family (0.05) and by cell (0.1);
with 100 comparisons also shares of flips (0.06, by cell 0.1) and, for each family and each of five parts of its items, relative drops
(0.1). A model is worse at one place: its loss (or its flips) lies at, or half over, the limit of one comparison, drawn anew for every
model, and nothing is lost elsewhere.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from gate_suite import CELLS, DENSE, FAMILIES, ITEMS, TIERS, Loss, everywhere, pair, suite

from difficulty.stats.multiple import holm
from difficulty.stats.tango import binary_tails
from junkdna_harness.gate import Policy, Rule, RunItems, check
from junkdna_harness.gate.planned import PlannedComparison, plan_comparisons

TIER, FAMILY, PART = ("tier", "*"), ("family", "*"), ("part", "*")
PARTS = tuple(str(i % 5) for i in range(ITEMS))
DROPS = (Rule(0.02), Rule(0.03, where=(TIER,)), Rule(0.05, where=(FAMILY,)), Rule(0.1, where=(FAMILY, TIER)))
MORE = (
    Rule(max_flips=0.06),
    Rule(max_flips=0.06, where=(TIER,)),
    Rule(max_flips=0.06, where=(FAMILY,)),
    Rule(max_flips=0.1, where=(FAMILY, TIER)),
    Rule(max_relative_drop=0.1, where=(FAMILY, PART)),
)
POLICIES = {1: Policy(DROPS[:1]), 5: Policy(DROPS[:2]), 35: Policy(DROPS), 100: Policy((*DROPS, *MORE))}
CHECKED = (
    10  # models of each row that are judged by the whole of `check`, to see that the counts say the same
)
EVERY = Policy(tuple(replace(rule, max_drop=0.02) for rule in DROPS))


def with_parts(run: RunItems) -> RunItems:
    """The run with a column `part` of five values within every task."""
    return replace(
        run, tasks={key: replace(task, columns={"part": PARTS}) for key, task in run.tasks.items()}
    )


def worse(
    g: np.random.Generator, planned: list[PlannedComparison], times: float, discordance: float
) -> tuple[Loss, float | dict[tuple[int, int], float]]:
    """(loss, discordance) of a model that lies at `times` the limit of one comparison drawn at random."""
    one = planned[int(g.integers(len(planned)))]
    places = {(int(key[6]), int(key[-1])): at for key, at in one.cells.items()}
    if one.kind == "flips":
        return {}, {cell: times * one.limit if cell in places else discordance for cell in CELLS}
    lost = np.zeros(ITEMS)
    loss = {}
    for cell, at in places.items():
        loss[cell] = lost.copy()
        loss[cell][at] = times * one.limit
    return loss, discordance


def joint(n: int, only: int | None = None) -> list[str]:
    """The table of verdicts."""
    lines = [
        "## Gate: the joint decision of a policy",
        "",
        f"{n:,} simulated models per row, error rate 5 % each way (more than 5 % by two standard errors is marked): {FAMILIES} families x {len(TIERS)} tiers x {ITEMS} items.",
        "",
        "| comparisons | model | discordance | pass | fail | inconclusive | wanted |",
        "|--:|:--|--:|--:|--:|--:|:--|",
    ]
    for number, policy in POLICIES.items():
        if only is not None and number != only:
            continue
        base = with_parts(
            suite({cell: np.ones(ITEMS) * (np.arange(ITEMS) < ITEMS * DENSE[cell[1]]) for cell in CELLS})
        )
        planned = plan_comparisons(base, policy)
        assert len(planned) == number, len(planned)
        noisy = 0.05 if number < 100 else 0.03  # clear of the limits of flips
        for name, times, discordance in (
            ("equal", 0.0, 0.01),
            ("equal", 0.0, noisy),
            ("at one limit", 1.0, 0.01),
            ("at one limit", 1.0, noisy),
            ("half over one limit", 1.5, 0.02),
        ):
            lines.append(_row(n, number, policy, planned, name, times, discordance))
            print(lines[-1], file=sys.stderr, flush=True)
        if number == 35:
            lines.append(_at_every(n, base))
            print(lines[-1], file=sys.stderr, flush=True)
    option = "" if only is None else f" --rules {only}"
    return [
        *lines,
        "",
        f"`python benchmarks/gate.py --n {n} --joint{option}`",
    ]


def _row(
    n: int, number: int, policy: Policy, planned: list[PlannedComparison], name: str, times: float, discordance: float
) -> str:  # fmt: skip
    g = np.random.default_rng(20261126)
    drawn = (
        pair(g, *(worse(g, planned, times, discordance) if times else ({}, discordance))) for _ in range(n)
    )
    wrong = ("fail",) if times == 0 else ("pass", "fail") if times == 1 else ("pass",)
    return line(n, f"| {number} | {name} | {100 * discordance:g} %", verdicts(drawn, planned, policy), wrong)


def _at_every(n: int, base: RunItems) -> str:
    g = np.random.default_rng(20261126)
    drawn = (pair(g, everywhere(0.02), 0.02) for _ in range(n))
    seen = verdicts(drawn, plan_comparisons(base, EVERY), EVERY)
    return line(n, "| 35 | at every limit (all 0.02) | 2 %", seen, ("pass", "fail"))


def verdicts(
    drawn: Iterable[tuple[RunItems, RunItems]], planned: list[PlannedComparison], policy: Policy
) -> Counter[str]:
    """What `check` says of each (new, baseline), by the counts alone; the first `CHECKED` are judged by `check` itself too."""
    member = members(planned)
    before, moved = [], []
    said: list[str] = []
    for new, old in drawn:
        first, second = (np.concatenate([task.values for task in run.tasks.values()]) for run in (old, new))
        before.append(first @ member / member.sum(axis=0))
        moved.append(np.stack([(first > second) @ member, (first < second) @ member]))
        if len(said) < CHECKED:
            said.append(check(with_parts(new), with_parts(old), policy).verdict)
    lost, gained = np.array(moved)[:, 0], np.array(moved)[:, 1]
    p = np.empty((2, *lost.shape))
    for i, one in enumerate(planned):
        limits = np.array([one.rule.limit(one.kind, float(b[i]), "mean", None) for b in before])
        flips = one.kind == "flips"
        b, c = lost[:, i] + gained[:, i] * flips, gained[:, i] * (not flips)
        for limit in np.unique(limits):
            at = limits == limit
            kinds, which = np.unique(np.stack([b[at], c[at]]).astype(int), axis=1, return_inverse=True)
            for side in (0, 1):
                tails = binary_tails(one.n_items, kinds[0], kinds[1], float(limit), side == 1)
                p[side, at, i] = tails[which.ravel()]
    found = [
        "fail"
        if (holm(above) < policy.alpha).any()
        else "pass"
        if (below < policy.alpha).all()
        else "inconclusive"
        for below, above in zip(p[0], p[1], strict=True)
    ]
    assert found[: len(said)] == said
    return Counter(found)


def members(planned: list[PlannedComparison]) -> np.ndarray:
    """Which comparisons each item is in, shape (items, comparisons), task by task."""
    found = np.zeros((len(CELLS), ITEMS, len(planned)))
    for row, (family, tier) in enumerate(CELLS):
        for i, one in enumerate(planned):
            found[row, one.cells.get(f"family{family}_t{tier}", np.empty(0, dtype=np.intp)), i] = 1
    return found.reshape(-1, len(planned))


def line(n: int, begin: str, seen: Counter[str], wrong: tuple[str, ...]) -> str:
    """A row of shares, marked where one that is an error is above 5 % by more than two standard errors."""
    shares = {verdict: seen[verdict] / n for verdict in ("pass", "fail", "inconclusive")}
    most = 0.05 + 2 * math.sqrt(0.05 * 0.95 / n)
    met = all(shares[verdict] <= most for verdict in wrong)
    cells = " | ".join(f"{100 * share:.1f} %" for share in shares.values())
    return f"{begin} | {cells} | {' and '.join(wrong)} ≤ 5 %{'' if met else ': NOT MET'} |"
