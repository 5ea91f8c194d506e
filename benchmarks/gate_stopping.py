"""How many of a baseline's items a gate asks that stops as soon as it knows: replays of whole evaluations, in many random orders.

    junkdna sweep --tasks difficulty_tiers --methods magnitude --sparsity 0.3,0.5,0.8 --noise-floor -o SWEEP
    python benchmarks/gate_stopping.py "SWEEP::embedded dense" SWEEP::again "SWEEP::embedded magnitude 0.8" --by overall:0.02 family:0.05

Every item was asked once, and its value is stored; a replay asks the walk of `junkdna gate` which items come next, and gives it the stored
values. So an order costs milliseconds, and the shares are those that the command would need. The last columns say what `junkdna check`
decides on all items. `again` is the second evaluation of the dense weights.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import replace
from fnmatch import fnmatchcase

import numpy as np

from difficulty.runs.noise import pool
from difficulty.runs.read import Runs, read_runs
from difficulty.stats.clusters import linked_codes
from junkdna_harness.gate import Limits, RunItems, check, read_run
from junkdna_harness.gate.items import run_items
from junkdna_harness.gate.pairs import pair_items
from junkdna_harness.gate.planned import plan_comparisons
from junkdna_harness.gate.simple import policy_of
from junkdna_harness.gate.walk import Compared, Items, Walk, walk_through

AGAIN = "again"


def items_of(baseline: RunItems, new: RunItems, limits: Limits) -> tuple[Items, list[Compared], np.ndarray]:
    """All items of both runs, the comparisons on them, and what each scored in the new run."""
    pairs = {name: pair_items(new.tasks[name], old, None)[0] for name, old in baseline.tasks.items()}
    named = [pair.clusters for pair in pairs.values()]
    codes = linked_codes([c for old, _ in named for c in old], [c for _, new in named for c in new])
    starts = dict(zip(pairs, np.cumsum([0, *(len(p.at_old) for p in pairs.values())])[:-1], strict=True))
    comparisons = []
    for one in plan_comparisons(baseline, policy_of(limits, baseline)):
        at = np.concatenate([starts[name] + where for name, where in one.cells.items()])
        noise = pool(baseline.tasks[name].noise for name in one.cells)
        within = None if noise is None else noise.within
        comparisons.append(
            Compared(
                at,
                one.limit,
                one.kind,
                one.scale,
                one.higher_is_better,
                one.rule.critical,
                one.bounded,
                within,
            )
        )
    before, after = (
        np.concatenate([getattr(p, side) for p in pairs.values()]) for side in ("before", "after")
    )
    return Items(before, codes), comparisons, after


def run_of(place: str) -> RunItems:
    """The run at `FOLDER` or `FOLDER::RUN`; `again` is the second evaluation of the dense weights."""
    folder, _, name = place.partition("::")
    if folder not in _read:
        _read[folder] = read_runs(folder)
    found = _read[folder]
    if name != AGAIN:
        return read_run(found, name or None)
    if found.again is None:
        raise SystemExit(
            "there is no second evaluation of the dense weights in this folder (sweep --noise-floor)"
        )
    return run_items(found.again, versions=found.versions(found.names[0]))


_read: dict[str, Runs] = {}


def replay(items: Items, comparisons: list[Compared], after: np.ndarray, orders: int) -> str:
    """The cells of a table's row: verdicts, shares of items, looks."""
    shares, looks = [], []
    verdicts: Counter[str] = Counter()
    for seed in range(orders):
        walk = walk_through(Walk(items, comparisons, seed), lambda batch: after[batch])
        shares.append(walk.n_asked / walk.n_all)
        looks.append(walk.judge.looks)
        verdicts[walk.judge.verdict] += 1
    low, middle, high = np.quantile(shares, [0.1, 0.5, 0.9])
    told = ", ".join(f"{verdicts[verdict] / orders:.0%}" for verdict in ("pass", "fail", "inconclusive"))
    return f"{told} | {middle:.1%} | {low:.1%} to {high:.1%} | {np.median(looks):.0f}"


def main() -> None:
    """Read the runs, walk through each in every order, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("baseline", help="FOLDER or FOLDER::RUN, of lm_eval or junkdna sweep")
    parser.add_argument("runs", nargs="+", help="the same; FOLDER::again is the second dense evaluation")
    parser.add_argument("--by", nargs="+", default=["overall:0.02", "family:0.05"], help="split:max_drop")
    parser.add_argument("--tasks", nargs="+", default=["*"], help="patterns of the baseline's tasks")
    parser.add_argument("--orders", type=int, default=200)
    options = parser.parse_args()
    baseline = run_of(options.baseline)
    kept = {
        name: task
        for name, task in baseline.tasks.items()
        if any(fnmatchcase(name, pattern) for pattern in options.tasks)
    }
    baseline = replace(baseline, tasks=kept)
    items = sum(len(task.item_ids) for task in kept.values())
    print(f"baseline {baseline.name}, {items:,} items; {options.orders} orders")
    print(
        "| run | by, limit | comparisons | largest loss | items changed | `check` on all | gate: pass, fail, open | items: median | "
        "10 to 90 % of orders | looks |"
    )
    print("|:--|:--|--:|--:|--:|:--|:--|--:|:--|--:|")
    for place in options.runs:
        new = run_of(place)
        other = new.dtype not in (None, baseline.dtype)
        told = (
            f"{new.name}, {AGAIN}"
            if place.endswith(AGAIN)
            else new.name + (f", {new.dtype}" if other else "")
        )
        for by in options.by:
            split, _, drop = by.partition(":")
            limits = Limits(max_drop=float(drop), by=split)
            whole = check(new, baseline, limits)
            items, comparisons, after = items_of(baseline, new, limits)
            worst = max(one.loss.loss for one in whole.comparisons)
            changed = float((items.before != after).mean())
            print(
                f"| {told} | {split}, {drop} | {len(comparisons)} | {worst:+.3f} | {changed:.1%} | {whole.verdict} "
                f"| {replay(items, comparisons, after, options.orders)} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
