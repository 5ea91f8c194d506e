"""Pictures of a grid: divergence by level, and by level and part of the text. Drawn from what `junkdna fidelity --json` wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from difficulty.json_files import of_known_shape, read_json
from junkdna_harness.report.figures import Finisher, Plot
from junkdna_harness.report.picture import Panel, Picture
from junkdna_harness.report.style import DASHES, MARKERS, NAMES, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Divergence = Mapping[str, Any]  # `Fidelity.to_dict`: docs/architecture.md, "Fidelity"
PART_TITLES = {
    "by_frequency": "how often the token occurs in the text", "by_context": "tokens of context",
}  # fmt: skip
_SIZE, _LABEL = (3.6, 2.7), "KL(dense || compressed), nats"
_SPARSITY = "sparsity (share of weights removed)"
KIND = "junkdna-fidelity"  # as its `kind` says, among the first bytes
_HEAD = 400
_WHAT, _MAKE = "the divergences", "Make them again: junkdna fidelity --json FILE"
SMALLEST = 1e-6  # nats: what is less is drawn there, as an axis of powers has no zero


def pictures(runs: Sequence[Divergence]) -> list[Picture]:
    """The pictures that the runs allow: two levels of a method, or two widths, make a curve."""
    pruned, rounded = _series(runs, "level"), _series(runs, "bits")
    panels = []
    if pruned:
        panels.append(Panel("pruned", partial(_by_level, pruned, "level")))
    if rounded:
        panels.append(Panel("rounded", partial(_by_level, rounded, "bits")))
    if not panels:
        return []
    counted = f"{shorten(str(runs[0]['against']), 60)}, {runs[0]['n_tokens']:,} tokens"
    heading = "Mean KL divergence from the dense model on a text, bands 95 %"
    made = [Picture("kl_by_level", heading, counted, tuple(panels), _SIZE, _LABEL)]
    for name, title in PART_TITLES.items() if pruned else ():
        panels = [
            Panel(shorten(method, 40), partial(_by_part, listed, name)) for method, listed in pruned.items()
        ]
        heading = f"Mean KL divergence from the dense model by {title}"
        made.append(Picture(f"kl_{name}", heading, counted, tuple(panels), _SIZE, _LABEL))
    return made


def divergences_in(folder: Path) -> list[Path]:
    """The files in a folder, not below it, that `junkdna fidelity --json` wrote."""
    return [path for path in sorted(folder.glob("*.json")) if is_divergence(path)]


def is_divergence(path: Path) -> bool:
    """Whether a file is what `junkdna fidelity --json` wrote, by how it begins."""
    if path.suffix != ".json" or not path.is_file():
        return False
    with path.open("rb") as file:
        return f'"{KIND}"'.encode() in file.read(_HEAD)


def read_divergences(path: Path) -> list[Divergence]:
    """The comparisons in such a file.

    Raises:
        UsageError: it is none.
    """
    found = read_json(path, _WHAT, _MAKE)
    with of_known_shape(path, _WHAT, _MAKE):
        runs = found.get("runs", [found])
        for run in runs:
            str(run["against"]), int(run["n_tokens"]), str(run["method"])
            for row in (run, *(row for name in PART_TITLES for row in run[name])):
                row["kl_mean"], row["kl_mean_low"], row["kl_mean_high"]
    return list(runs)


def plots(runs: Sequence[Divergence], page: bool) -> list[Plot]:
    """The same, finished for a page or as files."""
    finisher = Finisher(files=not page, page=page)
    for picture in pictures(runs):
        finisher.add(picture.name, picture)
    return list(finisher.plots().values())


def _series(runs: Sequence[Divergence], axis: str) -> dict[str, list[Divergence]]:
    """Method -> its runs along `axis`, where there are at least two; N:M patterns are left to the table."""
    found: dict[str, list[Divergence]] = {}
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


def _by_level(series: Mapping[str, Sequence[Divergence]], axis: str, ax: Axes) -> None:
    for i, (name, runs) in enumerate(series.items()):
        _line(ax, i, name, [float(run[axis]) for run in runs], runs)
    _logarithmic(ax)
    ax.set_xlabel(_SPARSITY if axis == "level" else "bits per weight")
    if axis == "bits":
        ax.invert_xaxis()


def _by_part(runs: Sequence[Divergence], partition: str, ax: Axes) -> None:
    for i, part in enumerate(row["part"] for row in runs[0][partition]):
        rows = [next(row for row in run[partition] if row["part"] == part) for run in runs]
        _line(ax, i, part, [float(run["level"]) for run in runs], rows, band=False)
    _logarithmic(ax)
    ax.set_xlabel(_SPARSITY)


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
