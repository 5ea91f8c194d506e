"""The rule of the gate, written down before looking.

For every comparison (overall, each tier over all families, each family, each tier of each family) the loss is the
paired difference on the same items, and `limit` is the largest loss allowed.

- **fail**: some comparison's loss is shown to exceed its limit (one-sided test at `alpha`, Holm-corrected over
  all comparisons), or something that the baseline has is missing.
- **pass**: in every comparison the loss is shown to stay below the limit (one-sided test at `alpha` each; all of
  them must hold, so this needs no correction: an intersection-union test).
- **inconclusive**: neither; the items that would decide with a power of 80 % are given. So is every comparison of an
  unbounded metric (perplexity, bits, BLEU up to 100) on fewer than 200 items or clusters: one item that was not drawn could
  carry any loss.

Nothing is rounded before it is compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from difficulty.errors import UsageError, did_you_mean
from difficulty.runs.direction import bounded, direction, same_metric
from difficulty.runs.noise import Floor, pool
from difficulty.runs.same import different_settings, require_same
from difficulty.stats import holm
from difficulty.stats.clusters import linked_codes
from difficulty.stats.mean import Scale
from difficulty.stats.paired_loss import PairedLoss, paired_loss
from junkdna_harness.gate.items import RunItems, TaskItems
from junkdna_harness.gate.noise import noise_notes
from junkdna_harness.gate.pairs import (
    Paired,
    missing_tasks,
    pair_items,
    same_dtypes,
    same_prompts,
    same_versions,
    tasks_without_prompts,
    unknown_prompts,
)

Scope = Literal["overall", "across", "family", "tier"]
By = Literal["overall", "family", "tier"]
Verdict = Literal["pass", "fail", "inconclusive"]
POWER = 0.8  # of the number of items that is advised
EXIT_CODES: Mapping[str, int] = {"pass": 0, "fail": 1, "inconclusive": 3}


@dataclass(frozen=True)
class Limits:
    """How much may be lost: `max_drop` in the metric's units, `max_relative_drop` as a share of the baseline's score.

    With both, the smaller limit of the two holds in each comparison. `alpha` is the error rate of each decision.
    `by` is the finest split that is judged. `lower_is_better` and `higher_is_better` name metrics (with or without their
    filter) and count more than what the runs or the names say.
    """

    max_drop: float | None = 0.02
    max_relative_drop: float | None = None
    alpha: float = 0.05
    lower_is_better: tuple[str, ...] = ()
    by: By = "tier"
    higher_is_better: tuple[str, ...] = ()

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
        """The limit where the baseline scored `before`."""
        limits = [] if self.max_drop is None else [self.max_drop]
        if self.max_relative_drop is not None:
            limits.append(self.max_relative_drop * abs(before))
        return min(limits)


@dataclass(frozen=True)
class Comparison:
    """One decision; `family` and `tier` are None where all of them are pooled ("across": one tier of all)."""

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
    among: int = 1  # comparisons that a fail is corrected for
    noise: Floor | None = None  # of its items, where it is known

    @property
    def within_noise(self) -> bool | None:
        """Whether the loss is no larger than what two evaluations of the same dense weights differ by; None: unknown."""
        return None if self.noise is None else self.noise.within(self.loss.loss)

    @property
    def name(self) -> str:
        """What a person calls it: `overall`, `addition`, `addition tier 3`."""
        if self.scope == "across":
            return f"tier {self.tier} of all"
        return {"overall": "overall", "family": f"{self.family}"}.get(
            self.scope, f"{self.family} tier {self.tier}"
        )

    def items_to_decide(self, alpha: float) -> int | None:
        """Items at which a loss like this one would be decided with a power of 80 %; None when that is no sensible number."""
        fails = self.loss.loss > self.limit
        return self.loss.items_to_decide(self.limit, alpha / self.among if fails else alpha, POWER)


@dataclass(frozen=True)
class Gate:
    """The outcome: `missing` names what the baseline has and the new run has not; `notes` are for reading only."""

    verdict: Verdict
    comparisons: tuple[Comparison, ...]
    missing: tuple[str, ...]
    notes: tuple[str, ...]
    limits: Limits
    new: RunItems = field(repr=False)
    baseline: RunItems = field(repr=False)

    @property
    def exit_code(self) -> int:
        """0 pass, 1 fail, 3 inconclusive."""
        return EXIT_CODES[self.verdict]


Key = tuple[
    Scope, str, Scale, bool, str | None, int | None
]  # scope, metric, scale, higher is better, family, tier


def check(
    new: RunItems, baseline: RunItems, limits: Limits | None = None, allow_different_prompts: bool = False
) -> Gate:
    """Whether `new` lost more against `baseline` than `limits` allow, overall and in every family and tier.

    Raises:
        UsageError: the two runs hold other versions of a task or asked with other prompts (unless these are allowed), so
            that nothing can be paired; or which way a metric is better is not known.
    """
    limits = limits or Limits()
    _known_metrics(limits, new, baseline)
    missing, notes = missing_tasks(new, baseline)
    notes += same_dtypes(new, baseline)
    sentences: list[str | None] = [*same_versions(new, baseline)]
    allowed = require_same(sentences, allow_different_prompts)
    pairs: list[Paired] = []
    for name, old in baseline.tasks.items():
        if name in new.tasks:
            pair, gone, note = pair_items(new.tasks[name], old)
            pairs.append(pair)
            missing += gone
            notes += note
    settings = different_settings(
        {"the new run": new.settings, "the baseline": baseline.settings}, tasks_without_prompts(pairs)
    )
    allowed += require_same([same_prompts(pairs), settings], allow_different_prompts)
    allowed += tuple(unknown_prompts(pairs))
    comparisons = decide(_compare_all(pairs, limits), limits.alpha)
    verdict: Verdict = "inconclusive"
    if missing or any(comparison.verdict == "fail" for comparison in comparisons):
        verdict = "fail"
    elif all(comparison.verdict == "pass" for comparison in comparisons):
        verdict = "pass"
    return Gate(
        verdict,
        tuple(comparisons),
        tuple(missing),
        tuple(dict.fromkeys((*new.notes, *baseline.notes, *notes, *allowed, *noise_notes(comparisons)))),
        limits,
        new,
        baseline,
    )


def higher_is_better(new: TaskItems, old: TaskItems, limits: Limits) -> bool:
    """Which way the task's metric is better: as the user says, else as the runs say, else by its name.

    Raises:
        UsageError: nothing says it, or two of them say it differently.
    """
    metric = old.metric
    down = any(same_metric(metric, name) for name in limits.lower_is_better)
    up = any(same_metric(metric, name) for name in limits.higher_is_better)
    said = {task.higher_is_better for task in (new, old)} - {None}
    options = f"--higher-is-better {metric} or --lower-is-better {metric}"
    if up and down:
        raise UsageError(
            f"{metric!r} is named by both --higher-is-better and --lower-is-better. Give one of them."
        )
    if len(said) == 2 and not (up or down):
        raise UsageError(
            f"higher {metric} of task {old.task!r} is better by one run and worse by the other. Say which holds: {options}."
        )
    found = up if up or down else next(iter(said), direction(metric))
    if found is None:
        raise UsageError(
            f"whether higher {metric} of task {old.task!r} is better is not known: neither the runs nor its name say it. "
            f"Give {options}."
        )
    if found and old.scale != "mean":
        raise UsageError(
            f"{metric!r} of task {old.task!r} is made of negative log-likelihoods, so lower is better. Leave out --higher-is-better."
        )
    return bool(found)


def _known_metrics(limits: Limits, new: RunItems, baseline: RunItems) -> None:
    """Refuse a direction for a metric that no task has: it was meant for another one."""
    present = sorted({task.metric for run in (new, baseline) for task in run.tasks.values()})
    for option, names in (("lower", limits.lower_is_better), ("higher", limits.higher_is_better)):
        for name in names:
            if not any(same_metric(metric, name) for metric in present):
                raise UsageError(
                    f"--{option}-is-better {name!r} is the metric of no task.{did_you_mean(name, present)} "
                    f"There is: {', '.join(present)}."
                )


def decide(comparisons: list[Comparison], alpha: float) -> list[Comparison]:
    """The comparisons with their verdicts: Holm over all of them for a fail, each on its own for a pass."""
    adjusted = holm(np.array([one.p_exceeds for one in comparisons])).tolist()
    decided = []
    for one, p in zip(comparisons, adjusted, strict=True):
        verdict: Verdict = "fail" if p < alpha else "inconclusive"
        if verdict != "fail" and one.p_below < alpha and not one.loss.too_few:
            verdict = "pass"
        decided.append(replace(one, p_holm=p, verdict=verdict, among=len(comparisons)))
    return decided


def _compare_all(pairs: list[Paired], limits: Limits) -> list[Comparison]:
    """Every comparison that `limits.by` asks for. Clusters are numbered once, over all tasks."""
    if not pairs:
        return []
    named = [pair.clusters for pair in pairs]
    numbers = linked_codes([c for old, _ in named for c in old], [c for _, new in named for c in new])
    clusters = np.split(numbers, np.cumsum([len(pair.at_old) for pair in pairs])[:-1])
    limits_of = _bounded(pairs)
    groups: dict[Key, list[int]] = {}
    for number, pair in enumerate(pairs):
        old = pair.old
        metric = (old.metric, old.scale, higher_is_better(pair.new, old, limits))
        keys: tuple[Key, ...] = (
            ("overall", *metric, None, None),
            ("across", *metric, None, old.tier),
            ("family", *metric, old.family, None),
            ("tier", *metric, old.family, old.tier),
        )
        for key in keys:
            groups.setdefault(key, []).append(number)
    return [
        _compare(
            key,
            [pairs[n] for n in members],
            np.concatenate([clusters[n] for n in members]),
            limits,
            limits_of[key[1]],
        )
        for key, members in _ordered(groups, limits.by)
    ]


def _bounded(pairs: list[Paired]) -> dict[str, bool | None]:
    """For each metric, False where its name, or an item of any task, says that it can leave [0, 1]; else None."""
    found: dict[str, bool | None] = {}
    for pair in pairs:
        values = np.concatenate([pair.before, pair.after])
        metric = pair.old.metric
        outside = bool(values.min() < 0 or values.max() > 1)
        found[metric] = False if outside or found.get(metric) is False else bounded(metric)
    return found


def _ordered(groups: dict[Key, list[int]], by: By) -> Iterable[tuple[Key, list[int]]]:
    """Overall, tiers over all families, then each family and its tiers; what is all there is is not repeated."""
    families: dict[str, set[str | None]] = {}
    for scope, metric, _, _, family, _ in groups:
        if scope == "family":
            families.setdefault(metric, set()).add(family)
    rank = {"overall": 0, "across": 1, "family": 1, "tier": 2}
    for key in sorted(groups, key=lambda k: (k[1], k[4] or "", rank[k[0]], k[5] or 0, k[2], k[3])):
        scope, metric = key[:2]
        if rank[scope] > rank[by] or (rank[scope] == 1 and len(families[metric]) == 1):
            continue
        yield key, groups[key]


def _compare(
    key: Key, pairs: list[Paired], clusters: NDArray[np.intp], limits: Limits, bounded: bool | None
) -> Comparison:
    scope, metric, scale, higher, family, tier = key
    weighted = any(pair.weights is not None for pair in pairs)
    weights = [np.ones(len(pair.at_old)) if pair.weights is None else pair.weights for pair in pairs]
    loss = paired_loss(
        np.concatenate([pair.before for pair in pairs]),
        np.concatenate([pair.after for pair in pairs]),
        clusters,
        not higher,
        np.concatenate(weights) if weighted else None,
        scale,
        bounded,
    )
    if not np.isfinite(loss.before):
        raise UsageError(
            f"the {metric} of the baseline is beyond all numbers in {scope}, so that no limit can be set. Choose another baseline."
        )
    limit = limits.of(loss.before)
    # A few items of an unbounded metric cannot show that nothing is lost; that most of them are far worse they can.
    p_exceeds = loss.p_exceeds_for_most(limit) if loss.too_few else loss.p_exceeds(limit)
    compared = Comparison(scope, family, tier, metric, loss, limit, p_exceeds, loss.p_below(limit))
    return replace(compared, noise=pool(pair.noise for pair in pairs))
