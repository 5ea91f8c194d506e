"""The rule of the gate, written down before looking.

For every comparison that the policy asks for, the loss is the paired difference on the same items, and `limit` is the largest
loss allowed. The joint decision of the critical comparisons has the error rate `alpha` each way, whatever their number:

- **fail**: some comparison's loss is shown to exceed its limit (one-sided test at `alpha`, Holm-corrected over all critical
  comparisons), or something of theirs that the baseline has is missing.
- **pass**: in every comparison the loss is shown to stay below the limit (one-sided test at `alpha` each; all of
  them must hold, so this needs no correction: an intersection-union test).
- **inconclusive**: neither; the items that would decide with a power of 80 % are given. So is every comparison of an
  unbounded metric (perplexity, bits, BLEU up to 100) on fewer than 200 items or clusters: one item that was not drawn could
  carry any loss.

A loss that is no larger than the noise floor is never a fail. The same weights with every answer equal pass, whatever the
number of items. Advisory comparisons are judged by themselves and take no part. Nothing is rounded before it is compared.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from difficulty.errors import UsageError, did_you_mean
from difficulty.runs.direction import bounded, same_metric
from difficulty.runs.noise import Floor, pool
from difficulty.runs.same import different_settings, require_same
from difficulty.stats import holm
from difficulty.stats.clusters import linked_codes
from difficulty.stats.paired_loss import SAME, PairedLoss, paired_loss
from difficulty.stats.power import detectable
from junkdna_harness.gate.fidelity import TextComparison, compare_text, text_figures
from junkdna_harness.gate.flips import Flip
from junkdna_harness.gate.items import RunItems
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
from junkdna_harness.gate.planned import PlannedComparison, higher_is_better, plan_comparisons, with_limit
from junkdna_harness.gate.policy import Limits, Policy, Severity, Verdict
from junkdna_harness.gate.remarks import remarks
from junkdna_harness.gate.simple import policy_of

POWER, SURE = 0.8, 0.95  # of the numbers of items that are advised
EXIT_CODES: Mapping[str, int] = {"pass": 0, "fail": 1, "inconclusive": 3}


@dataclass(frozen=True)
class Comparison:
    """One decision: what was planned, what was lost, and how sure that is."""

    planned: PlannedComparison = field(repr=False)
    loss: PairedLoss
    p_exceeds: float
    p_below: float
    p_holm: float = 1.0
    verdict: Verdict = "inconclusive"
    among: int = 1  # comparisons that a fail is corrected for
    noise: Floor | None = None  # of its items, where it is known
    flips: tuple[Flip, ...] = field(default=(), repr=False)  # items behind it, where they were looked up
    open: str | None = None  # why it is inconclusive, where it was judged look by look (`gate.walk`)

    @property
    def name(self) -> str:
        """What a person calls it: `overall`, `addition`, `addition tier 3`."""
        return self.planned.name

    @property
    def scope(self) -> str:
        """What it pools (`PlannedComparison.scope`)."""
        return self.planned.scope

    @property
    def family(self) -> str | None:
        """The family that it is about; None where it pools several."""
        return self.planned.value("family")

    @property
    def tier(self) -> int | None:
        """The tier that it is about; None where it pools several."""
        value = self.planned.value("tier")
        return None if value is None else int(value)

    @property
    def metric(self) -> str:
        """The metric's name."""
        return self.planned.metric

    @property
    def limit(self) -> float:
        """The loss allowed, in the metric's units; a share of items for flips."""
        return self.planned.limit

    @property
    def severity(self) -> Severity:
        """Whether it takes part in the verdict."""
        return self.planned.rule.severity

    @property
    def counts_as(self) -> Verdict:
        """Its verdict, or what its rule says that an inconclusive one counts as."""
        return self.planned.rule.inconclusive if self.verdict == "inconclusive" else self.verdict

    @property
    def within_noise(self) -> bool | None:
        """Whether the loss is no larger than what two evaluations of the same dense weights differ by; None: unknown."""
        if self.noise is None or self.planned.kind == "flips":
            return None
        return self.noise.within(self.loss.loss)

    def items_to_decide(self, alpha: float, power: float = POWER) -> int | None:
        """Items at which a loss like this one would be decided with this power; None when that is no sensible number.

        Of items in clusters the number is found by drawing them again, so that a higher power could come out at fewer: it never does here.
        """
        level = alpha / self.among if self.loss.loss > self.limit else alpha
        found = [self.loss.items_to_decide(self.limit, level, one) for one in {min(power, POWER), power}]
        return None if None in found else max(n for n in found if n is not None)

    def detectable(self, alpha: float) -> float | None:
        """The smallest true loss that would fail with a power of 80 % on these items, beside the flips both ways that were seen.

        At the level that Holm asks of the smallest p. None for items that are not right or wrong, and where no loss would.
        """
        if not self.loss.binary:
            return None
        both_ways = 2 * min(self.loss.lost, self.loss.gained) / self.loss.n_items
        found = detectable(
            self.loss.n_items, both_ways, self.limit, alpha / self.among, POWER, self.loss.design_effect
        )
        return found if math.isfinite(found) else None


