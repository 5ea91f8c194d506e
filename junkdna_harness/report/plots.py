"""The plots of a report. Each is readable without colour: markers and line styles differ, and shades are ordered."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from difficulty.judge.series import FULL_BITS, Series
from junkdna_harness.report.curves import Measured, losses, recovery_gaps, score_curve
from junkdna_harness.report.figures import STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from difficulty.judge.fit import FitResult

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
# Okabe & Ito (2008), without yellow, which is too pale on white; for names without an order.
NAMES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")


# As a report shows them.
ORDER = (
    "score_vs_sparsity", "score_by_family", "drop_heatmap", "critical_sparsity", "equal_memory", "recovery_gap",
)  # fmt: skip


def figures(measured: Measured) -> list[tuple[str, Figure]]:
    """The plots of the scores that the runs allow, by name: without quantized runs no comparison with them, and so on."""
    import matplotlib

    makers: dict[str, Callable[[Measured], Figure | None]] = {
        "score_vs_sparsity": score_vs_sparsity,
        "score_by_family": score_by_family,
        "drop_heatmap": drop_heatmap,
        "equal_memory": equal_memory,
        "recovery_gap": recovery_gap,
    }
    with matplotlib.rc_context(STYLE):
        made = [(name, maker(measured)) for name, maker in makers.items()]
    return [(name, figure) for name, figure in made if figure is not None]


def figures_of_fit(fit: FitResult) -> list[tuple[str, Figure]]:
    """The plots of what was judged: critical levels, where there are some."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        figure = critical_sparsity(fit)
    return [] if figure is None else [("critical_sparsity", figure)]


def score_vs_sparsity(measured: Measured) -> Figure | None:
    """Score against sparsity, one line per tier, one panel per pruning method."""
    series = measured.of_kind("pruned")
    if not series:
        return None
    figure, panels = _panels(len(series), 3.6, 3.0)
    for axes, one in zip(panels, series, strict=True):
        for k, tier in enumerate(measured.tiers):
            _curve(
                axes,
                score_curve(measured, one, measured.cells(tier=tier), f"tier {tier}"),
                k,
                len(measured.tiers),
            )
        axes.set_title(shorten(one.method, 40))
        axes.set_xlabel("sparsity (share of weights removed)")
    panels[0].set_ylabel(_score_label(measured))
    _legend(figure, panels[0], "tier 1 is the easiest")
    _title(
        figure,
        measured,
        "Score as weights are removed, by tier, mean over families: points as measured, lines isotonic, bands 95 %",
    )
    return figure


def score_by_family(measured: Measured) -> Figure | None:
    """The same for the first pruning method, a panel a family."""
    series = measured.of_kind("pruned")
    families = measured.draws.families
    if not series or len(families) < 2:
        return None
    figure, panels = _panels(len(families), 2.9, 2.4)
    for axes, family in zip(panels, families, strict=True):
        for cell in measured.cells(family=family):
            tier = measured.draws.cells[cell].tier
            k = measured.tiers.index(tier)
            _curve(axes, score_curve(measured, series[0], [cell], f"tier {tier}"), k, len(measured.tiers))
        axes.set_title(shorten(family, 34))
        axes.set_xlabel("sparsity")
    panels[0].set_ylabel(_score_label(measured))
    _legend(figure, max(panels, key=lambda a: len(a.lines)), "tier 1 is the easiest")
    _title(
        figure,
        measured,
        f"Score of each family under {series[0].method}: points as measured, lines isotonic, bands 95 %",
    )
    return figure


def drop_heatmap(measured: Measured) -> Figure | None:
    """Loss against dense in points: tiers down, levels across, a panel a method."""
    if not measured.series:
        return None
    tiers = measured.tiers
    grids = [100 * losses(measured, one, [measured.cells(tier=t) for t in tiers]) for one in measured.series]
    top = max(5.0, max(float(grid.max()) for grid in grids))
    widest = max(len(one.levels) for one in measured.series)
    figure, panels = _panels(len(grids), 1.2 + 0.46 * widest, 1.0 + 0.36 * len(tiers), share=False)
    image = None
    for axes, one, grid in zip(panels, measured.series, grids, strict=True):
        image = axes.imshow(grid, cmap="Blues", vmin=0, vmax=top, aspect="auto")
        axes.grid(visible=False)
        axes.set_xticks(range(len(one.levels)), [_level(measured, one, i) for i in range(len(one.levels))])
        axes.set_yticks(range(len(tiers)), [f"tier {t}" for t in tiers])
        axes.set_title(shorten(one.method, 30))
        axes.set_xlabel("bits" if one.kind == "quantized" else "sparsity, %")
        for (row, column), value in np.ndenumerate(grid):
            dark = value > 0.55 * top
            axes.text(
                column,
                row,
                f"{round(value) + 0:d}",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if dark else "black",
            )
    assert image is not None
    figure.colorbar(image, ax=panels, label="points lost", shrink=0.9, pad=0.02)
    _title(figure, measured, "Points lost against the dense model, mean over families")
    return figure


