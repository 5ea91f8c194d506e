"""The rule of the gate, written down before looking.

For every cell (overall, each tier over all families, each family, each tier of each family) the loss is the
paired difference on the same items, and `limit` is the largest loss allowed.

- **fail**: some cell's loss is shown to exceed its limit (one-sided test at `alpha`, Holm-corrected over
  all cells), or something that the baseline has is missing.
- **pass**: in every cell the loss is shown to stay below the limit (one-sided test at `alpha` each; all of
  them must hold, so this needs no correction: an intersection-union test).
- **inconclusive**: neither; the items that would decide are given.

Nothing is rounded before it is compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from difficulty.errors import UsageError
from difficulty.runs.table import some
from difficulty.stats import holm
from difficulty.stats.paired_loss import PairedLoss, paired_loss
from difficulty.stats.result import Floats
from junkdna_harness.gate.items import RunItems, TaskItems, lower_is_better

Scope = Literal["overall", "across", "family", "tier"]
By = Literal["overall", "family", "tier"]
Verdict = Literal["pass", "fail", "inconclusive"]
EXIT_CODES: Mapping[str, int] = {"pass": 0, "fail": 1, "inconclusive": 3}


@dataclass(frozen=True)
class Limits:
    """How much may be lost: `max_drop` in the metric's units, `max_relative_drop` as a share of the baseline's score.

    With both, the smaller limit of the two holds in each cell. `alpha` is the error rate of each decision.
    `by` is the finest split that is judged.
    """

    max_drop: float | None = 0.02
    max_relative_drop: float | None = None
    alpha: float = 0.05
    lower_is_better: tuple[str, ...] = ()
    by: By = "tier"

    def __post_init__(self) -> None:
        if self.max_drop is None and self.max_relative_drop is None:
            raise UsageError("no limit is set. Give --max-drop, e.g. 0.02, or --max-relative-drop.")
        if self.max_drop is not None and not 0 <= self.max_drop < np.inf:
            raise UsageError(
                f"--max-drop {self.max_drop} is not a loss. Give a number of at least 0, e.g. 0.02 for two points."
            )
        if self.max_relative_drop is not None and not 0 <= self.max_relative_drop < np.inf:
            raise UsageError(
                f"--max-relative-drop {self.max_relative_drop} is not a share. Give a number of at least 0, e.g. 0.05 for 5 %."
            )
        if self.by not in ("overall", "family", "tier"):
            raise UsageError(f"--by {self.by!r} is not a split. Choose from tier, family, overall.")
        if not 0 < self.alpha < 0.5:
            raise UsageError(
                f"--alpha {self.alpha} is not an error rate. Give a number between 0 and 0.5, e.g. 0.05."
            )

    def of(self, before: float) -> float:
        """The limit for a cell where the baseline scored `before`."""
        limits = [] if self.max_drop is None else [self.max_drop]
        if self.max_relative_drop is not None:
            limits.append(self.max_relative_drop * abs(before))
        return min(limits)


@dataclass(frozen=True)
class Cell:
    """The decision in one cell; `family` and `tier` are None where all of them are pooled ("across": one tier of all)."""

    scope: Scope
    family: str | None
    tier: int | None
    metric: str
    loss: PairedLoss
    limit: float
    p_exceeds: float
    p_below: float
    p_holm: float = 1.0
    verdict: Verdict = "inconclusive"

    @property
    def name(self) -> str:
        """What a person calls the cell: `overall`, `addition`, `addition tier 3`."""
        if self.scope == "across":
            return f"tier {self.tier} of all"
        return {"overall": "overall", "family": f"{self.family}"}.get(
            self.scope, f"{self.family} tier {self.tier}"
        )

    def items_to_decide(self, alpha: float) -> int | None:
        """Items at which a loss like this one would be decided; None when that is no sensible number."""
        return self.loss.items_to_decide(self.limit, alpha)


@dataclass(frozen=True)
class Gate:
    """The outcome: `missing` names what the baseline has and the new run has not; `notes` are for reading only."""

    verdict: Verdict
    cells: tuple[Cell, ...]
    missing: tuple[str, ...]
    notes: tuple[str, ...]
    limits: Limits
    new: RunItems = field(repr=False)
    baseline: RunItems = field(repr=False)

    @property
    def exit_code(self) -> int:
        """0 pass, 1 fail, 3 inconclusive."""
        return EXIT_CODES[self.verdict]


def check(new: RunItems, baseline: RunItems, limits: Limits | None = None) -> Gate:
    """Whether `new` lost more against `baseline` than `limits` allow, overall and in every family and tier.

    Raises:
        UsageError: the two runs hold other versions of a task, so that nothing can be paired.
    """
    limits = limits or Limits()
    missing, notes = _missing(new, baseline)
    groups: dict[tuple[str, str, str | None, int | None], list[_Paired]] = {}
    for name, old in baseline.tasks.items():
        if name not in new.tasks:
            continue
        pair, gone, note = _pair(new.tasks[name], old)
        missing += gone
        notes += note
        metric = old.metric
        for key in (
            ("overall", metric, None, None),
            ("across", metric, None, old.tier),
            ("family", metric, old.family, None),
            ("tier", metric, old.family, old.tier),
        ):
            groups.setdefault(key, []).append(pair)
    cells = decide([_cell(key, pairs, limits) for key, pairs in _ordered(groups, limits.by)], limits.alpha)
    verdict: Verdict = "inconclusive"
    if missing or any(cell.verdict == "fail" for cell in cells):
        verdict = "fail"
    elif all(cell.verdict == "pass" for cell in cells):
        verdict = "pass"
    return Gate(verdict, tuple(cells), tuple(missing), tuple(notes), limits, new, baseline)


def decide(cells: list[Cell], alpha: float) -> list[Cell]:
    """The cells with their verdicts: Holm over all cells for a fail, each on its own for a pass."""
    adjusted = holm(np.array([cell.p_exceeds for cell in cells])).tolist()
    decided = []
    for cell, p in zip(cells, adjusted, strict=True):
        verdict: Verdict = "fail" if p < alpha else "pass" if cell.p_below < alpha else "inconclusive"
        decided.append(replace(cell, p_holm=p, verdict=verdict))
    return decided


@dataclass(frozen=True)
class _Paired:
    """The same items before and after; `clusters` is None where every item is its own."""

    before: Floats
    after: Floats
    clusters: tuple[str, ...] | None


def _pair(new: TaskItems, old: TaskItems) -> tuple[_Paired, list[str], list[str]]:
    """The values of the baseline's items in both runs, what is missing of them, and what is worth a note."""
    if new.version is not None and old.version is not None and new.version != old.version:
        raise UsageError(
            f"task {old.task!r} is version {new.version} in the new run and {old.version} in the baseline. "
            "Evaluate both with the same version, or write the baseline again."
        )
    if new.metric != old.metric:
        raise UsageError(
            f"task {old.task!r} is judged by {new.metric} in the new run and {old.metric} in the baseline. "
            "Name one with --metric."
        )
    before, after = _positions(new, old)
    if not before:
        raise UsageError(
            f"none of the {len(old.item_ids)} items of task {old.task!r} in the baseline is in the new run: "
            "their hashes differ, so it is another version of the task. Write the baseline again with this version."
        )
    gone = sorted(set(range(len(old.item_ids))) - set(before)) if len(before) < len(old.item_ids) else []
    named = some((old.item_ids[i] for i in gone), 3)
    missing = [f"{len(gone)} of {len(old.item_ids)} items of {old.task} ({named})"] if gone else []
    extra = len(new.item_ids) - len(before)
    notes = [f"{extra} items of {old.task} are not in the baseline and were not compared"] if extra else []
    alone = old.clusters == old.item_ids
    clusters = None if alone else tuple(f"{old.task}/{old.clusters[i]}" for i in before)
    return _Paired(old.values[before], new.values[after], clusters), missing, notes


