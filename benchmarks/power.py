"""Are comparisons decided as often as `junkdna power` and "inconclusive" promise? Draws of the promised number of items.

Right-or-wrong pairs: every limit, discordance and loss; clusters of four items of which half fare alike in every second cluster; scores
between 0 and 1; unbounded metrics. The promise is made for the true distribution: for the last three from a million items of it.

    python benchmarks/power.py --part counts     # a minute
    python benchmarks/power.py --part others     # some ten minutes; --of 1/4 ... 4/4 does a part of it
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np

from difficulty.stats.paired_loss import PairedLoss, paired_loss
from difficulty.stats.power import Claim, items_for
from difficulty.stats.tango import binary_tails

LIMITS = (0.02, 0.05)
DISCORDANCES = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1)
LOSSES = (0.0, 0.01, 0.04, 0.05, 0.1)
ALPHA = 0.05
POWERS = (0.8, 0.95)
WANTED = {0.8: (0.78, 0.86), 0.95: (0.93, 0.98)}
SEEN = 1_000_000  # items of the truth from which a promise for other metrics is made
Draw = Callable[[np.random.Generator, int], PairedLoss]


def mark(share: float, wanted: float, draws: int) -> str:
    """What is said of a share decided: within the band, more than was promised, or less by more than two standard errors."""
    low, high = WANTED[wanted]
    error = math.sqrt(wanted * (1 - wanted) / draws)
    if share < min(low, wanted - 2 * error):
        return "NOT MET"
    return "more" if share > max(high, wanted + 2 * error) else ""


def counts_cells() -> Iterator[tuple[float, float, float, Claim, float]]:
    """(limit, discordance, loss, claim, alpha) of all cells whose loss lies off the limit."""
    for limit in LIMITS:
        for loss in LOSSES:
            if loss == limit:
                continue
            for discordance in DISCORDANCES:
                if loss < limit:
                    yield limit, discordance, loss, "pass", ALPHA
                else:
                    yield limit, discordance, loss, "fail", ALPHA
                    yield limit, discordance, loss, "fail", ALPHA / 35


def counts_table(draws: int) -> list[str]:
    """Right-or-wrong pairs."""
    lines = [
        "| limit | discordance | true loss | decision | level | items for .80 | decided | items for .95 | decided | |",
        "|--:|--:|--:|:--|:--|--:|--:|--:|--:|:--|",
    ]
    for limit, discordance, loss, claim, alpha in counts_cells():
        lost, gained = loss + discordance / 2, discordance / 2
        cells, marks = [], []
        for wanted in POWERS:
            n = items_for(wanted, lost, gained, limit, alpha, claim)
            assert n is not None
            g = np.random.default_rng(20261126)
            drawn = g.multinomial(n, [lost, gained, 1 - lost - gained], size=draws)
            kinds, times = np.unique(drawn[:, :2], axis=0, return_counts=True)
            p = binary_tails(n, kinds[:, 0], kinds[:, 1], limit, claim == "fail")
            share = float(times[p < alpha].sum() / draws)
            cells += [f"{n:,}", f"{share:.3f}".lstrip("0")]
            marks.append(mark(share, wanted, draws))
        level = "5 %" if alpha == ALPHA else "5 % / 35"
        lines.append(
            f"| {limit:g} | {100 * discordance:g} % | {loss:g} | {claim} | {level} | {' | '.join(cells)} | {', '.join(filter(None, marks))} |"
        )
    return lines


def clusters(loss: float, discordance: float) -> Draw:
    """Clusters of four items; in half of them all fare alike, in the others each by itself: a design effect of 2.5."""

    def draw(g: np.random.Generator, n: int) -> PairedLoss:
        groups = max(n // 4, 1)
        u = np.where(g.random(groups)[:, None] < 0.5, g.random((groups, 1)), g.random((groups, 4))).ravel()
        lost, gained = u < loss + discordance / 2, u > 1 - discordance / 2
        return paired_loss((~gained).astype(float), (~lost).astype(float), np.repeat(np.arange(groups), 4))

    return draw


def scores(loss: float, discordance: float) -> Draw:
    """Scores in [0, 1] of which a share changes by 0.1 to 0.9, both ways but for the loss."""

    def draw(g: np.random.Generator, n: int) -> PairedLoss:
        u, size = g.random(n), g.uniform(0.1, 0.9, n)
        down, up = u < 2 * loss + discordance / 2, u > 1 - discordance / 2
        return paired_loss(np.where(up, 1 - size, 1.0), np.where(down, 1 - size, 1.0))

    return draw


def unbounded(loss: float, tail: str) -> Draw:
    """Losses in nats, normal or lognormal, of standard deviation 0.5."""

    def draw(g: np.random.Generator, n: int) -> PairedLoss:
        if tail == "normal":
            noise = g.normal(0, 0.5, n)
        else:
            noise = 0.5 * (g.lognormal(0, 0.75, n) - math.exp(0.28125)) / 1.1517
        return paired_loss(np.full(n, 3.0), 3 + loss + noise, lower_is_better=True, bounded=False)

    return draw


OTHERS: list[tuple[str, Draw, float, float]] = [
    ("clusters of 4, no loss, 1 % flip", clusters(0.0, 0.01), 0.02, ALPHA),
    ("clusters of 4, no loss, 5 % flip", clusters(0.0, 0.05), 0.02, ALPHA),
    ("clusters of 4, loss 0.01, 2 % flip", clusters(0.01, 0.02), 0.05, ALPHA),
    ("clusters of 4, loss 0.05, 2 % flip", clusters(0.05, 0.02), 0.02, ALPHA),
    ("clusters of 4, loss 0.1, 5 % flip", clusters(0.1, 0.05), 0.02, ALPHA / 35),
    ("scores, no loss, 1 % change", scores(0.0, 0.01), 0.02, ALPHA),
    ("scores, no loss, 5 % change", scores(0.0, 0.05), 0.02, ALPHA),
    ("scores, no loss, 20 % change", scores(0.0, 0.2), 0.02, ALPHA),
    ("scores, loss 0.05, 2 % change", scores(0.05, 0.02), 0.02, ALPHA),
    ("scores, loss 0.05, 10 % change", scores(0.05, 0.1), 0.02, ALPHA / 35),
    ("nats, normal, no loss", unbounded(0.0, "normal"), 0.05, ALPHA),
    ("nats, normal, loss 0.1", unbounded(0.1, "normal"), 0.05, ALPHA / 35),
    ("nats, lognormal, no loss", unbounded(0.0, "lognormal"), 0.05, ALPHA),
    ("nats, lognormal, loss 0.1", unbounded(0.1, "lognormal"), 0.05, ALPHA),
]


def others_table(draws: int, part: tuple[int, int]) -> list[str]:
    """Clusters, scores and unbounded metrics."""
    lines = [
        "| items | limit | decision | level | items for .80 | decided | items for .95 | decided | |",
        "|:--|--:|:--|:--|--:|--:|--:|--:|:--|",
    ]
    for name, draw, limit, alpha in OTHERS[part[0] - 1 :: part[1]]:
        truth = draw(np.random.default_rng(1), SEEN)
        fails = truth.loss > limit
        cells, marks = [], []
        for wanted in POWERS:
            n = _advised(truth, limit, alpha, wanted)
            g = np.random.default_rng(20261126)
            found = (draw(g, n) for _ in range(draws))
            p = np.array([one.p_exceeds(limit) if fails else one.p_below(limit) for one in found])
            share = float((p < alpha).mean())
            cells += [f"{n:,}", f"{share:.3f}".lstrip("0")]
            marks.append(mark(share, wanted, draws))
        level = "5 %" if alpha == ALPHA else "5 % / 35"
        lines.append(
            f"| {name} | {limit:g} | {'fail' if fails else 'pass'} | {level} | {' | '.join(cells)} | {', '.join(filter(None, marks))} |"
        )
        print(lines[-1], file=sys.stderr, flush=True)
    return lines


def _advised(truth: PairedLoss, limit: float, alpha: float, wanted: float) -> int:
    """The advice without its floor of one more item than were seen."""
    n = truth.items_needed(limit, alpha, wanted)
    assert n is not None
    return n


def main() -> None:
    """Simulate and print one table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--part", choices=("counts", "others"), default="counts")
    parser.add_argument("--of", default="1/1", help="which part of the rows of `others`, e.g. 2/4")
    parser.add_argument("--n", type=int, help="draws: 5,000 of counts, 300 of others")
    options = parser.parse_args()
    start = time.time()
    if options.part == "counts":
        lines = counts_table(options.n or 5000)
    else:
        first, parts = map(int, options.of.split("/"))
        lines = others_table(options.n or 300, (first, parts))
    print("\n".join(lines))
    print(f"{time.time() - start:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