def critical_sparsity(fit: FitResult) -> Figure | None:
    """Critical sparsity by tier, one line per family, for the method that the verdicts are about."""
    found = fit.critical[fit.critical["method"] == fit.primary] if len(fit.critical) else fit.critical
    if not len(found):
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.9))
    axes = figure.add_subplot()
    families = list(dict.fromkeys(found["family"]))
    # A curve that never passes the mark is given the last level.
    top = fit.cells.loc[fit.cells["method"] == fit.primary, "level"].max()
    for k, family in enumerate(families):
        rows = found[found["family"] == family].sort_values("tier")
        level = rows["critical"].to_numpy(dtype=float)
        x = rows["tier"].to_numpy(dtype=float) + (k - (len(families) - 1) / 2) * min(
            0.08, 0.6 / len(families)
        )
        color, marker = NAMES[k % len(NAMES)], MARKERS[k % len(MARKERS)]
        bars = [np.maximum(level - rows["critical_low"], 0), np.maximum(rows["critical_high"] - level, 0)]
        axes.plot(x, level, color=color, linestyle=DASHES[k % len(DASHES)], linewidth=1.3)
        axes.errorbar(x, level, yerr=bars, fmt="none", ecolor=color, elinewidth=0.9, capsize=2)
        for xi, yi, open_end in zip(x, level, level >= top, strict=True):
            axes.plot(
                xi, yi, marker, color=color, markersize=6, markerfacecolor="white" if open_end else color
            )
        axes.plot(
            [], [], marker=marker, color=color, linestyle=DASHES[k % len(DASHES)], label=shorten(family, 24)
        )
    tiers = sorted(found["tier"].unique())
    axes.set_xticks(tiers, [f"tier {t}" for t in tiers])
    axes.set_ylabel("critical sparsity")
    axes.set_ylim(-0.02, 1.0)
    _legend(figure, axes, "")
    what = f"Critical sparsity under {fit.primary}: where the loss passes {100 * fit.rules.delta:g} points, bars 95 %"
    if (found["critical"] >= top).any():
        what += " (open: not within the levels measured)"
    _titled(figure, what, fit.model, fit.n_items, fit.cells["family"].nunique())
    return figure


def equal_memory(measured: Measured) -> Figure | None:
    """Pruning and quantization against effective bits per weight, one panel per tier."""
    if not measured.of_kind("quantized") or not measured.of_kind("pruned"):
        return None
    tiers = measured.tiers if len(measured.tiers) <= 4 else [measured.tiers[0], measured.tiers[-1]]
    figure, panels = _panels(len(tiers), 3.0, 2.9)
    for axes, tier in zip(panels, tiers, strict=True):
        for k, one in enumerate(measured.series):
            bits = np.array([FULL_BITS, *(measured.draws.conditions[i].effective_bits for i in one.at)])
            curve = score_curve(measured, one, measured.cells(tier=tier), one.method, bits)
            color = NAMES[k % len(NAMES)]
            style = "-" if one.kind == "quantized" else "--"
            filled = color if one.kind == "quantized" else "white"
            axes.fill_between(bits, curve.low, curve.high, color=color, alpha=0.12, linewidth=0)
            axes.plot(
                bits, curve.seen, marker=MARKERS[k % len(MARKERS)], color=color, linestyle=style, linewidth=1.2,
                markersize=4.5, markerfacecolor=filled, label=shorten(one.method, 24),
            )  # fmt: skip
        axes.set_xscale("log", base=2)
        least = min(measured.draws.conditions[i].effective_bits for one in measured.series for i in one.at)
        ticks = [t for t in (16, 8, 4, 3, 2, 1) if t >= 0.9 * least]
        axes.set_xticks(ticks, [str(t) for t in ticks])
        axes.minorticks_off()
        axes.set_xlim(0.92 * least, 17.5)
        axes.invert_xaxis()
        axes.set_title(f"tier {tier}")
        axes.set_xlabel("effective bits per weight")
    panels[0].set_ylabel(_score_label(measured))
    _legend(figure, panels[0], "")
    _title(
        figure,
        measured,
        "Pruning (open, dashed) and quantization (filled, solid) at equal memory, mean over families, bands 95 %",
    )
    return figure


