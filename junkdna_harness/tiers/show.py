"""Tiers as text and as a picture."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from difficulty.errors import UsageError
from difficulty.files import write_atomic
from difficulty.json_files import of_known_shape
from difficulty.visible import visible
from junkdna_harness.presentation.lines import paragraph, plain
from junkdna_harness.presentation.table import Column, table_text
from junkdna_harness.tiers.build import UNKNOWN_CHANCE, TierPlan
from junkdna_harness.tiers.select import read_assignment


def plan_text(plan: TierPlan) -> str:
    """The table of a plan: one line per tier, with counts, range of the score, and the chance level."""
    rows = [
        [str(t.number), str(t.n_items), _span(t.low, t.high), _chance(plan.chance[t.number])]
        for t in plan.assignment.tiers
    ]
    columns = _columns(plan.rule)
    held_out = plan.runs.held_out if plan.runs else {}
    if held_out:
        columns += [Column(name, "number", told=False) for name in ("made by", "kept back")]
        for row, tier in zip(rows, plan.assignment.tiers, strict=True):
            row += [f"{value:.3f}" for value in held_out[tier.number]]
    text = f"{plan.name}: {len(plan.assignment.tier_of)} items of {plan.source.name}\n{table_text(columns, rows)}"
    if held_out and plan.runs:
        judges = ", ".join(log.folder for log in plan.runs.judge_with)
        text += (
            f"\n'made by' is the mean {plan.runs.metric} of the runs that made the tiers, 'kept back' of those that did "
            f"not: judge with {judges}. The gap between the two columns is regression to the mean."
        )
    if plan.runs and plan.assignment.harder == "high":
        text += f"\nHigh {plan.runs.metric} is taken for harder."
    text += "".join(f"\nnote: {note}" for note in plan.assignment.notes)
    if None in plan.chance.values():
        text += f"\nThe chance level is unknown: {UNKNOWN_CHANCE}. Read no score of these tiers as above or at chance."
    if plan.not_averaged:
        text += (
            f"\nThe group gets no row for {', '.join(plan.not_averaged)}: lm-eval does not average it over documents, "
            "so that the mean of the tiers would not be its value over all of them."
        )
    return _folded(text)


def folder_text(folder: str | Path) -> str:
    """What is in a folder of built tiers.

    Raises:
        UsageError: it holds no assignment.
    """
    path = Path(folder) / "assignment.json"
    if not path.is_file():
        raise UsageError(
            f"{str(folder)!r} has no assignment.json. Name a folder that `junkdna tiers build --output` wrote."
        )
    found = read_assignment(path)
    with of_known_shape(path, "the assignment", "Run `junkdna tiers build` again."):
        rows = [
            [str(t["tier"]), str(t["items"]), _span(t["low"], t["high"]), _chance(t["chance"])]
            for t in found["tiers"]
        ]
        lines = [
            f"{found['name']}: {len(found['items'])} items of {found['task']}, by {found['rule']} "
            f"({_direction(found)}), seed {found['seed']}",
            table_text(_columns(str(found["rule"])), rows),
            f"source: {_source(found['source'])}",
            f"run: lm_eval --include_path {folder} --tasks {found['name']} ...",
        ]
    return _folded("\n".join(lines))


def _columns(rule: str) -> list[Column]:
    return [
        Column("tier", right=True), Column("items", "number", told=False), Column(rule, "number", told=False),
        Column("chance", "number", told=False),
    ]  # fmt: skip


def _folded(text: str) -> str:
    """The text, lines that are wider than the terminal folded; a command to copy stays whole."""
    lines = text.split("\n")
    return "\n".join(line if line.startswith("run: ") else plain(paragraph(line)) for line in lines)


def _direction(found: Mapping[str, Any]) -> str:
    """Which scores are hard; texts stand in the order that was given."""
    in_order = any(isinstance(tier["low"], str) for tier in found["tiers"])
    return "in the order that was given" if in_order else f"{found['harder']} is harder"


def plot_plan(plan: TierPlan, path: str | Path) -> None:
    """Write a PNG: a histogram of the scores, with the cuts between the tiers.

    Raises:
        UsageError: the file cannot be written, or the scores are text.
    """
    if Path(path).suffix.lower() != ".png":
        raise UsageError(f"--plot {str(path)!r} is no PNG name. End it in .png.")
    import matplotlib

    with matplotlib.rc_context({"text.parse_math": False}):  # a name may hold $
        write_atomic(path, _picture(plan))


def _picture(plan: TierPlan) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.add_subplot()
    tiers = plan.assignment.tiers
    if plan.assignment.categorical:
        axes.bar([visible(str(t.low)) for t in tiers], [t.n_items for t in tiers], color="#4477aa")
    else:
        values = [float(score) for score in plan.scores.values()]
        axes.hist(values, bins=min(60, max(10, len(set(values)))), color="#4477aa")
        for cut in plan.assignment.cuts:
            axes.axvline(float(cut), color="#cc3311", linewidth=1.2)
        for tier in tiers:
            middle = (float(tier.low) + float(tier.high)) / 2
            axes.annotate(
                str(tier.number),
                (middle, 1.01),
                xycoords=("data", "axes fraction"),
                ha="center",
                color="#cc3311",
            )
    axes.set(xlabel=plan.rule, ylabel="items")
    figure.suptitle(visible(f"{plan.source.name}: tiers by {plan.rule}"), fontsize=10)
    picture = io.BytesIO()
    FigureCanvasAgg(figure).print_png(picture, metadata={"Software": None})
    return picture.getvalue()


def _span(low: Any, high: Any) -> str:
    return number(low) if low == high else f"{number(low)} to {number(high)}"


def _chance(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def number(value: Any) -> str:
    """A score, short."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _source(source: Any) -> str:
    if not isinstance(source, Mapping):
        return str(source)
    made = ", ".join(f"{run['folder']} ({run.get('run', run['model'])})" for run in source["made_by"])
    judges = ", ".join(run["folder"] for run in source["judge_with"])
    return f"mean {source['metric']} of {made}" + (f"; judge with {judges}" if judges else "")
