"""Items in one random order, asked in growing batches, judged after each: which come next, and when to stop.

Why stopping does no harm to the error rates. The clusters of all items are put into one random permutation, which is drawn before
anything is asked; a cluster's items stay together. A comparison's items are some of all, and its units (the clusters that hold some
of them) stand in that permutation in random order too. An item is left out only if every comparison that it feeds is decided. So
until a comparison is decided, what was asked of it is a prefix of a random permutation of its units, whatever the others came to;
how long the prefix is depends on answers that came before alone. Clusters are independent of each other, as in `check`; then
whatever is known of all the clusters that were asked says nothing of the next one, the comparison's evidence is a test
(super)martingale for all that is known at a look, and may be looked at whenever one likes (Ville 1939; Waudby-Smith & Ramdas 2023,
arXiv 2010.09686). As in `check`, the claim is on the population that the items are a sample of.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from difficulty.stats.mean import Scale, in_nats_or_units, read_on, shift_of, weighted_mean
from difficulty.stats.paired_loss import SAME, PairedLoss, paired_loss
from difficulty.stats.result import Bools, Floats
from junkdna_harness.gate.sequential_rule import Judge, Question, Seen

Integers = NDArray[np.intp]
FIRST = 64  # items before the first look: half of a model's answers lost is known by then
GROWTH = 0.3  # by how much a batch lets the items of open comparisons grow: about 14 % are asked beyond need
STOPPED = {
    "fail": "a critical comparison failed",
    "pass": "every critical comparison is decided",
    "every": "every comparison is decided",
    "items": "all items were asked",
    "budget": "--max-items were asked",
    "same": "every answer is equal, and so are the weights",
    "missing": "the tasks lack what the baseline has",
}
Stop = Literal["fail", "pass", "every", "items", "budget", "same", "missing"]


@dataclass(frozen=True)
class Items:
    """All items that feed a comparison, of all tasks: arrays of shape (n_items,).

    `before`: what each scored in the baseline. `clusters`: numbers; the same number is the same cluster. `weights`: None where all are
    equal. `documents`: what is asked for it, where one answer has several scores, each an item; they are in one cluster then.
    """

    before: Floats
    clusters: Integers
    weights: Floats | None = None
    documents: Integers | None = None

    def __len__(self) -> int:
        return len(self.before)

    def count(self, chosen: Bools) -> int:
        """How many are asked where these are."""
        return int(chosen.sum()) if self.documents is None else len(np.unique(self.documents[chosen]))


@dataclass(frozen=True)
class Compared:
    """A comparison: the places of its items among all, its limit in the metric's units, and how a loss is made of two values.

    `kind` "drop": how much worse the values are; "flips": the share of items whose value changed. `bounded`: False for a metric that can
    leave [0, 1]; else the values decide. `within_noise`: says of a loss whether it is no larger than the noise floor.
    """

    at: Integers
    limit: float
    kind: Literal["drop", "flips"] = "drop"
    scale: Scale = "mean"
    higher_is_better: bool = True
    critical: bool = True
    bounded: bool | None = None
    within_noise: Callable[[float], bool] | None = field(default=None, compare=False)

    def question(self, items: Items) -> Question:
        """The comparison as the rule sees it, by what is known before anything is asked."""
        before, weights = items.before[self.at], self._weights(items, self.at)
        sizes = np.bincount(np.unique(items.clusters[self.at], return_inverse=True)[1], weights=weights)
        shift = self._shift(before, weights)
        lowest = 0.0 if self.kind == "flips" else -1.0
        return Question(shift, self.critical, self._unit(before), float(sizes.max()), lowest, len(sizes))

    def can_pass(self, items: Items, alpha: float) -> bool:
        """Whether all its items would show a loss below the limit if none of them changed."""
        judge = Judge([self.question(items)], alpha)
        everything = np.ones(len(items), dtype=bool)
        order = np.arange(int(items.clusters.max()) + 1, dtype=np.intp)
        judge.look({0: self.seen(items, items.before, everything, order)})
        return judge.verdict == "pass"

    def loss(self, items: Items, after: Floats, at: Integers) -> PairedLoss:
        """The loss on the items at some places, as `check` has it."""
        before, now = items.before[at], after[at]
        if self.kind == "flips":
            before, now = np.zeros(len(at)), self._losses(before, _settled(before, now))
        flips = self.kind == "flips"
        weights = None if items.weights is None or flips else items.weights[at]
        return paired_loss(
            before, now, items.clusters[at], flips or not self.higher_is_better, weights,
            "mean" if flips else self.scale, None if flips else self.bounded,
        )  # fmt: skip

    def seen(self, items: Items, after: Floats, asked: Bools, rank: Integers) -> Seen:
        """Its units that came so far, in their order; `rank`: the place of each cluster in it."""
        at = self.at[asked[self.at]]
        before, now = items.before[at], after[at]
        now = _settled(before, now)
        weights = self._weights(items, at)
        ranks, units = np.unique(rank[items.clusters[at]], return_inverse=True)
        losses: Floats = weights * self._losses(before, now)
        sums: Floats = np.bincount(units, losses, len(ranks)).astype(float)
        sizes: Floats = np.bincount(units, weights, len(ranks)).astype(float)
        within = False
        if self.within_noise is not None and len(at):
            within = self.within_noise(self._loss(before, now, weights))
        whole = self._whole(items, after) if len(at) == len(self.at) else None
        return Seen(sums, sizes, within, self._unit(np.concatenate([before, now])), whole)

    def _whole(self, items: Items, after: Floats) -> tuple[float, float]:
        """p of "the loss is at most the limit" and of "at least", by the test of a fixed number of items that `check` makes."""
        loss = self.loss(items, after, self.at)
        if loss.too_few:
            return loss.p_exceeds_for_most(self.limit), 1.0
        return loss.p_exceeds(self.limit), loss.p_below(self.limit)

    def _weights(self, items: Items, at: Integers) -> Floats:
        """The weight of the items at some places; a flip counts as one, whatever its item weighs."""
        return np.ones(len(at)) if self.kind == "flips" or items.weights is None else items.weights[at]

    def _losses(self, before: Floats, after: Floats) -> Floats:
        """The loss of each item on the scale that is averaged."""
        if self.kind == "flips":
            changed: Floats = (before != after).astype(float)
            return changed
        change: Floats = in_nats_or_units(before, self.scale) - in_nats_or_units(after, self.scale)
        return change if self.higher_is_better else -change

    def _loss(self, before: Floats, after: Floats, weights: Floats) -> float:
        """The loss so far, in the metric's units."""
        if self.kind == "flips":
            return float((before != after).mean())
        first, second = (
            read_on(weighted_mean(in_nats_or_units(values, self.scale), weights), self.scale)
            for values in (before, after)
        )
        return first - second if self.higher_is_better else second - first

    def _unit(self, values: Floats) -> bool:
        """Whether all losses lie in [-1, 1], as far as these values say."""
        if self.kind == "flips":
            return True
        inside = bool(len(values) == 0 or (values.min() >= 0 and values.max() <= 1))
        return self.scale == "mean" and self.bounded is not False and inside

    def _shift(self, before: Floats, weights: Floats) -> float:
        """The limit on the scale that is averaged: of a perplexity P, log(1 + limit / P)."""
        if self.kind == "flips" or self.scale != "perplexity":
            return self.limit
        return shift_of(self.limit, read_on(weighted_mean(before, weights), self.scale), self.scale)