def recovery_gap(measured: Measured) -> Figure | None:
    """What is missing after recovery, by tier."""
    gaps = recovery_gaps(measured)
    if not gaps:
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.9))
    axes = figure.add_subplot()
    for k, (label, tiers, gap, low, high) in enumerate(gaps):
        shift = (k - (len(gaps) - 1) / 2) * min(0.08, 0.6 / len(gaps))
        x = np.array(tiers) + shift
        color = NAMES[k % len(NAMES)]
        bars = [np.maximum(100 * (gap - low), 0), np.maximum(100 * (high - gap), 0)]
        axes.errorbar(
            x, 100 * gap, yerr=bars, color=color, marker=MARKERS[k % len(MARKERS)], linestyle=DASHES[k % len(DASHES)],
            linewidth=1.2, capsize=2, elinewidth=0.9, label=label,
        )  # fmt: skip
    axes.axhline(0, color="#666666", linewidth=0.8)
    axes.set_xticks(measured.tiers, [f"tier {t}" for t in measured.tiers])
    axes.set_ylabel("points behind dense\nafter equal training")
    _legend(figure, axes, "")
    _title(figure, measured, "What training did not bring back, by tier, bars 95 %")
    return figure


def _curve(axes: Axes, curve: Any, k: int, n: int) -> None:
    from matplotlib import colormaps

    color = colormaps["viridis"](0.82 * (1 - k / max(n - 1, 1)))
    axes.fill_between(curve.x, curve.low, curve.high, color=color, alpha=0.15, linewidth=0)
    axes.plot(curve.x, curve.fit, color=color, linestyle=DASHES[k % len(DASHES)], linewidth=1.4)
    axes.plot(curve.x, curve.seen, MARKERS[k % len(MARKERS)], color=color, markersize=4.2)
    axes.plot(
        [],
        [],
        marker=MARKERS[k % len(MARKERS)],
        color=color,
        linestyle=DASHES[k % len(DASHES)],
        label=curve.label,
    )
    if curve.chance > 0 and k == 0:
        axes.axhline(curve.chance, color="#666666", linewidth=0.8, linestyle=(0, (2, 3)), label="chance")
    axes.set_ylim(-0.03, 1.03)


def _panels(count: int, width: float, height: float, share: bool = True) -> tuple[Figure, list[Axes]]:
    """`count` axes, at most four a row (three when wide); unused places are removed."""
    from matplotlib.figure import Figure

    across = min(count, 2 if width > 4.5 else 3)
    if count == 4:
        across = 2 if width > 3.2 else 4
    down = -(-count // across)
    figure = Figure(figsize=(max(6.0, across * width + 0.6), down * height + 1.1))
    grid = figure.subplots(down, across, sharey=share, squeeze=False)
    for axes in grid.flat[count:]:
        axes.remove()
    return figure, list(grid.flat[:count])


def _legend(figure: Figure, axes: Axes, note: str) -> None:
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda i: labels[i] == "chance")
    handles, labels = [handles[i] for i in order], [labels[i] for i in order]
    columns = max(1, min(len(labels), int(figure.get_figwidth() / 1.15)))
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=columns,
        title=note or None,
        title_fontsize=8.5,
        handlelength=3.2,
    )


def _title(figure: Figure, measured: Measured, what: str) -> None:
    _titled(figure, what, measured.panel.model, measured.n_items, len(measured.draws.families))


def _titled(figure: Figure, what: str, model: str, n_items: int, n_families: int) -> None:
    counted = f"{shorten(model, 60)}, {n_items:,} items, {n_families} "
    counted += "family" if n_families == 1 else "families"
    width = int(figure.get_figwidth() * 12.5)
    figure.suptitle("\n".join([*textwrap.wrap(what, width), *textwrap.wrap(counted, width)]), fontsize=10)


def _score_label(measured: Measured) -> str:
    return ", ".join(measured.panel.metrics[:3])


def _level(measured: Measured, series: Series, position: int) -> str:
    condition = measured.draws.conditions[series.at[position]]
    return f"{condition.bits:g}" if series.kind == "quantized" else f"{100 * condition.level:g}"


def shorten(text: str, most: int) -> str:
    """At most `most` characters of a name, without what cannot be drawn."""
    line = "".join(c if c.isprintable() else " " for c in text)
    return line if len(line) <= most else line[: most - 1] + "…"
