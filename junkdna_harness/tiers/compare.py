"""Two logged runs on the same items, split by difficulty: `junkdna compare` as a library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from difficulty.cut.axes import parse_rule
from difficulty.cut.tiers import MIN_ITEMS, Tier, TierAssignment, assign_tiers, largest_bins
from difficulty.errors import UsageError
from difficulty.stats.flips import Flips, flips
from difficulty.stats.paired import paired_difference
from difficulty.stats.result import Estimate
from junkdna_harness.tiers.runlog import RunLog, logged_items, read_log, same_items
from junkdna_harness.tiers.show import columns, number


@dataclass(frozen=True)
class Row:
    """One tier, or all items, of one task.

    tier: number and score range, None for all. first, second: mean of the metric in the two runs. difference:
    second - first over the same items, with its 95 % interval. flips: right -> wrong and back, None where the metric
    is not right or wrong.
    """

    task: str
    metric: str
    tier: Tier | None
    first: float
    second: float
    difference: Estimate
    flips: Flips | None


@dataclass(frozen=True)
class Comparison:
    """Everything that `junkdna compare` prints."""

    run_a: RunLog
    run_b: RunLog
    by: str | None
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "schema": 1,
            "run_a": {"folder": self.run_a.folder, "run": self.run_a.run},
            "run_b": {"folder": self.run_b.folder, "run": self.run_b.run},
            "by": self.by,
            "rows": [asdict(row) for row in self.rows],
            "notes": list(self.notes),
        }


def compare_runs(
    folder_a: str,
    folder_b: str,
    by: str | None = None,
    *,
    bins: int | None = None,
    tasks: Sequence[str] = (),
    metric: str | None = None,
    min_items: int = MIN_ITEMS,
    cuts: Sequence[float] | None = None,
    order: Sequence[str] | None = None,
) -> Comparison:
    """The two runs item by item, for each task that both logged, in all and by tier of `by`.

    A task that cannot be split by the rule is compared as a whole, with a note that says why; when it is the only one,
    or was named in `tasks`, that is an error.

    Raises:
        UsageError: the runs have no task in common, other items, or the rule splits none of the tasks.
    """
    rule = parse_rule(by) if by else None
    run_a, run_b = read_log(folder_a), read_log(folder_b)
    chosen = list(tasks) or [task for task in run_a.tasks if task in run_b.tasks]
    if not chosen:
        raise UsageError(
            f"{folder_a!r} has {', '.join(run_a.tasks)} and {folder_b!r} has {', '.join(run_b.tasks)}: no task in common. "
            "Evaluate both on the same tasks."
        )
    rows: list[Row] = []
    notes: list[str] = []
    for task in chosen:
        name = metric or run_a.default_metric(task)
        first, second = run_a.scores(task, name), run_b.scores(task, name)
        same_items(first, second, (folder_a, folder_b), task)
        rows.append(_row(task, name, None, list(first), first, second))
        if rule is None:
            continue
        try:
            items = logged_items(folder_a, task)
            scores = {key: rule.score(items[key]) for key in first}
            assignment = _assign(scores, bins, min_items, cuts, order, notes, task)
        except UsageError as error:
            if len(chosen) == 1 or tasks:
                raise
            notes.append(f"{task} is not split by {by}: {error}")
            continue
        rows += [
            _row(task, name, tier, assignment.items(tier.number), first, second) for tier in assignment.tiers
        ]
    if rule is not None and all(row.tier is None for row in rows):
        raise UsageError(f"no task can be split by {by!r}: {notes[0]}")
    return Comparison(run_a, run_b, by, tuple(rows), tuple(notes))


def _assign(
    scores: Mapping[str, Any],
    bins: int | None,
    min_items: int,
    cuts: Sequence[float] | None,
    order: Sequence[str] | None,
    notes: list[str],
    task: str,
) -> TierAssignment:
    """The asked-for tiers; when no number was asked for, 4, or fewer where ties or a small sample do not allow 4."""
    numbers = [score for score in scores.values() if not isinstance(score, str)]
    if bins is None and cuts is None and len(numbers) == len(scores) and len(set(numbers)) > 1:
        bins = min(4, largest_bins([float(score) for score in numbers], min_items))
        if bins < 2:
            bins = 4  # refused below, in a sentence
        elif bins < 4:
            notes.append(f"{task} is split into {bins} tiers, the most that leave {min_items} items in each.")
    return assign_tiers(scores, bins, min_items, cuts=cuts, order=order)


def _row(
    task: str,
    metric: str,
    tier: Tier | None,
    members: Sequence[str],
    first: Mapping[str, float],
    second: Mapping[str, float],
) -> Row:
    a = np.array([first[key] for key in members])
    b = np.array([second[key] for key in members])
    # copies of one document ("hash#2") are one cluster
    names, clusters = np.unique([key.partition("#")[0] for key in members], return_inverse=True)
    binary = bool(np.isin(a, (0.0, 1.0)).all() and np.isin(b, (0.0, 1.0)).all())
    return Row(
        task=task,
        metric=metric,
        tier=tier,
        first=float(a.mean()),
        second=float(b.mean()),
        difference=paired_difference(b, a, clusters if len(names) < len(members) else None),
        flips=flips(a, b) if binary else None,
    )


def comparison_text(found: Comparison) -> str:
    """The table that is printed."""
    lines = [
        f"A  {found.run_a.run}  ({found.run_a.folder})",
        f"B  {found.run_b.run}  ({found.run_b.folder})",
        "",
    ]
    header = [
        "task",
        "metric",
        found.by or "",
        "items",
        "A",
        "B",
        "B - A",
        "95 % interval",
        "lost",
        "gained",
        "p",
    ]
    body = []
    for row in found.rows:
        d = row.difference
        if row.tier is None:
            span = "all"
        else:
            low, high = number(row.tier.low), number(row.tier.high)
            span = low if low == high else f"{low} to {high}"
        interval = f"{d.ci_low:+.4f} to {d.ci_high:+.4f}" if np.isfinite(d.ci_low) else "-"
        flipped = [str(row.flips.lost), str(row.flips.gained)] if row.flips else ["-", "-"]
        p = row.flips.p if row.flips else d.p
        body.append(
            [row.task if row.tier is None else "", row.metric if row.tier is None else "", span, str(d.n_items),
             f"{row.first:.4f}", f"{row.second:.4f}", f"{d.estimate:+.4f}", interval, *flipped,
             f"{p:.3g}" if np.isfinite(p) else "-"]
        )  # fmt: skip
    lines.append(columns(header, body))
    lines.append(
        "\nB - A: mean paired difference over the same items, clustered t interval. lost, gained: right in A and wrong in "
        "B, and back;\np: exact McNemar test, for metrics that are not right or wrong the t test. Not corrected for the "
        "number of rows."
    )
    return "\n".join([*lines, *(f"note: {note}" for note in found.notes)])
