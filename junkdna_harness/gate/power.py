"""What a gate can decide before it is run: for each comparison, the items it needs, what those that there are can see, what to do.

The question is always that of an equal model whose answers change on a share of the items (discordance), as they do by rounding, in other
batches, or after a quantization that lost nothing: how often is it shown to lose less than the limit?
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import special

from difficulty.runs.noise import Floor, pool
from difficulty.stats.mean import kish, shift_of
from difficulty.stats.paired_loss import UNBOUNDED_ITEMS
from difficulty.stats.power import MOST_ITEMS, detectable, items_for, most_lost, power
from junkdna_harness.gate.items import RunItems
from junkdna_harness.gate.planned import PlannedComparison, plan_comparisons
from junkdna_harness.gate.policy import Policy

GUESS = 0.01  # answers that change between two equal models, by rounding alone: a guess, and said to be one
POWER, SURE = 0.8, 0.95
_DRAWS = 2000
_STEPS = 14


@dataclass(frozen=True)
class Prospect:
    """One comparison before the run. `discordance`: share of items that change in an equal model, None for an unbounded metric of
    which nothing is known. `effective`: items that count, were all items of a cluster alike. `items`: power -> items with which
    an equal model passes with that power, None where a million would not do. `passes`: that power with the given items. `sees`: the
    smallest true loss that fails with 80 % power; None where it is not known. `wider`: the smallest limit that an equal model passes
    with 80 % power.
    """

    planned: PlannedComparison = field(repr=False)
    discordance: float | None
    effective: int
    items: Mapping[float, int | None]
    passes: float | None
    sees: float | None
    wider: float | None

    @property
    def decided(self) -> bool:
        """Whether an equal model passes with a power of 80 % as it is."""
        return self.passes is not None and self.passes >= POWER

    @property
    def numbers(self) -> tuple[object, ...]:
        """What is printed of it but for its name."""
        one = self.planned
        return (
            one.n_items, one.limit, one.kind, one.metric, self.discordance, *self.items.values(), self.passes, self.sees, self.wider,
        )  # fmt: skip


@dataclass(frozen=True)
class Outlook:
    """All comparisons, and how often an equal model passes all critical ones; None where one of these is not known.

    `measured`: that every discordance is the baseline's noise floor; `guessed`: that one is a guess.
    """

    prospects: tuple[Prospect, ...]
    joint: float | None
    measured: bool
    guessed: bool


def outlook(baseline: RunItems, policy: Policy, discordance: float | None = None) -> Outlook:
    """What the items of `baseline` can decide under `policy`. `discordance`: of an equal model, instead of the baseline's noise floors.

    Without either it is a guess of 1 %.

    Raises:
        UsageError: as `plan_comparisons`.
    """
    planned = plan_comparisons(baseline, policy)
    critical = sum(one.rule.critical for one in planned)
    floors = {key: None if discordance is not None else task.noise for key, task in baseline.tasks.items()}
    otherwise = GUESS if discordance is None else discordance
    shares = {
        key: floor.changed / floor.n_items if floor is not None and floor.n_items else otherwise
        for key, floor in floors.items()
    }
    prospects = []
    for one in planned:
        among = max(critical, 1) if one.rule.critical else len(planned) - critical
        prospects.append(
            _prospect(one, baseline, shares, pool(floors[key] for key in one.cells), policy.alpha, among)
        )
    judged = [one for one in prospects if one.planned.rule.critical]
    known = all(one.discordance is not None for one in judged)
    joint = _joint(judged, baseline, shares, policy.alpha) if judged and known else None
    measured = all(floor is not None for floor in floors.values())
    return Outlook(tuple(prospects), joint, measured, discordance is None and not measured)


def effective_items(one: PlannedComparison, baseline: RunItems) -> int:
    """Items that count, were all items of a cluster alike: n^2 / sum of squared cluster sizes."""
    names = [baseline.tasks[key].clusters[i] for key, positions in one.cells.items() for i in positions]
    sizes = np.unique(np.asarray(names, dtype=object).astype(str), return_counts=True)[1].astype(float)
    return int(one.n_items**2 / (sizes**2).sum() + 1e-9)


def _prospect(
    one: PlannedComparison,
    baseline: RunItems,
    shares: Mapping[str, float],
    floor: Floor | None,
    alpha: float,
    among: int,
) -> Prospect:
    counted = effective_items(one, baseline)
    effect = one.n_items / counted
    if one.bounded is False or one.scale != "mean":
        return _unbounded(one, baseline, floor, counted, alpha, among)
    moved = _rounded(sum(shares[key] * len(at) for key, at in one.cells.items()) / one.n_items)
    lost, gained = (moved, 0.0) if one.kind == "flips" else (moved / 2, moved / 2)
    items = {p: items_for(p, lost, gained, one.limit, alpha, "pass", effect) for p in (POWER, SURE)}
    sees = detectable(counted, 0.0 if one.kind == "flips" else moved, one.limit, alpha / among, POWER)
    passes = power(counted, lost, gained, one.limit, alpha)
    wider = one.limit if passes >= POWER else _wider(counted, lost, gained, alpha)
    return Prospect(one, moved, counted, items, passes, sees if np.isfinite(sees) else None, wider)


def _rounded(share: float) -> float:
    """To two digits, so that comparisons that are as good as alike are computed once."""
    return float(f"{share:.2g}")


def _wider(n: int, lost: float, gained: float, alpha: float) -> float | None:
    low, high = lost - gained, 0.5
    if power(n, lost, gained, high, alpha) < POWER:
        return None
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if power(n, lost, gained, middle, alpha) >= POWER else (middle, high)
    return high


def _unbounded(
    one: PlannedComparison, baseline: RunItems, floor: Floor | None, counted: int, alpha: float, among: int
) -> Prospect:
    """By the normal approximation, with the standard deviation of the noise floor's differences as if they were normal."""
    if floor is None or floor.weight == 0 or floor.spread == 0:
        return Prospect(one, None, counted, {POWER: None, SURE: None}, None, None, None)
    weights = [baseline.tasks[key].weights for key in one.cells]
    uneven = kish(np.concatenate([w[at] for w, at in zip(weights, one.cells.values(), strict=True) if w is not None])) if all(
        w is not None for w in weights
    ) else 1.0  # fmt: skip
    spread = floor.spread / floor.weight * float(np.sqrt(np.pi / 2)) * float(np.sqrt(uneven))
    shift = shift_of(one.limit, one.before, one.scale)
    effect = one.n_items / counted
    z = float(special.ndtri(1 - alpha))
    items: dict[float, int | None] = {}
    for p in (POWER, SURE):
        n = (
            max(((z + float(special.ndtri(p))) * spread / shift) ** 2, UNBOUNDED_ITEMS) * effect
            if shift > 0
            else np.inf
        )
        items[p] = int(np.ceil(n)) if n <= MOST_ITEMS else None
    error = spread / np.sqrt(counted)
    passes = float(special.ndtr(shift / error - z)) if counted >= UNBOUNDED_ITEMS else 0.0
    sees = shift + (float(special.ndtri(1 - alpha / among)) + float(special.ndtri(POWER))) * error
    wider = (z + float(special.ndtri(POWER))) * error

    def back(x: float) -> float:
        return one.before * float(np.expm1(x)) if one.scale == "perplexity" else x

    known = counted >= UNBOUNDED_ITEMS
    return Prospect(
        one,
        floor.changed / floor.n_items,
        counted,
        items,
        passes,
        back(sees) if known else None,
        back(wider) if known else None,
    )


