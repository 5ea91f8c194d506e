"""Two logged runs on the same items, split by difficulty: `junkdna compare` as a library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from difficulty.cut.axes import Item, parse_rule
from difficulty.cut.items import item_of_sample
from difficulty.cut.tiers import MIN_ITEMS, Tier, TierAssignment, assign_tiers, largest_bins
from difficulty.errors import UsageError, did_you_mean
from difficulty.runs.direction import scale
from difficulty.runs.metrics import are_log_likelihoods, choose, scale_of
from difficulty.runs.read import read_runs
from difficulty.runs.same import (
    different_prompts,
    different_settings,
    different_versions,
    require_same,
    tasks_without_prompts,
    unknown_prompts,
)
from difficulty.runs.table import SCALE, WEIGHT, some
from difficulty.stats.clusters import linked_codes
from difficulty.stats.flips import Flips, flips
from difficulty.stats.mean import Scale
from difficulty.stats.paired import paired_difference
from difficulty.stats.paired_loss import paired_loss
from difficulty.stats.result import Estimate
from difficulty.text import interval_text, p_text
from junkdna_harness.presentation.console import columns
from junkdna_harness.tiers.show import number


@dataclass(frozen=True)
class Row:
    """One tier, or all items, of one task.

    tier: number and score range, None for all. first, second: the metric in the two runs, perplexities and bits in their own
    units. difference: second - first over the same items, with its 95 % interval. flips: right -> wrong and back, None where
    the metric is not right or wrong.
    """

    task: str
    metric: str
    tier: Tier | None
    first: float
    second: float
    difference: Estimate
    flips: Flips | None


@dataclass(frozen=True)
class Side:
    """One of the two runs: where it was read, and its id."""

    folder: str
    run: str


@dataclass(frozen=True)
class Comparison:
    """Everything that `junkdna compare` prints."""

    run_a: Side
    run_b: Side
    by: str | None
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it: numbers that are not finite (no interval, a perplexity beyond all numbers) are null."""
        whole: dict[str, Any] = _finite(
            {
                "schema": 1,
                "run_a": asdict(self.run_a),
                "run_b": asdict(self.run_b),
                "by": self.by,
                "rows": [asdict(row) for row in self.rows],
                "notes": list(self.notes),
            }
        )
        return whole


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


@dataclass(frozen=True)
class Split:
    """How items are split: the rule's name, and the options of `assign_tiers`."""

    by: str | None = None
    bins: int | None = None
    min_items: int = MIN_ITEMS
    cuts: Sequence[float] | None = None
    order: Sequence[str] | None = None


@dataclass(frozen=True)
class _Pair:
    """The same items of one task in both runs, arrays of shape (n_items,). `scale` and `weights` as in `paired_loss`."""

    task: str
    metric: str
    items: list[str]
    clusters: np.ndarray = field(repr=False)
    first: np.ndarray = field(repr=False)
    second: np.ndarray = field(repr=False)
    scale: Scale = "mean"
    weights: np.ndarray | None = field(default=None, repr=False)


def compare_runs(
    folder_a: str | Path,
    folder_b: str | Path,
    split: Split | None = None,
    *,
    tasks: Sequence[str] = (),
    metric: str | None = None,
    runs: tuple[str | None, str | None] = (None, None),
    labels: Sequence[str] = (),
    allow_different_prompts: bool = False,
) -> Comparison:
    """The two runs item by item, for each task that both logged, in all and by tier of `split.by`.

    A task that cannot be split by the rule, or holds other items in the two runs, is told in a note; when it is the only
    one, or was named in `tasks`, that is an error. `runs` names a run where a folder holds several.

    Raises:
        UsageError: the runs have no task in common, were asked other prompts, or the rule splits none of the tasks.
    """
    split = split or Split()
    rule = parse_rule(split.by) if split.by else None
    read = [read_runs(f, labels=labels, keep=item_of_sample if rule else None) for f in (folder_a, folder_b)]
    sides = [
        Side(str(f), r.one(n, o))
        for f, r, n, o in zip((folder_a, folder_b), read, runs, ("--run-a", "--run-b"), strict=True)
    ]
    tables = [r.rows(side.run) for r, side in zip(read, sides, strict=True)]
    notes = [note for r in read for note in r.warnings]
    chosen = _common(tables, sides, tasks)
    alone = sorted({t for table in tables for t in table["task"].unique()} - set(chosen)) if not tasks else []
    if alone:
        notes.append(f"only one of the two runs has {some(alone)}: not compared.")
    tables = [table[table["task"].isin(chosen)] for table in tables]
    versions = {f"{letter}": r.versions(s.run) for letter, r, s in zip("AB", read, sides, strict=True)}
    shared = {side: {t: v for t, v in found.items() if t in chosen} for side, found in versions.items()}
    settings = {letter: r.settings(s.run) for letter, r, s in zip("AB", read, sides, strict=True)}
    problems = (
        different_versions(shared),
        different_prompts(*tables),
        different_settings(settings, tasks_without_prompts(*tables)),
    )
    notes += (*require_same(problems, allow_different_prompts), *unknown_prompts(*tables))
    pairs = _paired(tables, sides, metric, notes)
    rows: list[Row] = []
    for pair in pairs:
        rows.append(_row(pair, None, np.arange(len(pair.items))))
        if rule is None:
            continue
        try:
            kept: Mapping[str, Item] = read[0].kept.get((sides[0].run, pair.task), {})
            scores = {item: rule.score(_item(kept, item, sides[0])) for item in pair.items}
            assignment = _assign(scores, split, notes, pair.task)
        except UsageError as error:
            if len(pairs) == 1 or tasks:
                raise
            notes.append(f"{pair.task} is not split by {split.by}: {error}")
            continue
        place = {item: i for i, item in enumerate(pair.items)}
        for tier in assignment.tiers:
            rows.append(_row(pair, tier, np.array([place[item] for item in assignment.items(tier.number)])))
    if rule is not None and all(row.tier is None for row in rows):
        raise UsageError(f"no task can be split by {split.by!r}: {notes[-1]}")
    return Comparison(sides[0], sides[1], split.by, tuple(rows), tuple(dict.fromkeys(notes)))


