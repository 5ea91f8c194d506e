"""How often the gate is wrong: simulated comparisons of two runs on a suite like the default one.

Six families of four tiers with 250 items each (options: multiple choice with a chance level). The baseline's
score falls from 0.97 on tier 1 to 0.85 on tier 4. The new run differs from it in two ways: noise flips a share of
the items both ways without changing the mean ("discordance"), and a true loss turns right answers into wrong ones.

    python benchmarks/gate.py --n 1000            # over an hour on one core
    python benchmarks/gate.py --n 1000 --tails    # metrics without a limit: minutes
    python benchmarks/gate.py --n 1000 --joint    # policies of 1 to 100 comparisons: minutes; --rules 35 does one of them
    python benchmarks/gate.py --n 1000 --sequential   # judged after every batch: some minutes; with --tails, metrics without a limit
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import Counter

import numpy as np
from gate_joint import joint
from gate_sequential import sequential, unbounded
from gate_suite import FAMILIES, ITEMS, TAILS, TIERS, everywhere, pair

from difficulty.stats import paired_loss
from junkdna_harness.gate import Limits, check
from junkdna_harness.gate.policy import By

NULL, EXACTLY, FIVE = everywhere(0.0), everywhere(0.02), everywhere(0.05)
ONE_FAMILY = {(0, t): 0.05 for t in TIERS}
HARDEST = {(f, 4): 0.05 for f in range(FAMILIES)}
SCENARIOS: list[tuple[str, dict[tuple[int, int], float], By, tuple[float, ...]]] = [
    ("none (null)", NULL, "tier", (0.0, 0.005, 0.01, 0.02, 0.05)),
    ("none (null)", NULL, "family", (0.01, 0.02, 0.05)),
    ("none (null)", NULL, "overall", (0.05,)),
    ("exactly the limit, 2 points everywhere", EXACTLY, "tier", (0.0, 0.02, 0.05)),
    ("5 points everywhere", FIVE, "tier", (0.0, 0.02, 0.05)),
    ("5 points in one family", ONE_FAMILY, "tier", (0.0, 0.02, 0.05)),
    ("5 points in the hardest tier of every family", HARDEST, "tier", (0.0, 0.02, 0.05)),
    ("10 points in one tier of one family", {(0, 4): 0.10}, "tier", (0.0, 0.02, 0.05)),
]


def tails(n: int) -> list[str]:
    """The share of runs that pass although their loss lies at the limit, for items with long tails."""
    lines = [
        "## Gate: unbounded metrics with the loss at the limit",
        "",
        f"{n:,} draws per cell, error rate 5 %; not met: above it by more than two standard errors.",
        "",
        "| items' loss | items | passes | |",
        "|:--|--:|--:|:--|",
    ]
    most = 0.05 + 2 * math.sqrt(0.05 * 0.95 / n)
    for name, draw in TAILS.items():
        for items in (200, 1000):
            g = np.random.default_rng(20251125)
            losses = (paired_loss(5 + draw(g, items), np.full(items, 4.0), bounded=False) for _ in range(n))
            share = sum(loss.p_below(1.0) < 0.05 for loss in losses) / n
            lines.append(
                f"| {name} | {items:,} | {100 * share:.1f} % | {'' if share <= most else 'not met'} |"
            )
            print(lines[-1], file=sys.stderr, flush=True)
    return [*lines, "", f"`python benchmarks/gate.py --n {n} --tails`"]


def main() -> None:
    """Simulate and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--n", type=int, default=1000, help="comparisons per row")
    parser.add_argument(
        "--tails", action="store_true", help="metrics without a limit, in place of right-or-wrong items"
    )
    parser.add_argument("--joint", action="store_true", help="the joint decision of policies")
    parser.add_argument("--rules", type=int, choices=(1, 5, 35, 100), help="only this policy of --joint")
    parser.add_argument(
        "--sequential",
        action="store_true",
        help="judged after every batch, by evidence that holds at any time",
    )
    options = parser.parse_args()
    if options.joint:
        print("\n".join(joint(options.n, options.rules)))
        return
    if options.sequential:
        print("\n".join(unbounded(options.n) if options.tails else sequential(options.n)))
        return
    if options.tails:
        print("\n".join(tails(options.n)))
        return
    start = time.time()
    lines = [
        "## Gate: how often it is wrong",
        "",
        f"{options.n:,} simulated comparisons per row: {FAMILIES} families x {len(TIERS)} tiers x {ITEMS} items, "
        "`--max-drop 0.02`, error rate 5 %. Discordance: share of items that flip both ways by noise alone.",
        "",
        "| true loss | judged by | discordance | pass | fail | inconclusive |",
        "|:--|:--|--:|--:|--:|--:|",
    ]
    for name, loss, by, noises in SCENARIOS:
        for noise in noises:
            rng = np.random.default_rng(20240708)
            seen = Counter(
                check(*pair(rng, loss, noise), Limits(max_drop=0.02, by=by)).verdict for _ in range(options.n)
            )
            shares = " | ".join(
                f"{100 * seen[v] / options.n:.1f} %" for v in ("pass", "fail", "inconclusive")
            )
            lines.append(f"| {name} | {by} | {100 * noise:g} % | {shares} |")
            print(lines[-1], file=sys.stderr, flush=True)
    lines += [
        "",
        f"`python benchmarks/gate.py --n {options.n}`, {time.time() - start:.0f} s on one core. A pass asks for evidence in "
        "each comparison (35 by tier, 11 by family), so 250 items per tier cannot pass a model that flips one item in a "
        "hundred by noise alone: give more items, a wider limit, or judge `--by family`.",
    ]
    print("\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
