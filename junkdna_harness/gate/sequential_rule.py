"""The rule of a gate that looks more than once: arrays in, verdicts out.

A comparison asks whether the mean loss of its items is at most its `limit`. Its items come in units, the clusters, in random order;
at any look its evidence is a function of the units that came so far, and holds whenever one stops (`difficulty.stats.betting`).

- **fail** of a comparison: the running maximum of its e-value against "the loss is at most the limit", as an anytime-valid p-value
  1 / e (see below), is at most alpha after Holm's correction over all comparisons of its severity. If no loss exceeds its limit, some comparison
  fails in at most alpha of the gates: Holm can reject a true one only once the p of one of the m0 true ones is at most alpha / m0,
  which over all looks has a probability of at most alpha / m0 each (Ville 1939).
- **pass** of a comparison: the p of "the loss is at least the limit", made in the same way, is at most alpha. The gate passes only where all
  critical ones do, so that one that loses more than its limit lets it pass in at most alpha of the gates.
- Four fifths of the error rate are spent on looking, and one fifth on the test that `check` makes of a fixed number of items, where all of a
  comparison's were asked: its p is the smaller of (1 / e) / 0.8 and p of that test / 0.2, which by the union bound is a p-value at any
  time. So an evaluation that went to its end is hardly less sure than `check` is.
- A loss within the noise floor is never a fail: the comparison stays open.
- A comparison that is decided is frozen: what comes later changes neither its verdict nor its e-values. Its p stays in Holm's list.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from difficulty.stats.betting import Evidence, evidence
from difficulty.stats.multiple import holm
from difficulty.stats.result import Floats
from difficulty.stats.sequential import TUNED_FOR, asymptotic_evidence

Verdict = Literal["pass", "fail", "inconclusive"]
LOOKING = 0.8  # of the error rate: 7 % more items where nothing changes than with all of it


@dataclass(frozen=True)
class Question:
    """A comparison as the rule sees it.

    `limit`: the loss allowed, on the scale that is averaged. `critical`: whether it decides the gate. `bounded`: every item's loss lies
    in [`lowest`, 1], so that its evidence is exact; else it is asymptotic, from 200 units on. `largest`: items (or weight) of the largest
    unit. `n_max`: how many units there are.
    """

    limit: float
    critical: bool = True
    bounded: bool = True
    largest: float = 1.0
    lowest: float = -1.0
    n_max: int | None = None


@dataclass(frozen=True)
class Seen:
    """The units of a comparison that came so far, in their order: sums of losses (positive is worse), and sizes (or weights).

    `within_noise`: the loss so far is within the noise floor. `bounded`: False where an item's loss turned out to leave [-1, 1].
    `whole`: where these are all units there are, (p_exceeds, p_below) of a test of a fixed number of items.
    """

    sums: Floats
    sizes: Floats
    within_noise: bool = False
    bounded: bool = True
    whole: tuple[float, float] | None = None


@dataclass
class Standing:
    """Where a comparison stands: its verdict, the look at which it was decided, and the largest log e-values so far.

    `log_exceeds`: against "the loss is at most the limit"; `log_below`: against "the loss is at least the limit". `whole`: the p-values of
    the same two by the test of all items, 1 until all were asked.
    """

    verdict: Verdict = "inconclusive"
    look: int | None = None
    log_exceeds: float = 0.0
    log_below: float = 0.0
    p_holm: float = 1.0
    asymptotic: bool = False
    units: int = 0
    whole: tuple[float, float] = (1.0, 1.0)

    @property
    def p_exceeds(self) -> float:
        """Anytime-valid p of "the loss is at most the limit"."""
        return _joined(self.log_exceeds, self.whole[0])

    @property
    def p_below(self) -> float:
        """Anytime-valid p of "the loss is at least the limit"."""
        return _joined(self.log_below, self.whole[1])


class Judge:
    """Judges the questions again at every look. `standings` has one entry for each question."""

    def __init__(self, questions: Sequence[Question], alpha: float = 0.05) -> None:
        self.questions, self.alpha = tuple(questions), alpha
        self.standings = [Standing(asymptotic=not question.bounded) for question in questions]
        self.looks = 0

    @property
    def open(self) -> list[int]:
        """The questions that are not decided."""
        return [n for n, one in enumerate(self.standings) if one.verdict == "inconclusive"]

    @property
    def verdict(self) -> Verdict:
        """The gate's: of its critical questions; pass where there are none."""
        found = {
            one.verdict
            for one, question in zip(self.standings, self.questions, strict=True)
            if question.critical
        }
        return "fail" if "fail" in found else "inconclusive" if "inconclusive" in found else "pass"

    def look(self, seen: Mapping[int, Seen]) -> None:
        """Take in what came so far of the open questions, all units from the first one on, and decide what can be."""
        self.looks += 1
        waiting = self.open
        for number in waiting:
            if number in seen:
                self._weigh(self.questions[number], self.standings[number], seen[number])
        for severity in (True, False):
            members = [n for n, question in enumerate(self.questions) if question.critical is severity]
            adjusted = holm(np.array([self.standings[n].p_exceeds for n in members]))
            for number, p in zip(members, adjusted, strict=True):
                self.standings[number].p_holm = float(p)
        for number in waiting:
            if number in seen:
                self._decide(self.standings[number], seen[number])

    def _weigh(self, question: Question, standing: Standing, seen: Seen) -> None:
        """Raise the e-values to the largest so far."""
        if not seen.bounded and not standing.asymptotic:  # what was exact for bounded losses holds no longer
            standing.asymptotic, standing.log_exceeds, standing.log_below = True, 0.0, 0.0
        found = _evidence(question, standing.asymptotic, seen)
        standing.units = len(seen.sums)
        standing.whole = seen.whole or standing.whole
        standing.log_exceeds = max(standing.log_exceeds, found.above)
        standing.log_below = max(standing.log_below, found.below)

    def _decide(self, standing: Standing, seen: Seen) -> None:
        if standing.p_holm <= self.alpha and not seen.within_noise:
            standing.verdict, standing.look = "fail", self.looks
        elif standing.p_below <= self.alpha:
            standing.verdict, standing.look = "pass", self.looks


def _joined(log_e: float, whole: float) -> float:
    """One p of the evidence so far and of the test of all items, each with its share of the error rate."""
    return min(1.0, math.exp(-max(log_e, 0.0)) / LOOKING, whole / (1 - LOOKING))


def _evidence(question: Question, asymptotic: bool, seen: Seen) -> Evidence:
    if not asymptotic:
        return evidence(seen.sums, seen.sizes, question.limit, question.largest, question.lowest)
    return asymptotic_evidence(seen.sums, seen.sizes, question.limit, best_at(question))


def best_at(question: Question) -> int:
    """The number of units at which asymptotic evidence is to be strongest, chosen before looking."""
    return TUNED_FOR if question.n_max is None else max(1, min(TUNED_FOR, question.n_max))
