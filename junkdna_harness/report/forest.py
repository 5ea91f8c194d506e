"""The forest plot: an effect in each model, or in each family of one model, and the mean over models or families like these."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from difficulty.judge.combining import observed_effect
from difficulty.judge.scales import short
from difficulty.judge.summary import Bounds, bounds_of, models_by_size
from difficulty.text import count_text
from junkdna_harness.report.picture import Panel, Picture
from junkdna_harness.report.style import GREY, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from difficulty.judge.fit import FitResult
    from difficulty.judge.over_models import ModelsResult
    from difficulty.judge.verdicts import Claim, Rules

OVER_MODELS = ("P2", "P4", "P5", "P6", "P3")
OVER_FAMILIES = ("P2", "P6")
_COLOUR, _MEAN = "#0072B2", "#D55E00"
_WIDEST = 1.0  # how far an axis goes beyond the estimates and the mean, in spans of them
_NAME = 30  # characters of a model or family that are written


@dataclass(frozen=True)
class Forest:
    """One panel: a claim's effect on its first scale.

    `rows`: (name, bounds), None where that model or family does not test it. `mean` is over those that do, `about` what it is
    for, `prediction` the interval of a further one's true effect, None where too few were seen. `delta`: what matters.
    """

    claim: str
    verdict: str
    unit: str
    scale: str
    delta: float
    rows: tuple[tuple[str, Bounds | None], ...]
    mean: Bounds
    about: str
    prediction: tuple[float, float] | None


def over_models(found: ModelsResult) -> list[Forest]:
    """A panel for each claim that has an estimate over models; a row per model, from the smallest to the largest."""
    rules = next(iter(found.results.values())).rules
    panels = []
    for claim in (found.headline().get(name) for name in OVER_MODELS):
        if claim is None or claim.estimate is None:
            continue
        scale = next(iter(claim.details["scales"]))
        rows = []
        for model in models_by_size(found):
            own = found.own(model, claim)
            size = f" ({count_text(found.sizes[model])})" if model in found.sizes else ""
            judged = own is not None and own.estimate is not None and scale in own.details.get("scales", {})
            rows.append(
                (
                    shorten(model, _NAME) + size,
                    bounds_of(observed_effect(own, scale)) if own is not None and judged else None,
                )
            )
        panels.append(_panel(claim, scale, rules, rows))
    return panels


def over_families(fit: FitResult) -> list[Forest]:
    """The panels of one model, on the method that its headline shows; a row per family, the same in all panels."""
    claims = [
        claim
        for claim in (fit.headline().get(name) for name in OVER_FAMILIES)
        if claim is not None and claim.estimate is not None and claim.details.get("scales")
    ]
    found = [_of_families(fit, claim) for claim in claims]
    families = list(dict.fromkeys(family for own in found for family in own))
    return [
        _panel(
            claim,
            next(iter(claim.details["scales"])),
            fit.rules,
            [(shorten(family, _NAME), own.get(family)) for family in families],
        )
        for claim, own in zip(claims, found, strict=True)
    ]


def _of_families(fit: FitResult, headline: Claim) -> dict[str, Bounds | None]:
    """Each family's effect on the first scale of a headline, None where it was not estimated."""
    # families with margins and without have a scale each, and the pooled one is called by both, e.g. "T/A"
    scales = next(iter(headline.details["scales"])).split("/")
    method = headline.details.get("shown", headline.method)
    rows: dict[str, Bounds | None] = {}
    for own in fit.claims:
        if own.claim == headline.claim and own.scope.family is not None and own.method == method:
            known = own.details.get("scales", {}) if own.estimate is not None else {}
            at = next((scale for scale in scales if scale in known), None)
            rows[own.scope.family] = None if at is None else bounds_of(known[at]["these"])
    return rows


def _panel(claim: Claim, scale: str, rules: Rules, rows: Sequence[tuple[str, Bounds | None]]) -> Forest:
    found: Mapping[str, Any] = claim.details["scales"][scale]
    like = found.get("like")
    return Forest(
        claim.claim, claim.verdict, claim.unit, short(scale), rules.delta_level if claim.claim == "P3" else rules.delta_tier, tuple(rows),
        bounds_of(like or found["these"]), claim.about, (like["prediction_low"], like["prediction_high"]) if like else None,
    )  # fmt: skip