def _common(tables: Sequence[pd.DataFrame], sides: Sequence[Side], tasks: Sequence[str]) -> list[str]:
    """The tasks to compare: those named, or all that both runs have."""
    having = [list(dict.fromkeys(table["task"])) for table in tables]
    for task in tasks:
        for names, side in zip(having, sides, strict=True):
            if task not in names:
                raise UsageError(
                    f"{side.folder!r} has no samples of {task!r}; it has {some(names)}.{did_you_mean(task, names)}"
                )
    chosen = list(tasks) or [task for task in having[0] if task in set(having[1])]
    if not chosen:
        raise UsageError(
            f"{sides[0].folder!r} has {some(having[0])} and {sides[1].folder!r} has {some(having[1])}: no task in common. "
            "Evaluate both on the same tasks."
        )
    return chosen


def _paired(
    tables: Sequence[pd.DataFrame], sides: Sequence[Side], metric: str | None, notes: list[str]
) -> list[_Pair]:
    """Each task's items in both runs, by one metric.

    Raises:
        UsageError: the runs hold other items of a task.
    """
    both = pd.concat(
        [table.assign(run=letter) for letter, table in zip("AB", tables, strict=True)], ignore_index=True
    )
    judged = choose(both, metric)
    notes += judged.notes
    sides_of = [_by_task(judged.rows[judged.rows["run"] == letter]) for letter in "AB"]
    found = []
    for task, a in sides_of[0].items():
        b = sides_of[1][task]
        _same_items(a.items, b.items, sides, task)
        place = {item: i for i, item in enumerate(b.items)}
        at = np.array([place[item] for item in a.items])
        metric = judged.metrics[task]
        read = _same_scale(a, b, at, task, metric)
        clusters = linked_codes(a.clusters.tolist(), b.clusters[at].tolist())
        found.append(_Pair(task, metric, a.items, clusters, a.values, b.values[at], read, a.weights))
    if any(pair.scale != "mean" for pair in found):
        notes.append(
            "perplexities and bits are those of all items together, not means of items; lower is better, so B - A above 0 is a loss."
        )
    return found


@dataclass(frozen=True)
class _Scored:
    """What one run scored on the items of one task, arrays of shape (n_items,)."""

    items: list[str]
    values: np.ndarray
    clusters: np.ndarray
    scale: Scale
    weights: np.ndarray | None


def _by_task(rows: pd.DataFrame) -> dict[str, _Scored]:
    """Task -> what was scored. Plain arrays: slicing a table for each of thousands of tasks takes long."""
    items, clusters = rows["item_id"].to_numpy(dtype=object), rows["cluster_id"].to_numpy(dtype=str)
    values = rows["value"].to_numpy(dtype=float)
    given = rows[WEIGHT].to_numpy(dtype=float) if WEIGHT in rows else None
    special = _special(rows)
    found = {}
    for name, at in rows.groupby("task", sort=False).indices.items():
        task = str(name)
        read: Scale = "mean"
        if task in special:
            part = rows.iloc[at]
            read = scale_of(part)
            if are_log_likelihoods(part):
                raise UsageError(
                    f"task {task!r} has a {part['metric'].iloc[0]} of 0 or less, which no perplexity is: its items seem to be "
                    "log-likelihoods. Give them as negative log-likelihoods with a column weight."
                )
        weights = None if given is None or np.isnan(given[at]).all() else np.nan_to_num(given[at], nan=1.0)
        found[task] = _Scored(list(items[at]), values[at], clusters[at], read, weights)
    return found


def _special(rows: pd.DataFrame) -> set[str]:
    """The tasks whose metric may be no mean of items."""
    odd = rows["metric"].isin([name for name in rows["metric"].unique() if scale(str(name), True) != "mean"])
    if SCALE in rows:
        odd |= rows[SCALE].notna() & (rows[SCALE] != "mean")
    return {str(task) for task in rows.loc[odd, "task"].unique()}


