"""Recovery by budget, as a picture and as a table: what each tier lacks as training gets longer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from difficulty.judge.budget_rows import sentences, steps_text, tier_at, tier_text, tiers_of
from difficulty.text import estimate_text
from junkdna_harness.presentation.escape import markdown_cell
from junkdna_harness.report.picture import Panel, Picture
from junkdna_harness.report.plots import EASIEST, shades
from junkdna_harness.report.style import DASHES, GREY, MARKERS, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from difficulty.judge.budgets import BudgetCurve
    from difficulty.judge.verdicts import Rules

NAME = "recovery_by_budget"
ABOUT = (
    "Slope: of the gap on the tier, log-odds per tier, as in P5. Tiers: score in percent, and points behind the dense model that was trained "
    "as long, before training behind the dense model itself; ?: at chance in some families."
)
_LABEL, _AT_CHANCE = "log-odds behind dense\ntrained as long", "at chance in some families"


def by_budget(curves: Sequence[BudgetCurve], counted: str, over: str = "families") -> Picture | None:
    """What each tier lacks against the number of steps, a panel per way of recovery; None without any."""
    shown = [curve for curve in curves if len(curve.budgets) > 1]
    if not shown:
        return None
    tiers = tiers_of(shown)
    panels = tuple(
        Panel(shorten(curve.method.replace("_", " "), 44), partial(_panel, curve, tiers)) for curve in shown
    )
    heading = f"What is left to recover, by tier and number of steps, mean over {over}; bands 95 %"
    return Picture(NAME, heading, counted, panels, (3.6, 2.7), _LABEL, note=EASIEST)


def _panel(curve: BudgetCurve, tiers: Sequence[int], axes: Axes) -> None:
    """A line per tier; budgets stand side by side, since the first is none at all."""
    colours = shades(len(tiers))
    for k, number in enumerate(tiers):
        found = [(x, tier) for x, budget in enumerate(curve.budgets) if (tier := tier_at(budget, number))]
        x = [place for place, _ in found]
        axes.fill_between(
            x, [t.gap.deciding.ci_low for _, t in found], [t.gap.deciding.ci_high for _, t in found], color=colours[k], alpha=0.15, linewidth=0
        )  # fmt: skip
        axes.plot(
            x, [t.gap.deciding.estimate for _, t in found], color=colours[k], marker=MARKERS[k % len(MARKERS)],
            linestyle=DASHES[k % len(DASHES)], linewidth=1.4, markersize=4.2, label=f"tier {number}",
        )  # fmt: skip
        unknown = [(place, t.gap.deciding.estimate) for place, t in found if t.at_chance]
        if unknown:
            axes.plot(
                *zip(*unknown, strict=True), "o", color=colours[k], markersize=9, markerfacecolor="none"
            )
    if any(tier.at_chance for budget in curve.budgets for tier in budget.tiers):
        axes.plot([], [], "o", color=GREY, markersize=9, markerfacecolor="none", label=_AT_CHANCE)
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set_xticks(range(len(curve.budgets)), [steps_text(budget.steps) for budget in curve.budgets])
    axes.set_xlim(-0.2, len(curve.budgets) - 0.8)
    axes.set_xlabel("steps of training")


def table(curves: Sequence[BudgetCurve], rules: Rules) -> dict[str, Any] | None:
    """Heads, rows of (text, class, what stands below) and the sentences on what changed; None without any curve."""
    if not curves:
        return None
    tiers = tiers_of(curves)
    scales = list(dict.fromkeys(s for curve in curves for budget in curve.budgets for s in budget.slope))
    heads = ["Recovery", "Steps", *(f"Slope ({scale})" for scale in scales), *(f"Tier {t}" for t in tiers)]
    rows = []
    for curve in curves:
        for budget in curve.budgets:
            slopes = [budget.slope[scale].deciding if scale in budget.slope else None for scale in scales]
            rows.append([
                (curve.method, "name", ""), (steps_text(budget.steps), "number", ""),
                *(("–" if one is None else estimate_text(one.estimate, one.ci_low, one.ci_high, "+.2f"), "number", "") for one in slopes),
                *((text, "number", below) for text, below in (tier_text(tier_at(budget, t)) for t in tiers)),
            ])  # fmt: skip
    said = [sentence for curve in curves for sentence in sentences(curve, rules)]
    return {"heads": heads, "rows": rows, "sentences": said, "about": ABOUT}


def markdown(found: dict[str, Any]) -> list[str]:
    """The lines of such a table as Markdown."""
    lines = ["#### Recovery by budget\n"]
    if found["rows"]:
        lines += [
            "| " + " | ".join(map(markdown_cell, found["heads"])) + " |",
            "|:--|" + "--:|" * (len(found["heads"]) - 1),
        ]
    for row in found["rows"]:
        cells = (f"{text} ({below})" if below else text for text, _, below in row)
        lines.append("| " + " | ".join(map(markdown_cell, cells)) + " |")
    about = ["", found["about"], ""] if found["rows"] else []
    return [*lines, *about, *(f"- {markdown_cell(sentence)}" for sentence in found["sentences"]), ""]
