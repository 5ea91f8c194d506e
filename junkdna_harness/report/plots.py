"""The pictures of what was measured. Each is readable without colour: markers and line styles differ, and shades are ordered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from difficulty.judge.series import FULL_BITS, Series
from difficulty.stats.result import Floats
from junkdna_harness.report.after_training import score_after_training
from junkdna_harness.report.curves import Curve, Measured, losses, recovery_gaps, score_curve
from junkdna_harness.report.lead import controls_of, matched_damage
from junkdna_harness.report.picture import CHANCE, DENSE, MATCHED, SEEDS, Panel, Picture, counted
from junkdna_harness.report.style import DASHES, GREY, MARKERS, NAMES, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from difficulty.judge.fit import FitResult

# As a report shows them; the first two stand on top of its page.
LEAD = ("score_by_level", "loss_at_matched_damage")
ORDER = (
    *LEAD, "score_other_methods", "score_by_family", "drop_heatmap", "critical_sparsity", "equal_memory", "recovery_gap",
    "score_after_training",
)  # fmt: skip
EASIEST = "tier 1 is the easiest"
_SPARSITY, _GONE = "sparsity (share of weights removed)", "share of 16 bits that is gone"
_CURVES = "points as measured, lines isotonic, bands 95 %"
_DOTS = (0, (1, 2))
_MAGNITUDES = 300  # levels that are so many times each other cannot be told apart on a plain axis
LEFT = 0.58  # inches of numbers such as 0.75 or 100 and a label of one line
_MANY = 7  # families that a picture can tell apart; more are thin lines about their mean


def pictures(measured: Measured) -> list[Picture]:
    """The pictures of the scores that the runs allow: without quantized runs no comparison with them, and so on."""
    makers: tuple[Callable[[Measured], Picture | None], ...] = (
        score_by_level,
        loss_at_matched_damage,
        score_other_methods,
        score_by_family,
        drop_heatmap,
        equal_memory,
        recovery_gap,
        score_after_training,
    )
    made = (maker(measured) for maker in makers)
    return [picture for picture in made if picture is not None]


def score_by_level(measured: Measured) -> Picture | None:
    """Score against sparsity, one line per tier: the primary method beside its controls."""
    series = controls_of(measured)
    if not series:
        return None
    heading = f"Score as weights are removed, by tier, mean over families: {_CURVES}"
    if series[0].kind == "quantized":
        heading = f"Score as weights are rounded, by tier, mean over families: {_CURVES}"
    return _score_panels(measured, "score_by_level", heading, series)


def score_other_methods(measured: Measured) -> Picture | None:
    """The same for the methods of pruning that do not stand there."""
    first = controls_of(measured)
    series = [one for one in measured.of_kind("pruned") if one not in first]
    if not series:
        return None
    heading = f"Score under the other methods, by tier, mean over families: {_CURVES}"
    return _score_panels(measured, "score_other_methods", heading, series)


def _score_panels(measured: Measured, name: str, heading: str, series: Sequence[Series]) -> Picture:
    groups = [(f"tier {tier}", measured.cells(tier=tier), k) for k, tier in enumerate(measured.tiers)]
    last = max(level for one in series for level in one.levels)
    panels = tuple(
        Panel(shorten(one.method, 40), partial(_scores, measured, one, groups, last)) for one in series
    )
    return Picture(
        name, heading, _counted(measured), panels, (3.6, 2.7), _score_label(measured), note=EASIEST, left=LEFT
    )


def loss_at_matched_damage(measured: Measured) -> Picture | None:
    """Points lost by tier, where the methods lose the same on average: one panel per loss, one line per method."""
    found = matched_damage(measured)
    if not found:
        return None
    top = max(float(high.max()) for damage in found for *_, high in damage.rows)
    low = min(0.0, min(float(low.min()) for damage in found for *_, low, _ in damage.rows))

    def draw(rows: Sequence[Any], axes: Axes) -> None:
        _by_tier(
            axes, measured.tiers, [(name, 100 * loss, 100 * down, 100 * up) for name, loss, down, up in rows]
        )
        axes.set_ylim(100 * (low - 0.05 * top), 105 * top)

    panels = tuple(Panel(one.title, partial(draw, one.rows), f"{100 * one.loss:.0f}_points") for one in found)
    heading = "Loss by tier where all methods lose the same on average over the tiers, mean over families, bars 95 %"
    return Picture(
        "loss_at_matched_damage", heading, _counted(measured), panels, (3.6, 2.7), "points lost", left=LEFT
    )


def score_by_family(measured: Measured) -> Picture | None:
    """Score against sparsity under the primary method, a panel per family."""
    series = measured.of_kind("pruned")
    families = measured.draws.families
    if not series or len(families) < 2:
        return None
    panels = []
    for family in families:
        groups = []
        for cell in measured.cells(family=family):
            tier = measured.draws.cells[cell].tier
            groups.append((f"tier {tier}", [cell], measured.tiers.index(tier)))
        panels.append(
            Panel(shorten(family, 34), partial(_scores, measured, series[0], groups, max(series[0].levels)))
        )
    heading = f"Score of each family under {series[0].method}: {_CURVES}"
    return Picture(
        "score_by_family", heading, _counted(measured), tuple(panels), (2.9, 2.3), _score_label(measured), note=EASIEST, left=LEFT
    )  # fmt: skip


def drop_heatmap(measured: Measured) -> Picture | None:
    """Loss against dense in points: levels down, tiers across, a panel per method."""
    if not measured.series:
        return None
    tiers = measured.tiers
    grids = [
        100 * losses(measured, one, [measured.cells(tier=t) for t in tiers]).T for one in measured.series
    ]
    top = max(5.0, max(float(grid.max()) for grid in grids))
    longest = max(len(grid) for grid in grids)
    panels = tuple(
        Panel(shorten(one.method, 30), partial(_heat, measured, one, grid, top))
        for one, grid in zip(measured.series, grids, strict=True)
    )
    size = (max(2.4, 1.1 + 0.46 * len(tiers)), 0.9 + 0.27 * longest)
    heading = "Points lost against the dense model, mean over families"
    return Picture("drop_heatmap", heading, _counted(measured), panels, size, share=False)


def _heat(measured: Measured, series: Series, grid: Any, top: float, axes: Axes) -> None:
    axes.imshow(grid, cmap="Blues", vmin=0, vmax=top, aspect="auto")
    axes.grid(visible=False)
    axes.set_xticks(range(len(measured.tiers)), [f"tier {t}" for t in measured.tiers])
    axes.set_yticks(
        range(len(series.levels)), [_level(measured, series, i) for i in range(len(series.levels))]
    )
    for (row, column), value in np.ndenumerate(grid):
        color = "white" if value > 0.55 * top else "black"
        axes.text(column, row, f"{round(value) + 0:d}", ha="center", va="center", fontsize=8, color=color)


def critical_sparsity(fit: FitResult) -> Picture | None:
    """Critical sparsity by tier, a panel per method, the one that the verdicts are about first; one line per family."""
    if not len(fit.critical):
        return None
    methods = sorted(fit.critical["method"].unique(), key=lambda method: (method != fit.primary, method))
    panels = tuple(Panel(shorten(method, 40), partial(_critical, fit, method)) for method in methods)
    heading = f"Critical sparsity: where the loss passes {100 * fit.rules.delta:g} points"
    if fit.critical["family"].nunique() <= _MANY:
        ends = [_critical_of(fit, method) for method in methods]
        beyond = any((rows["critical"] >= top).any() for rows, top in ends)
        heading += f", bars 95 %{' (open: not within the levels measured)' if beyond else ''}"
    if (fit.cells["kind"] == "quantized").any():
        heading += "; of a quantizer, the share of 16 bits that is gone"
    return Picture(
        "critical_sparsity", heading, counted(fit.model, fit.n_items, fit.cells["family"].nunique()), panels, (3.6, 2.7),
        "critical sparsity", left=LEFT,
    )  # fmt: skip


def _critical_of(fit: FitResult, method: str) -> tuple[Any, float]:
    """The rows of a method, and its last level, which a curve that never passes the mark is given."""
    cells = fit.cells[fit.cells["method"] == method]
    severity = cells["level"].where(cells["kind"] != "quantized", 1 - cells["effective_bits"] / FULL_BITS)
    return fit.critical[fit.critical["method"] == method], float(severity.max()) - 1e-9


def _critical(fit: FitResult, method: str, axes: Axes) -> None:
    found, top = _critical_of(fit, method)
    families = list(dict.fromkeys(fit.critical["family"]))
    tiers = sorted(found["tier"].unique())
    if len(families) > _MANY:
        for _, rows in found.sort_values("tier").groupby("family"):
            axes.plot(rows["tier"], rows["critical"], color=GREY, linewidth=0.7, alpha=0.6)
        axes.plot([], [], color=GREY, linewidth=0.7, label=f"each of {len(families)} families")
        mean = found.groupby("tier")["critical"].mean()
        axes.plot(mean.index, mean, color=NAMES[0], marker=MARKERS[0], linewidth=1.8, label="mean")
    else:
        for k, family in enumerate(families):
            rows = found[found["family"] == family].sort_values("tier")
            _one_critical(axes, rows, k, _shift(k, len(families)), top, family)
    axes.set_xticks(tiers, [f"tier {t}" for t in tiers])
    axes.set_ylim(-0.02, 1.0)


def _one_critical(axes: Axes, rows: Any, k: int, shift: float, top: float, family: str) -> None:
    level, x = rows["critical"].to_numpy(dtype=float), rows["tier"].to_numpy(dtype=float) + shift
    color, marker, dash = NAMES[k % len(NAMES)], MARKERS[k % len(MARKERS)], DASHES[k % len(DASHES)]
    bars = [np.maximum(level - rows["critical_low"], 0), np.maximum(rows["critical_high"] - level, 0)]
    axes.plot(x, level, color=color, linestyle=dash, linewidth=1.3)
    axes.errorbar(x, level, yerr=bars, fmt="none", ecolor=color, elinewidth=0.9, capsize=2)
    for xi, yi, open_end in zip(x, level, level >= top, strict=True):
        axes.plot(xi, yi, marker, color=color, markersize=5, markerfacecolor="white" if open_end else color)
    axes.plot([], [], marker=marker, color=color, linestyle=dash, label=shorten(family, 24))


def equal_memory(measured: Measured) -> Picture | None:
    """Pruning and quantization against effective bits per weight, one panel per tier."""
    if not measured.of_kind("quantized") or not measured.of_kind("pruned"):
        return None
    tiers = measured.tiers if len(measured.tiers) <= 4 else [measured.tiers[0], measured.tiers[-1]]
    panels = tuple(Panel(f"tier {tier}", partial(_memory, measured, tier)) for tier in tiers)
    heading = "Pruning (open, dashed) and quantization (filled, solid) at equal memory, mean over families, bands 95 %"
    return Picture(
        "equal_memory", heading, _counted(measured), panels, (3.2, 2.7), _score_label(measured), left=LEFT
    )


def _memory(measured: Measured, tier: int, axes: Axes) -> None:
    for k, one in enumerate(measured.series):
        bits = np.array([FULL_BITS, *(measured.draws.conditions[i].effective_bits for i in one.at)])
        curve = score_curve(measured, one, measured.cells(tier=tier), one.method, bits)
        color = NAMES[k % len(NAMES)]
        style, filled = ("-", color) if one.kind == "quantized" else ("--", "white")
        axes.fill_between(bits, curve.low, curve.high, color=color, alpha=0.12, linewidth=0)
        axes.plot(
            bits, curve.seen, marker=MARKERS[k % len(MARKERS)], color=color, linestyle=style, linewidth=1.2,
            markersize=4.5, markerfacecolor=filled, label=shorten(one.method, 24),
        )  # fmt: skip
    _chances(axes, {curve.chance: GREY})
    axes.set_xscale("log", base=2)
    least = min(measured.draws.conditions[i].effective_bits for one in measured.series for i in one.at)
    ticks = [t for t in (16, 8, 4, 3, 2, 1) if t >= 0.9 * least]
    axes.set_xticks(ticks, [str(t) for t in ticks])
    axes.minorticks_off()
    axes.set_xlim(17.5, 0.92 * least)
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlabel("effective bits per weight")


def recovery_gap(measured: Measured) -> Picture | None:
    """What is missing after recovery, by tier."""
    gaps = recovery_gaps(measured)
    if not gaps:
        return None

    def draw(axes: Axes) -> None:
        rows = [(label, 100 * gap, 100 * low, 100 * high) for label, _, gap, low, high in gaps]
        _by_tier(axes, measured.tiers, rows)
        axes.axhline(0, color=GREY, linewidth=0.8)

    heading = "What training did not bring back, by tier, bars 95 %"
    return Picture(
        "recovery_gap", heading, _counted(measured), (Panel("", draw),), (4.2, 3.0), "points behind dense\nafter equal training"
    )  # fmt: skip


def _by_tier(axes: Axes, tiers: Sequence[int], rows: Sequence[tuple[str, Any, Any, Any]]) -> None:
    """A line with bars per row of (name, value, low, high), the values by tier."""
    for k, (name, value, low, high) in enumerate(rows):
        axes.errorbar(
            np.array(tiers) + _shift(k, len(rows)), value, yerr=[np.maximum(value - low, 0), np.maximum(high - value, 0)],
            color=NAMES[k % len(NAMES)], marker=MARKERS[k % len(MARKERS)], linestyle=DASHES[k % len(DASHES)], linewidth=1.3,
            markersize=4.5, capsize=2, elinewidth=0.9, label=shorten(name, 40),
        )  # fmt: skip
    axes.set_xticks(tiers, [f"tier {t}" for t in tiers])


def _shift(k: int, count: int) -> float:
    """Series side by side, so that their bars do not hide each other."""
    return (k - (count - 1) / 2) * min(0.08, 0.6 / count)


def _scores(
    measured: Measured,
    series: Series,
    groups: Sequence[tuple[str, Sequence[int], int]],
    last: float,
    axes: Axes,
) -> None:
    """A curve per tier, `groups` being its label, cells and number."""
    curves = [(score_curve(measured, series, cells, label), k) for label, cells, k in groups]
    draw_curves(axes, curves, len(measured.tiers), last, _SPARSITY if series.kind != "quantized" else _GONE)


def draw_curves(
    axes: Axes, curves: Sequence[tuple[Curve, int]], n_tiers: int, last: float, label: str = _SPARSITY
) -> None:
    """Curves with the numbers of their tiers, up to the level `last`; what the dense model scores, and guessing."""
    colors = shades(n_tiers)
    for curve, k in curves:
        _curve(axes, curve, colors[k], k)
    if any(curve.matched.any() for curve, _ in curves):
        axes.plot([], [], "o", color=GREY, markersize=9, markerfacecolor="none", label=MATCHED)
    if any(curve.seeds for curve, _ in curves):
        axes.fill_between([], [], [], color=GREY, alpha=0.45, linewidth=0, label=SEEDS)
    axes.plot([], [], color=GREY, linewidth=0.8, alpha=0.8, label=DENSE)
    same = len({round(curve.chance, 9) for curve, _ in curves}) == 1
    _chances(axes, {curve.chance: GREY if same else colors[k] for curve, k in curves})
    log = severities(axes, np.unique(np.concatenate([curve.x for curve, _ in curves])), last)
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlabel(f"{label}, log" if log else label)


def severities(axes: Axes, levels: Floats, last: float) -> bool:
    """The axis of the levels, which begin with 0: up to `last`, or their own end where that is far below; logarithmic (then true) where
    they lie orders of magnitude apart, as those of `largest` do."""
    levels = levels[levels > 0]
    if not len(levels) or levels[-1] <= _MAGNITUDES * levels[0]:
        end = last if not len(levels) or levels[-1] > last / 4 else float(levels[-1])
        axes.set_xlim(-0.04 * end, 1.04 * end)
        return False
    axes.set_xscale("symlog", linthresh=levels[0], linscale=0.6)
    powers = np.arange(np.ceil(np.log10(levels[0])), np.floor(np.log10(levels[-1])) + 1)
    ticks = [0.0, *(10.0 ** powers[:: -(-len(powers) // 4)])]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlim(-0.2 * levels[0], 1.6 * levels[-1])
    return True


def _curve(axes: Axes, curve: Curve, color: Any, k: int) -> None:
    marker, dash = MARKERS[k % len(MARKERS)], DASHES[k % len(DASHES)]
    axes.axhline(curve.seen[0], color=color, linewidth=0.8, alpha=0.45)
    axes.fill_between(curve.x, curve.low, curve.high, color=color, alpha=0.15, linewidth=0)
    if curve.seeds is not None:
        axes.fill_between(curve.x, *curve.seeds, color=color, alpha=0.3, linewidth=0)
    axes.plot(curve.x, curve.fit, color=color, linestyle=dash, linewidth=1.4)
    axes.plot(curve.x, curve.seen, marker, color=color, markersize=4.2)
    axes.plot(
        curve.x[curve.matched],
        curve.seen[curve.matched],
        "o",
        color=color,
        markersize=9,
        markerfacecolor="none",
    )
    axes.plot([], [], marker=marker, color=color, linestyle=dash, label=curve.label)


def _chances(axes: Axes, chances: dict[float, Any]) -> None:
    """A dotted line at each score of guessing, in the colour of what it is the chance of; none at 0."""
    shown = {chance: color for chance, color in chances.items() if chance > 0}
    for chance, color in shown.items():
        axes.axhline(chance, color=color, linewidth=1.0, linestyle=_DOTS)
    if shown:
        axes.plot([], [], color=GREY, linewidth=1.0, linestyle=_DOTS, label=CHANCE)


def shades(count: int) -> list[Any]:
    """Colours in order, the first the lightest, which grey tells apart too."""
    from matplotlib import colormaps

    return [colormaps["viridis"](0.82 * (1 - k / max(count - 1, 1))) for k in range(count)]


def _counted(measured: Measured) -> str:
    return counted(measured.panel.model, measured.n_items, len(measured.draws.families))


def _score_label(measured: Measured) -> str:
    return ", ".join(measured.panel.metrics[:3])


def _level(measured: Measured, series: Series, position: int) -> str:
    condition = measured.draws.conditions[series.at[position]]
    return f"{condition.bits:g} bit" if series.kind == "quantized" else f"{100 * condition.level:.4g} %"