def _same_scale(a: _Scored, b: _Scored, at: np.ndarray, task: str, metric: str) -> Scale:
    """The scale of the metric in both runs.

    Raises:
        UsageError: one run logged it in another way, or other weights for the same items.
    """
    one, other = a.weights is None, b.weights is None
    if a.scale != b.scale or one != other:
        raise UsageError(
            f"{metric} of task {task!r} is logged in another way in the two runs (with and without weights, or units), so that they "
            "do not compare. Evaluate both with the same version of lm-eval."
        )
    if (
        a.weights is not None
        and b.weights is not None
        and not np.allclose(a.weights, b.weights[at], rtol=1e-6)
    ):
        raise UsageError(
            f"items of task {task!r} have other weights in the two runs: their words or bytes are counted differently. "
            "Evaluate both with the same version of the task."
        )
    return a.scale


def _same_items(first: Sequence[str], second: Sequence[str], sides: Sequence[Side], task: str) -> None:
    a, b = sides
    for here, there, name, other in ((first, second, a, b), (second, first, b, a)):
        known = set(there)
        missing = [item for item in here if item not in known]
        if missing:
            raise UsageError(
                f"{len(missing)} of {len(here)} items of {task!r} in {name.folder!r} are not in {other.folder!r} "
                f"({some([item[:12] for item in missing])}). Evaluate both on the same data, version and --limit."
            )


def _item(kept: Mapping[str, Item], item: str, side: Side) -> Item:
    if item not in kept:
        raise UsageError(
            f"{side.folder!r} holds no documents, only scores, so items cannot be split by what they ask. "
            "Name an lm-eval folder with samples, or a sweep's folder."
        )
    return kept[item]


def _assign(scores: Mapping[str, Any], split: Split, notes: list[str], task: str) -> TierAssignment:
    """The asked-for tiers; when no number was asked for, 4, or fewer where ties or a small sample do not allow 4."""
    bins = split.bins
    numbers = [score for score in scores.values() if not isinstance(score, str)]
    if bins is None and split.cuts is None and len(numbers) == len(scores) and len(set(numbers)) > 1:
        bins = min(4, largest_bins([float(score) for score in numbers], split.min_items))
        if bins < 2:
            bins = 4  # refused below, in a sentence
        elif bins < 4:
            notes.append(
                f"{task} is split into {bins} tiers, the most that leave {split.min_items} items in each."
            )
    return assign_tiers(scores, bins, split.min_items, cuts=split.cuts, order=split.order)


def _row(pair: _Pair, tier: Tier | None, at: np.ndarray) -> Row:
    a, b = pair.first[at], pair.second[at]
    names, clusters = np.unique(pair.clusters[at], return_inverse=True)
    if pair.scale != "mean" or pair.weights is not None:
        weights = None if pair.weights is None else pair.weights[at]
        moved = paired_loss(a, b, clusters, True, weights, pair.scale)
        p = min(1.0, 2 * min(moved.p_exceeds(0.0), moved.p_below(0.0)))
        difference = Estimate(moved.loss, *moved.bounds(0.025), p, moved.n_items, moved.n_clusters)
        return Row(pair.task, pair.metric, tier, moved.before, moved.after, difference, None)
    binary = bool(np.isin(a, (0.0, 1.0)).all() and np.isin(b, (0.0, 1.0)).all())
    return Row(
        task=pair.task,
        metric=pair.metric,
        tier=tier,
        first=float(a.mean()),
        second=float(b.mean()),
        difference=paired_difference(b, a, clusters if len(names) < len(at) else None),
        flips=flips(a, b) if binary else None,
    )


def comparison_text(found: Comparison) -> str:
    """The table that is printed."""
    lines = [
        f"A  {found.run_a.run}  ({found.run_a.folder})",
        f"B  {found.run_b.run}  ({found.run_b.folder})",
        "",
    ]
    header = ["task", "metric", found.by or "", "items", "A", "B", "B - A", "95 % interval", "lost", "gained", "p"]  # fmt: skip
    body = []
    for row in found.rows:
        d = row.difference
        if row.tier is None:
            span = "all"
        else:
            low, high = number(row.tier.low), number(row.tier.high)
            span = low if low == high else f"{low} to {high}"
        interval = interval_text(d.ci_low, d.ci_high, "+.4f") or "-"
        flipped = [str(row.flips.lost), str(row.flips.gained)] if row.flips else ["-", "-"]
        p = row.flips.p if row.flips else d.p
        body.append(
            [row.task if row.tier is None else "", row.metric if row.tier is None else "", span, str(d.n_items),
             f"{row.first:.4f}", f"{row.second:.4f}", f"{d.estimate:+.4f}" if np.isfinite(d.estimate) else "-", interval, *flipped,
             p_text(p, 4) or "-"]
        )  # fmt: skip
    lines.append(columns(header, body))
    lines.append(
        "\nB - A: mean paired difference over the same items, clustered t interval. lost, gained: right in A and wrong in "
        "B, and back;\np: exact McNemar test, for metrics that are not right or wrong the t test. Not corrected for the "
        "number of rows."
    )
    return "\n".join([*lines, *(f"note: {note}" for note in found.notes)])