@dataclass(frozen=True)
class Gate:
    """The outcome: `missing` names what the baseline has and the new run has not; `notes` are for reading only.

    `text`: the comparisons on a text. `identical`: the weights are known to be the same, and every answer is equal.
    """

    verdict: Verdict
    comparisons: tuple[Comparison, ...]
    missing: tuple[str, ...]
    notes: tuple[str, ...]
    policy: Policy
    new: RunItems = field(repr=False)
    baseline: RunItems = field(repr=False)
    text: tuple[TextComparison, ...] = ()
    identical: bool = False

    @property
    def exit_code(self) -> int:
        """0 pass, 1 fail, 3 inconclusive."""
        return EXIT_CODES[self.verdict]

    @property
    def alpha(self) -> float:
        """The error rate of the joint decision, each way."""
        return self.policy.alpha

    def __repr__(self) -> str:
        counts = Counter(one.verdict for one in self.comparisons)
        told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        missing = f"; missing from the new run: {', '.join(self.missing)}" if self.missing else ""
        return f"Gate: {self.verdict} ({told} of {len(self.comparisons)} comparisons){missing}"

    @property
    def critical(self) -> tuple[Comparison, ...]:
        """The comparisons that decide."""
        return tuple(one for one in self.comparisons if one.severity == "critical")

    @property
    def advisory(self) -> tuple[Comparison, ...]:
        """Those that are only told of."""
        return tuple(one for one in self.comparisons if one.severity == "advisory")


def check(
    new: RunItems, baseline: RunItems, limits: Limits | Policy | None = None, allow_different_prompts: bool = False,
    text: Mapping[str, object] | None = None,
) -> Gate:  # fmt: skip
    """Whether `new` lost more against `baseline` than the limits allow. `text`: what `read_fidelity` read, for rules on a text.

    Raises:
        UsageError: the two runs hold other versions of a task or asked with other prompts (unless these are allowed), so
            that nothing can be paired; which way a metric is better is not known; or the policy is not about these runs.
    """
    policy = limits if isinstance(limits, Policy) else policy_of(limits or Limits(), baseline)
    _known_metrics(policy, new, baseline)
    planned = plan_comparisons(baseline, policy)
    pairs, missing, notes = _paired(
        new, baseline, counted(baseline, planned, policy), allow_different_prompts
    )
    figures = text_figures(policy, text is not None)
    if not planned and not figures:
        raise UsageError(nothing_to_judge(policy))
    notes += [f"not judged: {rule.title}, as no text was given" for rule in policy.on_text if text is None]
    beside = Counter(rule.severity for rule, _, _ in figures)
    comparisons = decide(_compare_all(pairs, planned, policy), policy.alpha, beside)
    among = beside + Counter(one.severity for one in comparisons)
    on_text = tuple(
        compare_text(text or {}, rule, name, policy.alpha, among[rule.severity]) for rule, name, _ in figures
    )
    identical = not missing and _identical(new, baseline, pairs)
    if identical:
        comparisons = [replace(one, verdict="pass") for one in comparisons]
    verdict = joint([*comparisons, *on_text], bool(missing))
    notes += remarks(comparisons, policy.alpha)
    return Gate(
        verdict, tuple(comparisons), tuple(missing), tuple(dict.fromkeys((*new.notes, *baseline.notes, *notes))), policy, new, baseline,
        on_text, identical,
    )  # fmt: skip


