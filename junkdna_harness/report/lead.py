"""What a page's first pictures compare: the primary method with its controls, by level and at the same mean loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from difficulty.judge.claims.small_weights import CONTROLS
from difficulty.judge.ordering import interpolate
from difficulty.judge.series import Series
from junkdna_harness.report.curves import Floats, Measured, with_interval

_MOST = 3  # methods that stand beside each other where none is a control
_WANTED = (0.1, 0.3)  # mean losses that are looked for: a mild one and a heavy one
_LEAST = 0.02  # a smaller loss is ordered by noise
_WIDEST = (
    2.0  # levels around a loss may lie as many times the loss apart, as in P6 (`difficulty.judge.ordering`)
)


@dataclass(frozen=True)
class Damage:
    """Losses by tier at one mean `loss`. `rows`: (method, loss, low, high), each of shape (n_tiers,), as shares."""

    title: str
    loss: float
    rows: tuple[tuple[str, Floats, Floats, Floats], ...] = field(repr=False)


@dataclass(frozen=True)
class _Losses:
    """Losses under one method from none on: `mean` (1 + n_levels, 1 + B), rising; `tiers` (n_tiers, 1 + n_levels, 1 + B)."""

    mean: Floats
    tiers: Floats

    def reaches(self, loss: float) -> bool:
        """Whether the tiers' losses are known where the mean is `loss`."""
        measured = self.mean[:, 0]
        if not 0 < loss <= measured[-1]:
            return False
        right = max(int((measured < loss).sum()), 1)
        return bool(measured[right] - measured[right - 1] <= _WIDEST * loss)


def controls_of(measured: Measured) -> list[Series]:
    """The primary method and its controls; without any, the first methods there are."""
    series = measured.of_kind("pruned") or list(measured.series)
    controls = [one for one in series[1:] if one.method in CONTROLS]
    return [series[0], *controls] if controls else series[:_MOST]


def matched_damage(measured: Measured) -> list[Damage]:
    """The losses by tier under the first method at up to two of its levels, and under the others at the same mean loss.

    Between two levels of a method its losses are interpolated in each resample.
    """
    series = controls_of(measured)
    if len(series) < 2 or len(measured.tiers) < 2:
        return []
    found = [_losses(measured, one) for one in series]
    counts = [sum(measured.draws.cells[i].n_clusters for i in measured.cells(tier=t)) for t in measured.tiers]
    made = []
    for number in _levels(found):
        target = found[0].mean[number]
        rows = []
        for one, losses in zip(series, found, strict=True):
            if losses is found[0]:
                drawn = losses.tiers[:, number]
            elif losses.reaches(float(target[0])):
                drawn = np.array([interpolate(losses.mean, tier, target) for tier in losses.tiers])
            else:
                continue
            bounds = np.array([with_interval(tier, n) for tier, n in zip(drawn, counts, strict=True)])
            rows.append((one.method, bounds[:, 0], bounds[:, 1], bounds[:, 2]))
        level = f"{series[0].method} at {100 * series[0].levels[number - 1]:.3g} %"
        made.append(
            Damage(f"mean loss {100 * float(target[0]):.1f} points ({level})", float(target[0]), tuple(rows))
        )
    return made


def _losses(measured: Measured, series: Series) -> _Losses:
    score = measured.draws.score
    none = np.zeros((1, len(score)))
    tiers = []
    for tier in measured.tiers:
        cells = measured.cells(tier=tier)
        loss = (score[:, cells, :1] - score[:, cells][:, :, list(series.at)]).mean(axis=1)
        tiers.append(np.vstack([none, loss.T]))
    each = np.array(tiers)
    return _Losses(np.maximum.accumulate(each.mean(axis=0), axis=0), each)


def _levels(found: Sequence[_Losses]) -> list[int]:
    """The levels of the first method, mild and heavy, whose loss most of the others have too."""
    mine = found[0]
    own = mine.tiers.mean(axis=0)[:, 0]
    known = {
        n: sum(other.reaches(float(mine.mean[n, 0])) for other in found[1:])
        for n in range(1, len(own))
        if own[n] >= _LEAST
        and own[n] >= mine.mean[n, 0] - 1e-12  # where the loss fell again, the mean is not this level's
    }
    most = max(known.values(), default=0)
    usable = [n for n, others in known.items() if others == most > 0]
    nearest = (min(usable, key=lambda n: abs(own[n] - wanted)) for wanted in _WANTED if usable)
    return sorted(set(nearest))