def _joint(
    judged: Sequence[Prospect], baseline: RunItems, shares: Mapping[str, float], alpha: float
) -> float:
    """How often an equal model passes all of these at once: their items are drawn together, since comparisons share them.

    Items that are in the same comparisons are one pot; of each pot as many units are drawn as count. Comparisons of unbounded metrics
    are taken as independent of the others.
    """
    counts = [one for one in judged if one.planned.bounded is not False and one.planned.scale == "mean"]
    apart = float(np.prod([one.passes or 0.0 for one in judged if one not in counts]))
    if not counts:
        return apart
    pots = _pots([one.planned for one in counts], baseline)
    g = np.random.default_rng(0)
    lost, gained = np.zeros((len(counts), _DRAWS)), np.zeros((len(counts), _DRAWS))
    for (key, members), (n, units) in pots.items():
        drawn = g.multinomial(units, [shares[key] / 2, shares[key] / 2, 1 - shares[key]], size=_DRAWS) * (
            n / units
        )
        for i in members:
            if counts[i].planned.kind == "flips":
                lost[i] += drawn[:, 0] + drawn[:, 1]
            else:
                lost[i] += drawn[:, 0]
                gained[i] += drawn[:, 1]
    together = np.ones(_DRAWS, dtype=bool)
    for i, one in enumerate(counts):
        effect = one.planned.n_items / one.effective
        b = np.ceil(lost[i] / effect - 1e-9).astype(np.int64)
        c = np.floor(gained[i] / effect + 1e-9).astype(np.int64)
        edges = most_lost(one.effective, one.planned.limit, alpha, int(c.max()))
        together &= b <= edges[c]
    return apart * float(together.mean())


def _pots(
    planned: Sequence[PlannedComparison], baseline: RunItems
) -> dict[tuple[str, tuple[int, ...]], tuple[int, int]]:
    """(task, comparisons) -> items that are in just these comparisons, and how many of them count."""
    found: dict[tuple[str, tuple[int, ...]], tuple[int, int]] = {}
    for key, task in baseline.tasks.items():
        inside = np.zeros((len(planned), len(task.item_ids)), dtype=bool)
        for i, one in enumerate(planned):
            inside[i, one.cells.get(key, np.empty(0, dtype=np.intp))] = True
        kinds, which = np.unique(inside, axis=1, return_inverse=True)
        for k in range(kinds.shape[1]):
            at = np.flatnonzero(which.ravel() == k)
            sizes = np.unique(np.asarray(task.clusters, dtype=object)[at].astype(str), return_counts=True)[1]
            members = tuple(np.flatnonzero(kinds[:, k]).tolist())
            if members:
                found[key, members] = (
                    len(at),
                    max(int(len(at) ** 2 / (sizes.astype(float) ** 2).sum() + 1e-9), 1),
                )
    return found
