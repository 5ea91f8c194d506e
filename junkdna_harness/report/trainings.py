"""The score by level over trainings of one model, which differ in their seed alone: their mean, and how far they lie apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from junkdna_harness.report.curves import Curve, Measured, score_curve
from junkdna_harness.report.lead import controls_of
from junkdna_harness.report.picture import Panel, Picture, counted
from junkdna_harness.report.plots import EASIEST, LEFT, draw_curves
from junkdna_harness.report.style import shorten

NAME = "score_over_trainings"


@dataclass(frozen=True)
class Scores:
    """What one training scores: method -> tier -> curve, the primary method and its controls; pruned ones alone."""

    n_items: int
    n_families: int
    metric: str
    curves: Mapping[str, Mapping[int, Curve]] = field(repr=False)


def scores_of(measured: Measured) -> Scores:
    """The curves of a model."""
    curves = {
        one.method: {
            t: score_curve(measured, one, measured.cells(tier=t), f"tier {t}") for t in measured.tiers
        }
        for one in controls_of(measured)
        if one.kind == "pruned"
    }
    metric = ", ".join(measured.panel.metrics[:3])
    return Scores(measured.n_items, len(measured.draws.families), metric, curves)


def over_trainings(model: str, found: Sequence[Scores]) -> Picture | None:
    """The picture of trainings of `model`, on the methods, tiers and levels that all have; None where there is none."""
    shared = [method for method in found[0].curves if all(method in one.curves for one in found)]
    panels = []
    tiers = sorted(set.intersection(*({t for by in one.curves.values() for t in by} for one in found)))
    for method in shared:
        means = [(_mean([one.curves[method][t] for one in found]), k) for k, t in enumerate(tiers)]
        last = max((float(curve.x[-1]) for curve, _ in means), default=0.0)
        if last > 0:
            panels.append(
                Panel(shorten(method, 40), partial(draw_curves, curves=means, n_tiers=len(tiers), last=last))
            )
    if not panels:
        return None
    heading = (
        f"Score as weights are removed, by tier, mean over {len(found)} trainings and over families; bands from the lowest "
        "training to the highest"
    )
    first = found[0]
    about = counted(model, first.n_items, first.n_families)
    return Picture(NAME, heading, about, tuple(panels), (3.6, 2.7), first.metric, note=EASIEST, left=LEFT)


def _mean(curves: Sequence[Curve]) -> Curve:
    """Their mean at the levels that all have, with the lowest and the highest as its band."""
    first = curves[0]
    levels = [x for x in first.x if all(np.isclose(curve.x, x).any() for curve in curves)]
    seen = np.array([[curve.seen[np.isclose(curve.x, x).argmax()] for x in levels] for curve in curves])
    mean = seen.mean(axis=0)
    chance = float(np.mean([curve.chance for curve in curves]))
    none = np.zeros(len(levels), dtype=bool)
    return Curve(first.label, np.array(levels), mean, mean, seen.min(axis=0), seen.max(axis=0), chance, none)