def nothing_to_judge(policy: Policy) -> str:
    """What is wrong with a policy of which no rule is about the baseline: a verdict on nothing would be a pass."""
    needs = " or is on a text that was given" if policy.on_text else ""
    return f"nothing is judged: no rule of {policy.name} matches what the baseline has{needs}, and none is required. Correct the rules."


def counted(
    baseline: RunItems, planned: Iterable[PlannedComparison], policy: Policy
) -> dict[str, NDArray[np.intp]]:
    """The tasks that the new run must hold, each with the positions of the items that it must hold.

    Those of critical comparisons, and all of those that the policy requires.
    """
    found: dict[str, NDArray[np.intp]] = {}
    for one in planned:
        if one.rule.critical:
            for key, positions in one.cells.items():
                found[key] = np.union1d(found.get(key, positions[:0]), positions)
    for key, task in baseline.tasks.items():
        if key == task.task and any(fnmatchcase(key, pattern) for pattern in policy.required):
            found[key] = np.arange(len(task.item_ids))
    return found


def decide(
    comparisons: list[Comparison], alpha: float, beside: Mapping[Severity, int] | None = None
) -> list[Comparison]:
    """The comparisons with their verdicts: Holm over those of one severity for a fail, each on its own for a pass.

    `beside`: how many further comparisons of each severity are corrected for, that are judged elsewhere at alpha / number.
    """
    decided: dict[int, Comparison] = {}
    for severity in ("critical", "advisory"):
        chosen = [n for n, one in enumerate(comparisons) if one.severity == severity]
        further = (beside or {}).get(severity, 0)
        # What lies within the noise floor is no evidence, whatever its p; it is counted all the same.
        p = [1.0 if comparisons[n].within_noise else comparisons[n].p_exceeds for n in chosen] + [
            1.0
        ] * further
        adjusted = holm(np.array(p)).tolist()[: len(chosen)] if chosen else []
        for n, value in zip(chosen, adjusted, strict=True):
            one = comparisons[n]
            verdict: Verdict = "fail" if value < alpha else "inconclusive"
            if verdict != "fail" and one.p_below < alpha and not one.loss.too_few:
                verdict = "pass"
            decided[n] = replace(one, p_holm=value, verdict=verdict, among=len(chosen) + further)
    return [decided[n] for n in range(len(comparisons))]


def joint(comparisons: Iterable[Comparison | TextComparison], missing: bool) -> Verdict:
    """The verdict of the gate: that of the critical comparisons together; a fail where something is missing."""
    found = {one.counts_as for one in comparisons if one.severity == "critical"}
    if missing or "fail" in found:
        return "fail"
    return "inconclusive" if "inconclusive" in found else "pass"


def _paired(
    new: RunItems, baseline: RunItems, wanted: Mapping[str, NDArray[np.intp]], allow_different_prompts: bool
) -> tuple[dict[str, Paired], list[str], list[str]]:
    """Task -> its items in both runs; what the new run lacks of those that are wanted; and notes.

    Raises:
        UsageError: other versions or prompts than in the baseline.
    """
    missing, notes = missing_tasks(new, baseline, wanted)
    notes += same_dtypes(new, baseline)
    sentences: list[str | None] = [*same_versions(new, baseline)]
    allowed = require_same(sentences, allow_different_prompts)
    pairs: dict[str, Paired] = {}
    for key, old in baseline.tasks.items():
        if key in new.tasks:
            pairs[key], gone, note = pair_items(new.tasks[key], old, wanted.get(key))
            missing += gone
            notes += note
    listed = list(pairs.values())
    settings = different_settings(
        {"the new run": new.settings, "the baseline": baseline.settings}, tasks_without_prompts(listed)
    )
    allowed += require_same([same_prompts(listed), settings], allow_different_prompts)
    return pairs, missing, [*notes, *allowed, *unknown_prompts(listed)]


