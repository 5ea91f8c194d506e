"""What a fit says, in rows and sentences without a format: terminal, report and study print the same from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from difficulty.judge.fit import FitResult
from difficulty.judge.over_models import ModelsResult
from difficulty.judge.scales import short
from difficulty.judge.verdicts import Claim
from difficulty.stats.result import Floats


class Bounds(NamedTuple):
    """An estimate and the ends of its interval."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class ScaleRow:
    """A claim's effect on one scale, e.g. "T (trimmed mean of the margins)".

    `decides`: whether the verdict stands on it too. `these`: in the families (or models) tested; `like`: in others like them, with
    the `prediction` interval of a further one, `i2` and `tau2`. `over`: what was drawn again for the interval that decides.
    `variance`: the share of each source in its variance. What is not known is None or empty.
    """

    scale: str
    decides: bool
    these: Bounds | None = None
    like: Bounds | None = None
    prediction: tuple[float, float] | None = None
    i2: float | None = None
    tau2: float | None = None
    over: tuple[str, ...] = ()
    variance: Mapping[str, float] | None = None

    @property
    def shares(self) -> str:
        """The variance in words, e.g. "items 61 %, families 39 %"."""
        return ", ".join(f"{name} {100 * share:.0f} %" for name, share in (self.variance or {}).items())


@dataclass(frozen=True)
class Margins:
    """How the margins of `method` differ from the dense ones, mean over families: arrays (n_tiers, n_states), NaN where unknown.

    `states`: levels or bits as text, the mildest first. `sd_ratio`: SD over the dense SD. `correlation`: with the dense margins.
    """

    method: str
    tiers: tuple[int, ...]
    states: tuple[str, ...]
    sd_ratio: Floats
    correlation: Floats


def bounds_of(found: Mapping[str, Any]) -> Bounds:
    """The bounds in an estimate of `Claim.details`."""
    return Bounds(float(found["estimate"]), float(found["ci_low"]), float(found["ci_high"]))


def scale_rows(claim: Claim) -> list[ScaleRow]:
    """The scales that decide a claim, then those that are shown beside; empty where nothing was estimated."""
    rows = []
    pooled_like = False
    for name, found in claim.details.get("scales", {}).items():
        these, like = bounds_of(found["these"]), found.get("like")
        pooled_like = pooled_like or like is not None
        if like is None:
            rows.append(
                ScaleRow(
                    short(name),
                    True,
                    these,
                    over=tuple(found["these"]["over"]),
                    variance=found.get("variance"),
                )
            )
            continue
        same = bounds_of(like) == these  # over models only the second form is estimated
        rows.append(
            ScaleRow(
                short(name), True, None if same else these, bounds_of(like), (like["prediction_low"], like["prediction_high"]),
                like["i2"], like["tau2"], tuple(like["over"]), found.get("variance"),
            )
        )  # fmt: skip
    for name, beside in claim.details.get("sensitivity", {}).items():
        bounds = bounds_of(beside)
        rows.append(
            ScaleRow(short(name), False, None if pooled_like else bounds, bounds if pooled_like else None)
        )
    return rows


def margins(result: FitResult) -> Margins | None:
    """How the margins of the primary method differ from the dense ones, by tier and level; None where none were logged."""
    cells = result.cells[(result.cells["method"] == result.primary) & result.cells["sd_ratio"].notna()]
    if not len(cells):
        return None
    keys = {
        (_order(level, bits), _state(level, bits))
        for level, bits in zip(cells["level"], cells["bits"], strict=True)
    }
    states = tuple(state for _, state in sorted(keys))
    tiers = tuple(sorted(int(tier) for tier in cells["tier"].unique()))
    named = cells.assign(
        state=[_state(level, bits) for level, bits in zip(cells["level"], cells["bits"], strict=True)]
    )
    mean = named.groupby(["tier", "state"])[["sd_ratio", "margin_correlation"]].mean()

    def grid(column: str) -> Floats:
        return np.array(
            [[float(mean[column].get((tier, state), np.nan)) for state in states] for tier in tiers]
        )

    return Margins(result.primary, tiers, states, grid("sd_ratio"), grid("margin_correlation"))


def _order(level: float, bits: float) -> tuple[float, float]:
    return (0.0 if np.isnan(level) else float(level), 0.0 if np.isnan(bits) else -float(bits))


def _state(level: float, bits: float) -> str:
    parts = ([] if np.isnan(level) else [f"{level:g}"]) + ([] if np.isnan(bits) else [f"{bits:g} bits"])
    return " ".join(parts)


def margin_text(pair: tuple[float, float]) -> str:
    """SD ratio and correlation of a cell; what is not known is left out.

    >>> margin_text((1.204, float("nan")))
    '1.20'
    """
    return ", ".join(f"{value:.2f}" for value in pair if not np.isnan(value))


def models_by_size(found: ModelsResult) -> list[str]:
    """The models from the smallest to the largest; those of unknown size last, in their own order."""
    return sorted(found.results, key=lambda name: found.sizes.get(name, float("inf")))