def _positions(new: TaskItems, old: TaskItems) -> tuple[list[int], list[int]]:
    """Where the items that both have stand in `old` and in `new`, in the order of `old`."""
    if new.item_ids == old.item_ids and old.id_length is None:
        everything = list(range(len(old.item_ids)))
        return everything, everything
    where = {key: i for i, key in enumerate(new.keys(old.id_length))}
    found = [(i, where[key]) for i, key in enumerate(old.item_ids) if key in where]
    return [i for i, _ in found], [j for _, j in found]


def _missing(new: RunItems, baseline: RunItems) -> tuple[list[str], list[str]]:
    """Families, tiers and tasks that the baseline has and the new run has not, each named at the highest level."""
    families = {task.family for task in new.tasks.values()}
    cells = {(task.family, task.tier) for task in new.tasks.values()}
    missing: dict[str, None] = {}
    for name, task in baseline.tasks.items():
        if name in new.tasks:
            continue
        if task.family not in families:
            missing[f"family {task.family}"] = None
        elif (task.family, task.tier) not in cells:
            missing[f"tier {task.tier} of {task.family} (task {name})"] = None
        else:
            missing[f"task {name}"] = None
    extra = [name for name in new.tasks if name not in baseline.tasks]
    notes = (
        [f"{len(extra)} tasks are not in the baseline and were not compared: {some(extra)}"] if extra else []
    )
    return list(missing), notes


def _ordered(
    groups: dict[tuple[str, str, str | None, int | None], list[_Paired]], by: By
) -> Iterable[tuple[tuple[str, str, str | None, int | None], list[_Paired]]]:
    """Overall, tiers over all families, then each family and its tiers; what is all there is is not repeated."""
    families: dict[str, set[str | None]] = {}
    for scope, metric, family, _ in groups:
        if scope == "family":
            families.setdefault(metric, set()).add(family)
    rank = {"overall": 0, "across": 1, "family": 1, "tier": 2}
    for key in sorted(groups, key=lambda k: (k[1], k[2] or "", rank[k[0]], k[3] or 0)):
        scope, metric, _, _ = key
        if rank[scope] > rank[by] or (rank[scope] == 1 and len(families[metric]) == 1):
            continue
        yield key, groups[key]


def _cell(key: tuple[str, str, str | None, int | None], pairs: list[_Paired], limits: Limits) -> Cell:
    scope, metric, family, tier = key
    loss = paired_loss(
        np.concatenate([p.before for p in pairs]),
        np.concatenate([p.after for p in pairs]),
        _joined(pairs),
        lower_is_better(metric, limits.lower_is_better),
    )
    limit = limits.of(loss.before)
    return Cell(scope, family, tier, metric, loss, limit, loss.p_exceeds(limit), loss.p_below(limit))  # type: ignore[arg-type]


def _joined(pairs: list[_Paired]) -> list[object] | None:
    """The clusters of all pairs; an item without one gets a cluster of its own."""
    if all(pair.clusters is None for pair in pairs):
        return None
    return [
        c
        for n, pair in enumerate(pairs)
        for c in (pair.clusters or ((n, i) for i in range(len(pair.before))))
    ]
