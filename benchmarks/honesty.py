"""Are the verdicts honest? Worlds with a known truth, judged many times.

    python benchmarks/honesty.py --runs 200

A world is: 6 families x 4 tiers x 200 items (the size of the default suite), dense and sparsity 0.1 .. 0.9. An item's
margin is its easiness minus the loss of its tier at that sparsity plus noise; an answer is right where the margin is
above 0. What differs between worlds is the loss, and what is logged.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from difficulty.judge.claims.context import Context
from difficulty.judge.fit import judge_panel
from difficulty.judge.panel import Panel
from difficulty.judge.verdicts import POOLED, Claim, Rules
from difficulty.stats import clustered_error, paired_interval

LEVELS = np.round(np.arange(0.1, 1.0, 0.1), 1)
FAMILIES, TIERS, ITEMS = 6, 4, 200
EASINESS, STEP, SPREAD, NOISE = 3.2, 0.6, 1.0, 0.4  # as dense accuracies 0.99, 0.98, 0.92, 0.79 by tier
LOSS = 2.5  # log-odds lost per unit of sparsity by the average tier
RESAMPLES = 400


@dataclass(frozen=True)
class World:
    """`extra`: share of the mean loss that a tier adds. `step`: dense easiness lost a tier. `margins`: are they logged."""

    extra: float = 0.0
    loss: float = LOSS
    step: float = STEP
    easiness: float = EASINESS
    margins: bool = True
    logistic: bool = False
    chance: float = 0.0
    guess_tiers: tuple[int, ...] = ()  # tiers in which the dense model only guesses
    own_tiers: str = ""  # "" given | "self": cut from the judged dense run | "other": from another run of it
    families: int = FAMILIES


def panel_of(world: World, seed: int) -> Panel:
    """A panel drawn from `world`."""
    g = np.random.default_rng(seed)
    n = world.families * TIERS * ITEMS
    family = np.repeat(np.arange(world.families), TIERS * ITEMS)
    tier = np.tile(np.repeat(np.arange(1, TIERS + 1), ITEMS), world.families)
    spread = g.logistic(0, SPREAD * np.sqrt(3) / np.pi, n) if world.logistic else g.normal(0, SPREAD, n)
    easiness = world.easiness - world.step * tier + spread
    loss = world.loss * np.concatenate([[0], LEVELS]) * (1 + world.extra * (tier[:, None] - 2.5))
    margin = easiness[:, None] - loss + g.normal(0, NOISE, loss.shape)
    if world.own_tiers:
        judged_by = margin[:, 0] if world.own_tiers == "self" else easiness + g.normal(0, NOISE, n)
        for f in range(world.families):
            rank = np.argsort(np.argsort(-judged_by[family == f]))
            tier[family == f] = 1 + rank // ITEMS
    right = margin > 0
    guessing = np.isin(tier, world.guess_tiers)
    right = np.where(guessing[:, None], False, right)
    right = right | (g.random(right.shape) < world.chance)
    margin = np.where(guessing[:, None], g.normal(-0.8, 1.0, margin.shape), margin)
    return _panel(
        family,
        tier,
        right.astype(float),
        margin if world.margins else np.full_like(margin, np.nan),
        world.chance,
    )


def _panel(
    family: np.ndarray, tier: np.ndarray, score: np.ndarray, margin: np.ndarray, chance: float
) -> Panel:
    order = np.lexsort((tier, family))
    names = np.array([f"f{v}" for v in family])
    items = pd.DataFrame(
        {
            "task": [f"{f}_t{t}" for f, t in zip(names, tier, strict=True)],
            "item_id": [f"i{v}" for v in range(len(family))],
            "family": names,
            "axis": "simulated",
            "tier": tier,
            "cluster_id": [f"i{v}" for v in range(len(family))],
            "chance": chance,
        }
    ).iloc[order]
    runs = pd.DataFrame(
        {
            "run": ["dense", *(f"magnitude {v:g}" for v in LEVELS)],
            "model": "m",
            "method": ["dense"] + ["magnitude"] * len(LEVELS),
            "level": [0.0, *LEVELS],
            "bits": np.nan,
            "replicate": 0,
            "dense": [True] + [False] * len(LEVELS),
        }
    )
    kl = np.full_like(score, np.nan)
    return Panel(
        "m", items.reset_index(drop=True), runs, score[order], margin[order], kl, ("acc",), score.size
    )


def judge(panel: Panel, seed: int) -> tuple[Context, list[Claim]]:
    """Our verdicts on P1 to P3."""
    return judge_panel(panel, Rules(), {}, ("P1", "P2", "P3"), RESAMPLES, seed, cross_checks=False)


def naive(panel: Panel) -> float:
    """t of the usual analysis: slope of the accuracy lost at sparsity 0.5 on the tier, all tiers, items as they come."""
    tier = panel.items["tier"].to_numpy(dtype=float)
    lost = panel.score[:, 0] - panel.score[:, 5]
    means = np.array([lost[tier == t].mean() for t in range(1, TIERS + 1)])
    errors = np.array([lost[tier == t].std(ddof=1) / np.sqrt((tier == t).sum()) for t in range(1, TIERS + 1)])
    weights = (np.arange(TIERS) - 1.5) / 5
    return float(weights @ means / np.sqrt((weights**2) @ errors**2))


@dataclass(frozen=True)
class Row:
    """One line of the table: shares of runs."""

    world: str
    claim: str
    supported: float
    refuted: float
    inconclusive: float
    naive: str
    wanted: str
    ok: bool


def tally(
    name: str, world: World, runs: int, wanted: str, holds: Callable[[str, dict[str, float]], bool]
) -> list[Row]:
    """Verdict shares (pooled) over `runs` draws of a world; `holds(claim, shares)` says whether that is as wanted."""
    seen: dict[str, list[str]] = {"P1": [], "P2": [], "P3": []}
    ts = []
    for run in range(runs):
        panel = panel_of(world, 1000 * run + 7)
        ts.append(naive(panel))
        for claim in judge(panel, run)[1]:
            if claim.family == POOLED:
                seen[claim.claim].append(claim.verdict.replace("not tested", "inconclusive"))
    rows = []
    for claim, verdicts in seen.items():
        shares = {v: verdicts.count(v) / runs for v in ("supported", "refuted", "inconclusive")}
        found = np.array(ts)
        text = f"{np.mean(found > 1.96):.2f} / {np.mean(found < -1.96):.2f}" if claim == "P2" else ""
        rows.append(
            Row(name, claim, *shares.values(), text, wanted if claim != "P1" else "", holds(claim, shares))
        )
    return rows


def false_support(claims: tuple[str, ...], runs: int) -> Callable[[str, dict[str, float]], bool]:
    """At most 5 % supported, plus two standard errors of the simulation."""
    limit = 0.05 + 2 * np.sqrt(0.05 * 0.95 / runs)
    return lambda claim, shares: claim not in claims or shares["supported"] <= limit


def worlds(runs: int) -> list[Row]:
    """The worlds (a) to (e)."""
    never = false_support(("P2", "P3"), runs)
    rows = tally(
        "(a) null: nothing is lost",
        World(loss=0.0),
        runs,
        "≤ 5 % supported",
        false_support(("P1", "P2", "P3"), runs),
    )
    rows += tally(
        "(a) the same, accuracies only",
        World(loss=0.0, margins=False),
        runs,
        "≤ 5 % supported",
        false_support(("P1", "P2", "P3"), runs),
    )
    rows += tally("(b) equal latent loss, tiers differ", World(), runs, "≤ 5 % supported", never)
    rows += tally(
        "(b) the same, accuracies only", World(margins=False, easiness=2.6), runs, "≤ 5 % supported", never
    )
    rows += tally(
        "(b) the same, logistic items",
        World(margins=False, easiness=2.6, logistic=True),
        runs,
        "≤ 5 % supported",
        never,
    )
    rows += tally(
        "(b) equal loss, equal tiers", World(step=0.0, easiness=1.7), runs, "≤ 5 % supported", never
    )
    for extra in (0.05, 0.1, 0.2, 0.3):
        few = max(runs // 4, 20)
        name = f"(c) logistic items, {extra:g} more loss a tier"
        rows += tally(name, World(extra=extra, logistic=True), few, "power", lambda c, s: True)
        rows += tally(
            f"{name}, accuracies only",
            World(extra=extra, logistic=True, margins=False, easiness=2.6),
            few,
            "power",
            lambda c, s: True,
        )
    rows += tally(
        "(c) reversed: 0.3 less loss a tier",
        World(extra=-0.3),
        max(runs // 4, 20),
        "refuted",
        lambda c, s: c != "P2" or s["refuted"] > 0.9,
    )
    flagged = World(own_tiers="self", step=0.0, easiness=1.7, loss=0.0)
    rows += tally(
        "(d) nothing is lost, tiers cut from the judged run",
        flagged,
        runs,
        "flagged: inconclusive",
        lambda c, s: c == "P1" or s["inconclusive"] == 1,
    )
    rows += tally(
        "(d) equal loss, tiers cut from the judged run",
        World(own_tiers="self", step=0.0, easiness=1.7),
        runs,
        "flagged: inconclusive",
        lambda c, s: c == "P1" or s["inconclusive"] == 1,
    )
    rows += tally(
        "(d) equal loss, tiers cut from another run",
        World(own_tiers="other", step=0.0, easiness=1.7),
        runs,
        "≤ 5 % supported",
        never,
    )
    floor = World(extra=0.2, guess_tiers=(3, 4), chance=0.25, easiness=2.6)
    rows += tally(
        "(e) tiers 3, 4 guess; tier 2 loses 0.2 more",
        floor,
        max(runs // 4, 20),
        "not refuted",
        lambda c, s: c != "P2" or s["refuted"] <= 0.05,
    )
    return rows


@dataclass(frozen=True)
class Coverage:
    """Share of 95 % intervals that hold the truth, for a mean loss over items in clusters."""

    clusters: int
    naive: float
    clustered: float
    bootstrap: float


def coverage(n_clusters: int, runs: int, size: int = 5) -> Coverage:
    """(f) items come in clusters that share half of the variance of their loss; the true mean loss is 0.3."""
    from difficulty.stats import cluster_sums, interval, resample_counts, weighted_means

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
        draws = weighted_means(resample_counts(n_clusters, RESAMPLES, g), sums, sizes)[:, 0]
        low, high = interval(draws, n_clusters)
        assert clustered_error(before - after, codes)[1] == n_clusters
        for at, (a, b) in enumerate(
            ((items.ci_low, items.ci_high), (grouped.ci_low, grouped.ci_high), (low, high))
        ):
            hits[at] += a <= 0.3 <= b
    return Coverage(n_clusters, *(float(v) for v in hits / runs))


def report(runs: int) -> tuple[str, bool]:
    """The table in markdown, and whether everything is as wanted."""
    start = time.perf_counter()
    rows = worlds(runs)
    covered = [coverage(g, 10 * runs) for g in (20, 40, 100)]
    lines = [
        "### Are the verdicts honest?\n",
        f"`python benchmarks/honesty.py --runs {runs}`\n",
        f"{FAMILIES} families x {TIERS} tiers x {ITEMS} items, sparsity 0.1 .. 0.9, {RESAMPLES} resamples, {runs} draws of each world",
        "(a quarter of them for (c) and (e)). Shares of pooled verdicts. Naive: share of draws in which a t test of the accuracy lost at",
        "sparsity 0.5 on the tier says that harder / easier tiers lose more.\n",
        "| world | claim | supported | refuted | inconclusive | naive harder / easier | wanted | |",
        "|---|---|---:|---:|---:|---:|---|---|",
    ]
    for r in rows:
        mark = "ok" if r.ok else "NOT MET"
        lines.append(
            f"| {r.world} | {r.claim} | {r.supported:.3f} | {r.refuted:.3f} | {r.inconclusive:.3f} | {r.naive} | {r.wanted} | {mark} |"
        )
    ok = all(r.ok for r in rows)
    lines += [
        f"\n(f) Coverage of 95 % intervals of a mean loss, items in clusters of 5 that share half of the variance, {10 * runs} draws:\n",
        "| clusters | items as if independent | clustered t | cluster bootstrap (expanded percentile) | wanted: 0.95 ± 0.02 |",
        "|---:|---:|---:|---:|---|",
    ]
    for c in covered:
        good = abs(c.clustered - 0.95) <= 0.02 and abs(c.bootstrap - 0.95) <= 0.02 and c.naive < 0.93
        ok = ok and good
        lines.append(
            f"| {c.clusters} | {c.naive:.3f} | {c.clustered:.3f} | {c.bootstrap:.3f} | {'ok' if good else 'NOT MET'} |"
        )
    lines.append(f"\nTook {time.perf_counter() - start:.0f} s.")
    return "\n".join(lines) + "\n", ok


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    text, ok = report(arguments.runs)
    print(text)
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(text, encoding="utf-8")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