def _settled(before: Floats, after: Floats) -> Floats:
    """`after`, where it differs by more than rounding."""
    same = np.abs(before - after) <= SAME * np.maximum(1.0, np.abs(before))
    settled: Floats = np.where(same, before, after)
    return settled


def order_of(clusters: Integers, seed: int) -> Integers:
    """The place of each cluster in a random permutation of all, shape (n_clusters,); it depends on nothing but their number and the seed."""
    number = int(clusters.max()) + 1 if len(clusters) else 0
    return np.random.default_rng(seed).permutation(number).astype(np.intp)


class Walk:
    """Which items come next, and what was found so far. Ask `next_batch`, then hand the answers to `take`, until it is empty.

    `every_rule`: go on until every comparison is decided, also those that are not critical. `max_items`: ask no more than these.
    """

    def __init__(
        self, items: Items, comparisons: Sequence[Compared], seed: int = 0, alpha: float = 0.05, every_rule: bool = False,
        max_items: int | None = None,
    ) -> None:  # fmt: skip
        self.items, self.comparisons = items, tuple(comparisons)
        self.every_rule = every_rule or not any(one.critical for one in comparisons)
        self.max_items = max_items
        self.seed, self.rank = seed, order_of(items.clusters, seed)
        self.places = np.argsort(self.rank[items.clusters], kind="stable")  # of the items, in the order
        self.judge = Judge([one.question(items) for one in comparisons], alpha)
        self.after = np.full(len(items), np.nan)
        self.asked = np.zeros(len(items), dtype=bool)
        self.reached = self.until = (
            0  # clusters that were asked or left out; and that the batch at hand reaches to
        )
        self.ends = [0] * len(self.comparisons)  # the clusters that each comparison was last judged on
        self._same = False

    @property
    def n_asked(self) -> int:
        """Items that were asked."""
        return self.items.count(self.asked)

    @property
    def n_all(self) -> int:
        """Items that feed a comparison."""
        feeding = np.zeros(len(self.items), dtype=bool)
        for one in self.comparisons:
            feeding[one.at] = True
        return self.items.count(feeding)

    @property
    def stopped(self) -> Stop | None:
        """Why there is no more to ask; None while there is."""
        judge = self.judge
        if self._same:
            return "same"
        if not judge.open:
            return "fail" if judge.verdict == "fail" and not self.every_rule else "every"
        if not self.every_rule and judge.verdict == "fail":
            return "fail"
        if not self.every_rule and judge.verdict == "pass":
            return "pass"
        if not self._left().any():
            return "items"
        return None if self._next_fits() else "budget"

    def next_batch(self, until: int | None = None) -> Integers:
        """The places of the items that come next, in the order; none where there is no more to ask.

        `until`: the clusters that the batch reaches to, where that is known (a batch that was asked before).
        """
        if self.stopped is not None:
            return np.empty(0, dtype=np.intp)
        wanted = self.places[self._left()[self.places]]
        ranks = self.rank[self.items.clusters[wanted]]
        if until is None:
            until = int(ranks[min(self._size(), len(ranks)) - 1]) + 1
            while self.max_items is not None and self._asked_with(wanted[ranks < until]) > self.max_items:
                until = int(ranks[ranks < until][-1])  # whole clusters, as many as are allowed
        self.until = until
        return wanted[ranks < until]

    def take(self, batch: Integers, values: Floats) -> None:
        """What the items of the batch scored; then look."""
        self.after[batch], self.asked[batch] = values, True
        self.reached = self.until
        waiting = self.judge.open
        seen = {n: self.comparisons[n].seen(self.items, self.after, self.asked, self.rank) for n in waiting}
        for number in waiting:
            self.ends[number] = self.reached
        self.judge.look(seen)

    def used(self, number: int) -> Integers:
        """The places of the items that a comparison was last judged on, in the order."""
        at = self.comparisons[number].at
        ranks = self.rank[self.items.clusters[at]]
        inside = self.asked[at] & (ranks < self.ends[number])
        return at[inside][np.argsort(ranks[inside], kind="stable")]

    def pass_as_the_same(self) -> None:
        """Let every open comparison pass: the weights are those of the baseline, and so were all answers so far."""
        for number in self.judge.open:
            standing = self.judge.standings[number]
            standing.verdict, standing.look = "pass", self.judge.looks
        self._same = True

    @property
    def all_equal(self) -> bool:
        """Whether every item that was asked scored what it scored in the baseline."""
        before, now = self.items.before[self.asked], self.after[self.asked]
        return bool((np.abs(before - now) <= SAME * np.maximum(1.0, np.abs(before))).all())

    def _left(self) -> Bools:
        """The items that feed an open comparison and have not come yet."""
        left = np.zeros(len(self.items), dtype=bool)
        for number in self.judge.open:
            left[self.comparisons[number].at] = True
        return left & (self.rank[self.items.clusters] >= self.reached)

    def _next_fits(self) -> bool:
        """Whether the next cluster is within what may be asked."""
        if self.max_items is None:
            return True
        left = np.flatnonzero(self._left())
        ranks = self.rank[self.items.clusters[left]]
        return self._asked_with(left[ranks == ranks.min()]) <= self.max_items

    def _asked_with(self, more: Integers) -> int:
        """Items that would have been asked with these too."""
        asked = self.asked.copy()
        asked[more] = True
        return self.items.count(asked)

    def _size(self) -> int:
        """How many items the next batch should have."""
        feeding = np.zeros(len(self.items), dtype=bool)
        for number in self.judge.open:
            feeding[self.comparisons[number].at] = True
        return max(FIRST, math.ceil(GROWTH * int((feeding & self.asked).sum())))


def walk_through(walk: Walk, ask: Callable[[Integers], Floats]) -> Walk:
    """`walk`, after asking for as long as there is something to ask; `ask` gives the values of the items at some places."""
    while len(batch := walk.next_batch()):
        walk.take(batch, ask(batch))
    return walk