def _identical(new: RunItems, baseline: RunItems, pairs: Mapping[str, Paired]) -> bool:
    """Whether the weights, and all else that is known to decide answers, are the same, and every answer is equal."""
    if new.weights_sha256 is None or new.answer_key != baseline.answer_key or not pairs:
        return False
    return all(
        bool((np.abs(pair.before - pair.after) <= SAME * np.maximum(1.0, np.abs(pair.before))).all())
        for pair in pairs.values()
    )


def _known_metrics(policy: Policy, new: RunItems, baseline: RunItems) -> None:
    """Refuse a direction for a metric that no task has: it was meant for another one."""
    present = sorted({task.metric for run in (new, baseline) for task in run.tasks.values()})
    for option, names in (("lower", policy.lower_is_better), ("higher", policy.higher_is_better)):
        for name in names:
            if not any(same_metric(metric, name) for metric in present):
                raise UsageError(
                    f"--{option}-is-better {name!r} is the metric of no task.{did_you_mean(name, present)} "
                    f"There is: {', '.join(present)}."
                )


def _compare_all(
    pairs: Mapping[str, Paired], planned: Iterable[PlannedComparison], policy: Policy
) -> list[Comparison]:
    """Every comparison of which both runs hold items. Clusters are numbered once, over all tasks."""
    if not pairs:
        return []
    for pair in pairs.values():
        higher_is_better([pair.new, pair.old], policy)  # where the runs contradict each other
    named = [pair.clusters for pair in pairs.values()]
    numbers = linked_codes([c for old, _ in named for c in old], [c for _, new in named for c in new])
    ends = np.cumsum([len(pair.at_old) for pair in pairs.values()])[:-1]
    clusters = dict(zip(pairs, np.split(numbers, ends), strict=True))
    limits_of = _bounded(pairs.values())
    found = []
    for one in planned:
        inside = {
            key: np.isin(pairs[key].at_old, positions)
            for key, positions in one.cells.items()
            if key in pairs and np.isin(pairs[key].at_old, positions).any()
        }
        if inside:
            found.append(_compare(one, pairs, inside, clusters, limits_of[one.metric]))
    return found


def _bounded(pairs: Iterable[Paired]) -> dict[str, bool | None]:
    """For each metric, False where its name, or an item of any task, says that it can leave [0, 1]; else None."""
    found: dict[str, bool | None] = {}
    for pair in pairs:
        values = np.concatenate([pair.before, pair.after])
        metric = pair.old.metric
        outside = bool(values.min() < 0 or values.max() > 1)
        found[metric] = False if outside or found.get(metric) is False else bounded(metric)
    return found


def _compare(
    planned: PlannedComparison, pairs: Mapping[str, Paired], inside: Mapping[str, NDArray[np.bool_]],
    clusters: Mapping[str, NDArray[np.intp]], bounded: bool | None,
) -> Comparison:  # fmt: skip
    chosen = [(pairs[key], mask) for key, mask in inside.items()]
    weighted = any(pair.weights is not None for pair, _ in chosen)
    weights = [(np.ones(len(mask)) if pair.weights is None else pair.weights)[mask] for pair, mask in chosen]
    before = np.concatenate([pair.before[mask] for pair, mask in chosen])
    after = np.concatenate([pair.after[mask] for pair, mask in chosen])
    if planned.kind == "flips":
        before, after = np.zeros(len(before)), (before != after).astype(float)
    loss = paired_loss(
        before,
        after,
        np.concatenate([clusters[key][mask] for key, mask in inside.items()]),
        planned.kind == "flips" or not planned.higher_is_better,
        np.concatenate(weights) if weighted else None,
        planned.scale,
        bounded,
    )
    if planned.kind == "drop":
        planned = with_limit(replace(planned, bounded=bounded), loss.before)
    # A few items of an unbounded metric cannot show that nothing is lost; that most of them are far worse they can.
    p_exceeds = loss.p_exceeds_for_most(planned.limit) if loss.too_few else loss.p_exceeds(planned.limit)
    compared = Comparison(planned, loss, p_exceeds, loss.p_below(planned.limit))
    return replace(compared, noise=pool(pair.noise for pair, _ in chosen))
