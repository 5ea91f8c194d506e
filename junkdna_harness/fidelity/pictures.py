"""Pictures of a grid: divergence by level, and by level and part of the text. Drawn from what `junkdna fidelity --json` wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from junkdna_harness.report.figures import STYLE, Plot, finish
from junkdna_harness.report.plots import DASHES, MARKERS, NAMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Run = Mapping[str, Any]
PART_TITLES = {
    "by_frequency": "how often the token occurs in the text", "by_context": "tokens of context", "by_source": "source",
}  # fmt: skip
SMALLEST = 1e-6  # nats: what is less is drawn there, as an axis of powers has no zero


def pictures(runs: Sequence[Run]) -> list[Plot]:
    """The pictures that the runs allow: two levels of a method, or two widths, make a curve."""
    import matplotlib

    pruned, rounded = _series(runs, "level"), _series(runs, "bits")
    if not pruned and not rounded:
        return []
    made = []
    with matplotlib.rc_context(STYLE):
        made.append(finish("kl_by_level", _by_level(pruned, rounded)))
        if pruned:
            made += [finish(f"kl_{name}", _by_part(pruned, name)) for name in ("by_frequency", "by_context")]
    return made


def _series(runs: Sequence[Run], axis: str) -> dict[str, list[Run]]:
    """Method -> its runs along `axis`, where there are at least two; N:M patterns are left to the table."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        if (
            run.get(axis) is None
            or (axis == "level" and run.get("bits") is not None)
            or ":" in str(run.get("method"))
        ):
            continue
        found.setdefault(str(run["method"]), []).append(run)
    ordered = {name: sorted(listed, key=lambda run: float(run[axis])) for name, listed in found.items()}
    return {name: listed for name, listed in ordered.items() if len(listed) > 1}


def _by_level(pruned: Mapping[str, Sequence[Run]], rounded: Mapping[str, Sequence[Run]]) -> Figure:
    from matplotlib.figure import Figure

    panels = [(series, axis) for series, axis in ((pruned, "level"), (rounded, "bits")) if series]
    figure = Figure(figsize=(4.2 * len(panels), 3.4))
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)
    for (series, axis), ax in zip(panels, axes[0], strict=True):
        for i, (name, runs) in enumerate(series.items()):
            _line(ax, i, name, [float(run[axis]) for run in runs], runs)
        _logarithmic(ax)
        ax.set_xlabel("fraction of weights removed" if axis == "level" else "bits per weight")
        if axis == "bits":
            ax.invert_xaxis()
        ax.legend(fontsize=8)
    axes[0][0].set_ylabel("KL(dense || compressed), nats")
    figure.suptitle("Mean KL divergence from the dense model; bands are 95 % intervals")
    return figure


def _by_part(series: Mapping[str, Sequence[Run]], partition: str) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.2 * len(series) + 1.0, 3.4))
    axes = figure.subplots(1, len(series), squeeze=False, sharey=True)
    for (method, runs), ax in zip(series.items(), axes[0], strict=True):
        names = [row["part"] for row in runs[0][partition]]
        for i, part in enumerate(names):
            rows = [next(row for row in run[partition] if row["part"] == part) for run in runs]
            _line(ax, i, part, [float(run["level"]) for run in runs], rows, band=False)
        _logarithmic(ax)
        ax.set_title(method)
        ax.set_xlabel("fraction of weights removed")
    axes[0][0].set_ylabel("KL(dense || compressed), nats")
    lines, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside right upper", fontsize=8)
    figure.suptitle(f"Mean KL divergence by {PART_TITLES[partition]}")
    return figure


def _logarithmic(ax: Axes) -> None:
    """Powers of ten in plain figures."""
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter("{x:g}")


def _line(
    ax: Axes, i: int, name: str, x: Sequence[float], rows: Sequence[Mapping[str, Any]], band: bool = True
) -> None:  # fmt: skip
    y = [float("nan") if row["kl_mean"] is None else max(row["kl_mean"], SMALLEST) for row in rows]
    colour = NAMES[i % len(NAMES)]
    ax.plot(
        x,
        y,
        marker=MARKERS[i % len(MARKERS)],
        linestyle=DASHES[i % len(DASHES)],
        color=colour,
        label=name,
        markersize=4,
    )
    if band and all(row["kl_mean_low"] is not None for row in rows):
        low, high = ([max(float(row[f"kl_mean_{end}"]), SMALLEST) for row in rows] for end in ("low", "high"))
        ax.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
