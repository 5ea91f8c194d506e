"""From what each family says to verdicts: one family at a time, then pooled, corrected for several tests.

Every claim of the form "an effect is above 0" goes through here: P2 to P6. A claim's own file only says what the effect of one
family is (a `Part`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from difficulty.judge.effect import Effect, Sample, holds_for, one_family, several_families, together
from difficulty.judge.verdicts import ONLY_THESE, Claim, Evidence, Rules, Scope, judge
from difficulty.runs.table import some
from difficulty.stats.multiple import holm
from difficulty.stats.result import Floats, Ints


@dataclass(frozen=True)
class Part:
    """What one family says on a claim under one method.

    `draws[scale]` (1 + K, 1 + B): the effect on each scale that decides; empty where there is none. `beside[scale]`: on the
    others. `extra`: further draws of the same shape, by name. `clusters`: codes over the whole panel. `blocked`: why it must
    not be used.
    """

    claim: str
    method: str
    family: str
    sample: Sample
    clusters: Ints = field(repr=False)
    draws: Mapping[str, Floats] = field(default_factory=dict, repr=False)
    beside: Mapping[str, Floats] = field(default_factory=dict, repr=False)
    extra: Mapping[str, Floats] = field(default_factory=dict, repr=False)
    blocked: str = ""
    against: str = ""
    cannot_refute: str = ""
    unresolved: str = ""
    remark: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """The effect on the first scale."""
        return float(next(iter(self.draws.values()))[0, 0])


@dataclass(frozen=True)
class Pooled:
    """What a claim adds to the pooled evidence of a method."""

    against: str = ""
    cannot_refute: str = ""
    unresolved: str = ""
    remark: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Question:
    """A claim under one method: its words, what counts, and what was drawn by lot once (`for_this`, "" if nothing was)."""

    claim: str
    unit: str
    rule: str
    delta: float
    rules: Rules
    headline: str  # the method of the headline row
    for_this: Mapping[str, str] = field(default_factory=dict)
    none_usable: str = "in no family can it be judged."
    controls: frozenset[str] = (
        frozenset()
    )  # methods that are run to compare with: no tests of the claim of their own


def verdicts(
    question: Question, parts: Sequence[Part], pool: Callable[[Sequence[Part]], Pooled]
) -> list[Claim]:
    """The claims of all methods: pooled first, then families by name. p is corrected over the families of a method, and for
    pooled rows over the methods that are no controls."""
    methods = list(dict.fromkeys(part.method for part in parts))
    pooled = {m: _pooled(question, m, [p for p in parts if p.method == m], pool) for m in methods}
    over_methods = over_the_tested(
        {m: np.nan if e.blocked else e.p for m, e in pooled.items()}, question.controls
    )
    claims: list[Claim] = []
    for method, corrected in over_methods.items():
        own = [part for part in parts if part.method == method]
        single = [_single(question, part) for part in own]
        over_families = holm(np.array([np.nan if e.blocked else e.p for e in single]))
        rows = [(pooled[method], float(corrected)), *zip(single, over_families.tolist(), strict=True)]
        judged = [judge(e, p, question.rules, question.delta, question.rule) for e, p in rows]
        claims += [judged[0], *sorted(judged[1:], key=lambda claim: claim.family)]
    return claims


def over_the_tested(p: Mapping[str, float], controls: frozenset[str]) -> dict[str, float]:
    """The p of each method corrected over those that the claim is tested with; controls keep their own."""
    tested = [method for method in p if method not in controls]
    corrected = dict(zip(tested, holm(np.array([p[method] for method in tested])).tolist(), strict=True))
    return {method: corrected.get(method, value) for method, value in p.items()}


def _single(question: Question, part: Part) -> Evidence:
    confidence = question.rules.confidence
    effects = {name: one_family(draws, part.sample, confidence) for name, draws in part.draws.items()}
    details = dict(part.details)
    if part.beside:
        details["sensitivity"] = {
            name: _estimate(one_family(draws, part.sample, confidence)) for name, draws in part.beside.items()
        }
    return Evidence(
        question.claim, Scope(part.method, part.family), question.unit, effects,
        part.blocked or ("" if effects else question.none_usable), part.against, part.cannot_refute, part.unresolved, part.remark,
        about=_about("this family", question, part.method), details=details,
    )  # fmt: skip


def _pooled(
    question: Question, method: str, parts: Sequence[Part], pool: Callable[[Sequence[Part]], Pooled]
) -> Evidence:
    scope = Scope(method, headline=method == question.headline)
    usable = [part for part in parts if part.draws and not part.blocked]
    if not usable:
        why = next((part.blocked for part in parts if part.blocked), question.none_usable)
        return Evidence(question.claim, scope, question.unit, blocked=why)
    effects = effects_of(usable, question.rules.confidence, "draws")
    added = pool(usable)
    details = {
        "families": {part.family: part.value for part in usable},
        "families_left_out": sorted(part.family for part in parts if part not in usable),
        **added.details,
    }
    beside = effects_of(usable, question.rules.confidence, "beside")
    if beside:
        details["sensitivity"] = {name: _estimate(effect) for name, effect in beside.items()}
    first = next(iter(effects.values()))
    where = holds_for(first, len(usable))
    remark = f"{added.remark} {_left_out(parts, usable)}".strip()
    if first.like is None:
        remark = f"{remark} {ONLY_THESE}".strip()
    return Evidence(
        question.claim, scope, question.unit, effects, "", added.against, added.cannot_refute, added.unresolved, remark,
        about=_about(where, question, method), details=details,
    )  # fmt: skip


def _left_out(parts: Sequence[Part], usable: Sequence[Part]) -> str:
    """Which families the pooled verdict is not about, so that nobody takes it for one on all."""
    names = [part.family for part in parts if part not in usable]
    return f"Not in it: {some(names)}, which cannot be judged." if names else ""


def _about(where: str, question: Question, method: str) -> str:
    """What a verdict holds for: families, and the one mask, calibration or training where only one was drawn."""
    once = question.for_this.get(method, "")
    return f"{where}, {once}" if once else where


def effects_of(parts: Sequence[Part], confidence: float, name: str) -> dict[str, Effect]:
    """The effect over families on each scale.

    Where some families have margins and others have not, their scales are taken by rank: the first of each together, and so on.
    """
    each: list[Mapping[str, Floats]] = [getattr(part, name) for part in parts]
    samples = _samples(parts)
    if len({tuple(own) for own in each}) == 1 or name != "draws":
        scales = [scale for scale in each[0] if all(scale in own for own in each)]
        return {
            scale: several_families([own[scale] for own in each], samples, confidence) for scale in scales
        }
    found = {}
    for rank in zip(*each, strict=True):
        draws = [own[scale] for own, scale in zip(each, rank, strict=True)]
        found["/".join(dict.fromkeys(rank))] = several_families(draws, samples, confidence)
    return found


def _samples(parts: Sequence[Part]) -> list[Sample]:
    """The samples of some families, in which clusters that two of them share count once."""
    seen: set[int] = set()
    samples = []
    for part in parts:
        new = set(part.clusters.tolist()) - seen
        seen |= new
        samples.append(replace(part.sample, n_clusters=len(new)))
    return samples


def mean_estimate(parts: Sequence[Part], name: str, confidence: float) -> Effect:
    """The mean over families of an extra draw."""
    pooled = np.mean([part.extra[name] for part in parts], axis=0)
    return one_family(pooled, together(_samples(parts)), confidence)


def _estimate(effect: Effect) -> dict[str, Any]:
    found = effect.deciding
    return {
        "estimate": found.estimate, "ci_low": found.ci_low, "ci_high": found.ci_high,
    }  # fmt: skip