def forest(panels: Sequence[Forest], name: str, heading: str, counted: str) -> Picture | None:
    """The picture of some panels, all with the same rows; None where there is none."""
    if not panels:
        return None
    rows = max(len(panel.rows) for panel in panels)
    drawn = tuple(
        Panel(f"{panel.claim}: {panel.verdict}", partial(_forest, panel), panel.claim) for panel in panels
    )
    return Picture(name, heading, counted, drawn, (4.2, 2.0 + 0.27 * rows), share=False)


def _forest(panel: Forest, axes: Axes) -> None:
    """Rows from the top down, the mean below them."""
    bottom = len(panel.rows)
    y = bottom + 0.15
    limits = _limits(panel)
    axes.axvline(0, color="#444444", linewidth=0.9, label="no effect")
    axes.axvline(
        panel.delta, color="#444444", linewidth=0.9, linestyle=(0, (4, 2)), label="δ, the least that matters"
    )
    for at, (_, bounds) in enumerate(panel.rows):
        if bounds is None:
            axes.text(
                0.5, at, "not judged", transform=axes.get_yaxis_transform(), ha="center", va="center", color=GREY,
                fontsize=8, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
            )  # fmt: skip
            continue
        _line(axes, at, bounds.low, bounds.high, limits, color=_COLOUR, linewidth=1.4)
        axes.plot(bounds.estimate, at, "s", color=_COLOUR, markersize=5)
    if panel.prediction is not None:
        dotted: dict[str, Any] = {
            "linestyle": (0, (1.5, 1.2)),
            "label": "a further one's effect (prediction)",
        }
        _line(axes, y, *panel.prediction, limits, color=_MEAN, linewidth=1.3, **dotted)
    low, middle, high = panel.mean.low, panel.mean.estimate, panel.mean.high
    axes.fill(
        [low, middle, high, middle], [y, y - 0.27, y, y + 0.27], color=_MEAN, label="mean and its interval"
    )
    axes.axhline(bottom - 0.5, color="#999999", linewidth=0.6)
    axes.set_xlim(*limits)
    axes.locator_params(axis="x", nbins=5)
    axes.set_ylim(bottom + 0.7, -0.7)
    axes.set_yticks([*range(bottom), y], [*(name for name, _ in panel.rows), "mean"])
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.set_axisbelow(True)
    about = [line for text in (panel.about, panel.unit, panel.scale) for line in textwrap.wrap(text, 27)]
    axes.set_xlabel("\n".join(about), fontsize=8)


def _line(axes: Axes, y: float, low: float, high: float, limits: tuple[float, float], **style: Any) -> None:
    """An interval, with an arrow at an end that lies outside the panel."""
    axes.plot([max(low, limits[0]), min(high, limits[1])], [y, y], solid_capstyle="butt", **style)
    for end, marker, beyond in ((limits[0], "<", low < limits[0]), (limits[1], ">", high > limits[1])):
        if beyond:
            axes.plot(end, y, marker, color=style["color"], markersize=5, clip_on=False)


def _limits(panel: Forest) -> tuple[float, float]:
    """The ends of the axis: all intervals, but where one is very wide not so far that the others shrink to points."""
    known = [row for _, row in panel.rows if row is not None]
    core = [0.0, panel.delta, *panel.mean, *(row.estimate for row in known)]
    core = [value for value in core if math.isfinite(value)]
    span = max(core) - min(core)
    ends = [end for row in known for end in (row.low, row.high) if math.isfinite(end)]
    ends += [end for end in panel.prediction or () if math.isfinite(end)]
    low = max(min([*core, *ends]), min(core) - _WIDEST * span)
    high = min(max([*core, *ends]), max(core) + _WIDEST * span)
    return low - 0.06 * (high - low), high + 0.06 * (high - low)
