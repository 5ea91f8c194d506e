"""Two logged runs on the same items, split by difficulty: `junkdna compare` as a library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from difficulty.cut.axes import Item, Rule, parse_rule
from difficulty.cut.items import item_of_sample
from difficulty.cut.texts import all_numbers
from difficulty.cut.tiers import MIN_ITEMS, Tier, TierAssignment, assign_tiers, largest_bins
from difficulty.errors import UsageError
from difficulty.runs.direction import bounded
from difficulty.runs.noise import NoiseFloor
from difficulty.runs.read import read_runs
from difficulty.stats.flips import flips
from difficulty.stats.mean import mean_interval
from difficulty.stats.paired import paired_interval
from junkdna_harness.tiers.comparison import Comparison, Named, Row
from junkdna_harness.tiers.pairing import Pair, Side, pair_up


@dataclass(frozen=True)
class Split:
    """How items are split: the rule's name, and the options of `assign_tiers`."""

    by: str | None = None
    bins: int | None = None
    min_items: int = MIN_ITEMS
    cuts: Sequence[float] | None = None
    order: Sequence[str] | None = None


def compare_folders(
    folder_a: str | Path,
    folder_b: str | Path,
    split: Split | None = None,
    *,
    runs: tuple[str | None, str | None] = (None, None),
    labels: Sequence[str] = (),
    **options: Any,
) -> Comparison:
    """`compare_runs` of what two folders (or results files, or tables) hold. `runs` names a run where a place holds several.

    Raises:
        UsageError: nothing to read, several runs and none named, or runs that cannot be compared.
    """
    split = split or Split()
    first = read_runs(folder_a, labels=labels, keep=item_of_sample if split.by else None)
    side = Side(str(folder_a), first.one(runs[0], "--run-a"), first)
    # Two runs of one sweep are read once; what items are split by is taken of the first side alone.
    same = Path(folder_a).resolve() == Path(folder_b).resolve()
    second = first if same else read_runs(folder_b, labels=labels)
    return compare_runs(side, Side(str(folder_b), second.one(runs[1], "--run-b"), second), split, **options)


def compare_runs(
    first: Side,
    second: Side,
    split: Split | None = None,
    *,
    tasks: Sequence[str] = (),
    metric: str | None = None,
    allow_different_prompts: bool = False,
) -> Comparison:
    """The two runs item by item, for each task that both logged, in all and by tier of `split.by`.

    A task that cannot be split by the rule is told in a note; when it is the only one, or was named in `tasks`, that is an
    error. To split, `first.read` must have kept what the rule looks at (`read_runs(..., keep=item_of_sample)`).

    Raises:
        UsageError: the runs have no task in common, were asked other prompts, or the rule splits none of the tasks.
    """
    split = split or Split()
    rule = parse_rule(split.by) if split.by else None
    pairs, notes = pair_up((first, second), tasks, metric, allow_different_prompts)
    noise = _noise_of(first) or _noise_of(second)
    rows: list[Row] = []
    for pair in pairs:
        every = np.arange(len(pair.items))
        rows.append(_marked(_row(pair, None, every), pair, every, noise))
        if rule is None:
            continue
        try:
            rows += _by_tier(pair, first, rule, split, notes, noise)
        except UsageError as error:
            if len(pairs) == 1 or tasks:
                raise
            notes.append(f"{pair.task} is not split by {split.by}: {error}")
    if rule is not None and all(row.tier is None for row in rows):
        raise UsageError(f"no task can be split by {split.by!r}: {notes[-1]}")
    named = [Named(side.folder, side.run) for side in (first, second)]
    return Comparison(named[0], named[1], split.by, tuple(rows), tuple(dict.fromkeys(notes)))


def _noise_of(side: Side) -> NoiseFloor | None:
    """The noise floor of the side's model, where a second evaluation of its dense weights was read with it."""
    return side.read.noise.get(str(side.read.rows(side.run)["model"].iloc[0])) if side.read.noise else None


def _marked(row: Row, pair: Pair, at: np.ndarray, noise: NoiseFloor | None) -> Row:
    """The row with the noise floor of its items, where that is known."""
    floor = None if noise is None else noise.among(pair.task, pair.metric, [pair.items[i] for i in at])
    if floor is None:
        return row
    return replace(row, noise_floor=floor.size, within_noise=floor.within(row.difference.estimate))


def _by_tier(
    pair: Pair, side: Side, rule: Rule, split: Split, notes: list[str], noise: NoiseFloor | None
) -> list[Row]:
    kept: Mapping[str, Item] = side.read.kept.get((side.run, pair.task), {})
    scores = {item: rule.score(_item(kept, item, side)) for item in pair.items}
    assignment = _assign(scores, split, notes, pair.task)
    place = {item: i for i, item in enumerate(pair.items)}
    at = [np.array([place[item] for item in assignment.items(tier.number)]) for tier in assignment.tiers]
    return [
        _marked(_row(pair, tier, places), pair, places, noise)
        for tier, places in zip(assignment.tiers, at, strict=True)
    ]


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
    texts = [score for score in scores.values() if isinstance(score, str)]
    if split.order is None and all_numbers(texts):
        numbers = [float(score) for score in scores.values()]
    else:
        numbers = [score for score in scores.values() if not isinstance(score, str)]
    if bins is None and split.cuts is None and len(numbers) == len(scores) and len(set(numbers)) > 1:
        bins = min(4, largest_bins(numbers, split.min_items))
        if bins < 2:
            bins = 4  # refused below, in a sentence
        elif bins < 4:
            notes.append(
                f"{task} is split into {bins} tiers, the most that leave {split.min_items} items in each."
            )
    found = assign_tiers(scores, bins, split.min_items, cuts=split.cuts, order=split.order)
    notes += [f"{task}: {note}" for note in found.notes]
    return found


def _bounded(pair: Pair) -> bool | None:
    """False where the metric's name, or an item of any tier, says that it can leave [0, 1]."""
    values = np.concatenate([pair.first, pair.second])
    return False if values.min() < 0 or values.max() > 1 else bounded(pair.metric)


def _row(pair: Pair, tier: Tier | None, at: np.ndarray) -> Row:
    a, b = pair.first[at], pair.second[at]
    clusters = pair.clusters[at]
    weights = None if pair.weights is None else pair.weights[at]
    means = [mean_interval(side, clusters, weights, pair.scale).mean for side in (a, b)]
    # B - A: what A loses against B where higher is better, what B loses against A where lower is.
    before, after = (b, a) if pair.scale == "mean" else (a, b)
    difference = paired_interval(before, after, clusters, weights, pair.scale, bounded=_bounded(pair))
    binary = weights is None and bool(np.isin(a, (0.0, 1.0)).all() and np.isin(b, (0.0, 1.0)).all())
    return Row(
        task=pair.task,
        metric=pair.metric,
        tier=tier,
        first=means[0],
        second=means[1],
        difference=difference,
        flips=flips(a, b) if binary else None,
    )
