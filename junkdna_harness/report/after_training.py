"""The paper's figures of fine-tuning: what each way of training keeps of the dense model trained as long, along the sparsity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from difficulty.judge.controls import control_of
from difficulty.runs.identity import DENSE
from difficulty.stats import interval
from junkdna_harness.report.curves import Floats, Measured
from junkdna_harness.report.picture import CHANCE, Panel, Picture, counted
from junkdna_harness.report.style import DASHES, GREY, MARKERS, NAMES, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "score_after_training"
MOST_FAMILIES = 3  # that have a panel for each of their tiers; of more, tiers are means over families


@dataclass(frozen=True)
class Kept:
    """The share of the control's score that one way of training keeps at some levels, with its 95 % interval."""

    label: str
    levels: Floats
    kept: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class Trained:
    """One panel: some cells after training on one share of the data. `chance`: a guess, as a share of the control's score."""

    title: str
    file: str
    ways: tuple[Kept, ...]
    chance: float


def after_training(measured: Measured) -> list[Trained]:
    """A panel per tier (per family too, where they are few) and share of the data; empty where no way of training has two levels."""
    ways = _ways(measured)
    if not any(len(at) > 1 for _, at in ways.values()):
        return []
    shares = sorted({share for share, _ in ways}, reverse=True)
    found = []
    for place, cells in _places(measured):
        for share in shares:
            listed = [(name, control, at) for (one, name), (control, at) in ways.items() if one == share]
            title = place + (f", {100 * share:g} % of the data" if len(shares) > 1 else "")
            chance = _chance(measured, cells, listed[0][1])
            kept = tuple(_kept(measured, cells, name, control, at) for name, control, at in listed)
            found.append(Trained(title, title.replace("%", "percent"), kept, chance))
    return found


def score_after_training(measured: Measured) -> Picture | None:
    """What training brought back, as a share of the dense model trained as long."""
    found = after_training(measured)
    if not found:
        return None
    panels = tuple(Panel(shorten(one.title, 44), partial(_draw, one), one.file) for one in found)
    heading = "Score after training along the sparsity, % of the dense model trained as long, bars 95 %"
    told = counted(measured.panel.model, measured.n_items, len(measured.draws.families))
    return Picture(NAME, heading, told, panels, (3.2, 2.5), "% of dense")


def _ways(measured: Measured) -> dict[tuple[float, str], tuple[int, list[int]]]:
    """(share of the data, name without it) -> the control's condition, and the conditions by level; once trained models alone."""
    conditions = measured.draws.conditions
    found: dict[tuple[float, str], tuple[int, list[int]]] = {}
    for k, one in enumerate(conditions):
        if one.kind != "recovered" or one.done.before.base == DENSE or len(one.done.recoveries) != 1:
            continue
        control = control_of(conditions, one.done)
        if control is None:
            continue
        recovery = one.done.recoveries[0]
        name = str(replace(one.done, recoveries=(replace(recovery, share=1.0),)))
        found.setdefault((recovery.share, name), (control.at, []))[1].append(k)
    bases = {name.partition("+")[0] for _, name in found}
    if len(bases) == 1:
        found = {(share, name.partition("+")[2]): way for (share, name), way in found.items()}
    for _, at in found.values():
        at.sort(key=lambda k: conditions[k].level)
    return dict(sorted(found.items(), key=lambda item: item[0][1]))


def _places(measured: Measured) -> list[tuple[str, list[int]]]:
    """What has a panel: each family's tiers, or the tiers of many families."""
    families = measured.draws.families
    if len(families) > MOST_FAMILIES:
        return [(f"tier {tier}", measured.cells(tier=tier)) for tier in measured.tiers]
    return [
        (f"{family}, tier {measured.draws.cells[cell].tier}", [cell])
        for family in families
        for cell in measured.cells(family=family)
    ]


def _kept(measured: Measured, cells: Sequence[int], name: str, control: int, at: Sequence[int]) -> Kept:
    draws = measured.draws
    mean = draws.score[:, list(cells)].mean(axis=1)
    dense = mean[:, [control]]
    shares = np.where(dense > 0, mean[:, list(at)] / np.where(dense > 0, dense, 1), np.nan)
    shares = np.where(np.isnan(shares), shares[:1], shares)
    low, high = interval(shares, sum(draws.cells[i].n_clusters for i in cells))
    levels = np.array([draws.conditions[k].level for k in at])
    label = name.replace("_", " ")
    return Kept(label, levels, shares[0], np.minimum(low, shares[0]), np.maximum(high, shares[0]))


def _chance(measured: Measured, cells: Sequence[int], control: int) -> float:
    draws = measured.draws
    dense = float(draws.score[0, list(cells), control].mean())
    return float(np.mean([draws.cells[i].chance for i in cells])) / dense if dense > 0 else float("nan")


def _draw(panel: Trained, axes: Axes) -> None:
    step = 0.004
    for k, way in enumerate(panel.ways):
        shift = (k - (len(panel.ways) - 1) / 2) * step
        axes.errorbar(
            way.levels + shift, 100 * way.kept, yerr=[100 * (way.kept - way.low), 100 * (way.high - way.kept)],
            color=NAMES[k % len(NAMES)], marker=MARKERS[k % len(MARKERS)], linestyle=DASHES[k % len(DASHES)], linewidth=1.3,
            markersize=4.5, capsize=2, elinewidth=0.9, label=shorten(way.label, 40),
        )  # fmt: skip
    axes.axhline(100, color=GREY, linewidth=0.8)
    if np.isfinite(panel.chance):
        axes.axhline(100 * panel.chance, color=GREY, linewidth=0.9, linestyle=(0, (1, 2)), label=CHANCE)
    axes.set_xlabel("sparsity")
