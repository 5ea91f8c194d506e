"""Intervals of means whose truth is known: items in clusters, and metrics with heavy tails as the gate judges them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from difficulty.stats.bootstrap import cluster_sums, interval, resample_counts, weighted_means
from difficulty.stats.paired import paired_interval
from difficulty.stats.paired_loss import paired_loss

ALPHA = 0.05
LIMIT = 0.1  # of unbounded metrics, in their units; bounded ones have 0.02
Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Coverage:
    """Share of 95 % intervals that hold the truth, for a mean loss over items in clusters."""

    clusters: int
    naive: float
    clustered: float
    bootstrap: float


def coverage(n_clusters: int, runs: int, size: int = 5, resamples: int = 400) -> Coverage:
    """Items come in clusters that share half of the variance of their loss; the true mean loss is 0.3."""
    hits = np.zeros(3)
    for run in range(runs):
        g = np.random.default_rng(run)
        codes = np.repeat(np.arange(n_clusters), size)
        before = g.normal(1, 1, n_clusters * size)
        shared = np.repeat(g.normal(0, np.sqrt(0.5), n_clusters), size)
        after = before - 0.3 - shared - g.normal(0, np.sqrt(0.5), n_clusters * size)
        items, grouped = paired_interval(before, after), paired_interval(before, after, codes)
        sums = cluster_sums((before - after)[:, None], codes, n_clusters)
        sizes = np.full(n_clusters, float(size))
        draws = weighted_means(resample_counts(n_clusters, resamples, g), sums, sizes)[:, 0]
        low, high = interval(draws, n_clusters)
        found = ((items.ci_low, items.ci_high), (grouped.ci_low, grouped.ci_high), (low, high))
        hits += [a <= 0.3 <= b for a, b in found]
    return Coverage(n_clusters, *(float(v) for v in hits / runs))


def clustered_lines(runs: int) -> tuple[list[str], bool]:
    """The table of `coverage`, and whether everything is as wanted."""
    lines = [
        f"\n#### Items in clusters of 5 that share half of the variance\n\nCoverage of 95 % intervals of a mean loss, {runs} draws.\n",
        "| clusters | items as if independent | clustered t | cluster bootstrap (expanded percentile) | wanted: 0.95 ± 0.02 |",
        "|---:|---:|---:|---:|---|",
    ]
    good = True
    for c in (coverage(n, runs) for n in (20, 40, 100)):
        met = abs(c.clustered - 0.95) <= 0.02 and abs(c.bootstrap - 0.95) <= 0.02 and c.naive < 0.93
        good = good and met
        mark = "ok" if met else "NOT MET"
        lines.append(f"| {c.clusters} | {c.naive:.3f} | {c.clustered:.3f} | {c.bootstrap:.3f} | {mark} |")
    return lines, good


def _unbounded(loss: Callable[[np.random.Generator, int], np.ndarray]) -> Callable[..., Pair]:
    def draw(g: np.random.Generator, n: int) -> Pair:
        before = g.lognormal(1.0, 1.0, n)
        return before, before - loss(g, n)

    return draw


def _lognormal(g: np.random.Generator, n: int) -> np.ndarray:
    """Mean 0, a long tail above."""
    return g.lognormal(0, 1.5, n) - np.exp(1.5**2 / 2)


def _bounded(g: np.random.Generator, n: int) -> Pair:
    before = g.uniform(0.8, 1.0, n)
    return before, np.where(g.random(n) < 0.02 / 0.9, 0.0, before)


# (what the losses are like, their limit, which is the true mean loss, a draw of n paired scores)
TAILS: tuple[tuple[str, float, Callable[..., Pair]], ...] = (
    ("normal", LIMIT, _unbounded(lambda g, n: LIMIT + g.normal(0, 1, n))),
    ("t3", LIMIT, _unbounded(lambda g, n: LIMIT + g.standard_t(3, n) / np.sqrt(3))),
    ("lognormal, few large losses", LIMIT, _unbounded(lambda g, n: LIMIT + 0.2 * _lognormal(g, n))),
    ("lognormal, few large gains", LIMIT, _unbounded(lambda g, n: LIMIT - 0.2 * _lognormal(g, n))),
    ("1 in 100 loses 10, the others nothing", LIMIT, _unbounded(lambda g, n: 10.0 * (g.random(n) < 0.01))),
    ("between 0 and 1: 1 in 45 loses all", 0.02, _bounded),
)


def tail_lines(runs: int) -> tuple[list[str], bool]:
    """How often the gate's tests are wrong where the true loss is just the limit, and whether that is as wanted."""
    most = ALPHA + 2 * np.sqrt(ALPHA * (1 - ALPHA) / runs)
    lines = [
        "\n#### Heavy tails in the gate\n",
        f"The true mean loss is the limit: shares of {runs} draws in which it is shown to be smaller (a false pass) or larger (a false",
        "failure) at 5 %.\n",
        "| losses | items | false pass | false failure | wanted: ≤ 5 % |",
        "|---|---:|---:|---:|---|",
    ]
    good = True
    for name, limit, draw in TAILS:
        for n in (100, 250, 1000):
            found = [paired_loss(*draw(np.random.default_rng([seed, n]), n)) for seed in range(runs)]
            passed = float(np.mean([loss.p_below(limit) < ALPHA for loss in found]))
            failed = float(np.mean([loss.p_exceeds(limit) < ALPHA for loss in found]))
            met = max(passed, failed) <= most
            good = good and met
            lines.append(f"| {name} | {n} | {passed:.3f} | {failed:.3f} | {'ok' if met else 'NOT MET'} |")
    return lines, good
