"""How a fit is printed: the hypothesis first, verdicts, scales, families, and what was left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from difficulty.judge.budget_rows import sentences, steps_text, tier_at, tier_text, tiers_of
from difficulty.judge.budgets import BudgetCurve
from difficulty.judge.fit import FitResult
from difficulty.judge.fit_output import methods_paragraph
from difficulty.judge.over_models import ModelsResult
from difficulty.judge.summary import Bounds, margin_text, margins, models_by_size, scale_rows
from difficulty.judge.verdicts import STATEMENTS, Claim, Hypothesis, Rules
from difficulty.text import count_text, estimate_text, p_text
from junkdna_harness.presentation.lines import Line, line_width, paragraph, show_lines
from junkdna_harness.presentation.table import Cell, Column, table

_COLOURS = {"supported": "green", "refuted": "red", "inconclusive": "yellow", "not tested": "dim"}


def show(result: FitResult, every: bool = False) -> None:
    """Print a fit: verdicts first, families, what was left out, and the paragraph for a paper."""
    show_lines(fit_lines(result, every))


def show_models(found: ModelsResult, every: bool = False) -> None:
    """Print the verdicts over models, those of each model beside, then each model's own fit."""
    show_lines(models_lines(found, every))


def fit_lines(result: FitResult, every: bool = False) -> list[Line]:
    """What is printed of a fit."""
    headline = result.headline()
    lines: list[Line] = []
    for sentence in result.guesses:
        lines += paragraph(f"warning: {sentence}", style="yellow")
    lines += paragraph(
        f"{result.model}, {result.n_items:,} items in {result.n_clusters:,} clusters", style="bold"
    )
    lines += [*_hypothesis(result.hypothesis), []]
    lines += _claims(list(headline.values()), "Verdicts, all families pooled", families=False)
    lines += [[], *_reasons(headline)]
    if every:
        lines += [[], *_scales(headline)]
        lines += [[], *margins_lines] if (margins_lines := _margins(result)) else []
    if result.budgets:
        lines += [[], *_budgets(result.budgets, result.rules, every)]
    for claim in result.claims:
        if claim.verdict == "not tested" and claim.scope.pooled and claim not in headline.values():
            lines += paragraph(f"{claim.claim} is not tested: {claim.reason}")
    rest = [claim for claim in result.claims if claim not in headline.values()]
    main = {claim.method for claim in headline.values()}
    shown = [claim for claim in rest if every or claim.method in main or claim.scope.pooled]
    if shown:
        lines += [[], *_claims(shown, "By family and method", families=True)]
    if len(shown) < len(rest):
        lines += paragraph(
            f"{len(rest) - len(shown)} rows of other methods: --all, --csv or --json.", style="dim"
        )
    lines += [[]]
    for sentence in result.excluded:
        lines += paragraph(f"left out: {sentence}")
    for sentence in (s for s in result.warnings if s not in result.guesses):
        lines += paragraph(f"note: {sentence}", style="yellow")
    return [*lines, [], [("Methods", "bold")], *_prose(methods_paragraph(result))]


def models_lines(found: ModelsResult, every: bool = False) -> list[Line]:
    """What is printed of the fits of several models."""
    lines = paragraph(f"{found.title}: {', '.join(found.results)}", style="bold")
    lines += [*_hypothesis(found.hypothesis), []]
    lines += _claims(list(found.over), f"Verdicts over {found.kind}", families=False)
    lines += [[], *_reasons(found.headline())]
    for note in found.notes():
        lines += paragraph(f"  {note}", style="dim")
    if found.budgets:
        rules = next(iter(found.results.values())).rules
        lines += [[], *_budgets(found.budgets, rules, every)]
    lines += [[], *_by_model(found)]
    for result in found.results.values():
        lines += [[], [("─" * line_width(), "dim")], *fit_lines(result, every)]
    return lines


def _hypothesis(found: Hypothesis) -> list[Line]:
    first, *others = paragraph(str(found), indent="")
    text = first[0][0]
    before, verdict, after = text.partition(found.verdict)
    return [[(before, "bold"), (verdict, _COLOURS[found.verdict]), (after, "")], *others]


def _prose(text: str) -> list[Line]:
    """Paragraphs, folded without an indent."""
    return [line for one in text.splitlines() for line in paragraph(one, indent="")]


def _reasons(headline: Mapping[str, Claim]) -> list[Line]:
    """What each claim says, and what decided."""
    lines: list[Line] = []
    for name, claim in headline.items():
        lines += paragraph(f"{name}: {STATEMENTS[name]}")
        lines += paragraph(f"    {claim.reason}", style="dim", indent="")
    return lines


def _claims(claims: Iterable[Claim], title: str, families: bool) -> list[Line]:
    """What was found on each claim; its unit and the number of items are the last columns."""
    columns = [Column("claim", told=False), Column("family", told=False)]
    columns = columns if families else columns[:1]
    columns += [
        Column("method", told=families), Column("verdict", "text", told=False), Column("holds for", "text"),
        Column("estimate [interval]", "number", told=False), Column("p (Holm)", "number"), Column("unit", "text"), Column("items", "number"),
    ]  # fmt: skip
    rows: list[list[str | Cell]] = []
    for claim in claims:
        names = [claim.claim, claim.family] if families else [claim.claim]
        rows.append([
            *names, claim.method, Cell(claim.verdict, _COLOURS[claim.verdict]), claim.about,
            estimate_text(claim.estimate, claim.ci_low, claim.ci_high), p_text(claim.p_holm), claim.unit,
            f"{claim.n_items:,}" if claim.n_items else "",
        ])  # fmt: skip
    return table(columns, rows, title=title)


def _scales(headline: Mapping[str, Claim]) -> list[Line]:
    """On which scales each headline was estimated, those that decide first, with what was drawn again for the interval."""
    columns = [
        Column("claim", told=False), Column("scale", told=False), Column("decides", "text"), Column("in these families", "number"),
        Column("in families like these", "number"), Column("over", "text"), Column("variance", "text"),
    ]  # fmt: skip
    rows = [
        [
            claim.claim, row.scale, "yes" if row.decides else "", _interval(row.these), _interval(row.like),
            ", ".join(row.over), row.shares,
        ]
        for claim in headline.values() for row in scale_rows(claim)
    ]  # fmt: skip
    return table(columns, rows, title="Scales")


def _budgets(curves: Sequence[BudgetCurve], rules: Rules, every: bool) -> list[Line]:
    """Each way of recovery by its number of steps: the slope of what is left to recover, and each tier's score."""
    tiers = tiers_of(curves)
    scales = list(dict.fromkeys(s for curve in curves for budget in curve.budgets for s in budget.slope))
    shown = scales if every else scales[:1]
    columns = [Column("recovery", head=True), Column("steps", told=False, right=True)]
    columns += [Column(f"slope ({scale})", "number", told=False) for scale in shown]
    columns += [Column(f"tier {tier}, %", "number", told=False) for tier in tiers]
    rows: list[list[str | Cell]] = []
    for curve in curves:
        for budget in curve.budgets:
            slopes = [budget.slope[scale].deciding if scale in budget.slope else None for scale in shown]
            cells = [tier_text(tier_at(budget, tier)) for tier in tiers]
            rows.append([
                curve.method, steps_text(budget.steps),
                *("" if one is None else estimate_text(one.estimate, one.ci_low, one.ci_high) for one in slopes),
                *(Cell(score, "", behind) for score, behind in cells),
            ])  # fmt: skip
    lines = table(columns, rows, title="Recovery by budget") if rows else []
    about = (
        "slope: of the gap on the tier, log-odds per tier (P5); points behind: of the dense model trained as long, before training of the "
        "dense model itself; ?: at chance in some families."
    )
    lines += [[], *paragraph(about, style="dim")] if rows else []
    for curve in curves:
        for sentence in sentences(curve, rules):
            lines += paragraph(sentence)
    return lines


def _interval(found: Bounds | None) -> str:
    return "" if found is None else estimate_text(*found)


def _margins(result: FitResult) -> list[Line]:
    """SD of the margins over the dense SD and their correlation, by tier and level of the primary method."""
    found = margins(result)
    if found is None:
        return []
    columns = [Column("tier", right=True), *(Column(state, "number", told=False) for state in found.states)]
    rows = [
        [str(tier), *(margin_text(pair) for pair in zip(ratios, correlations, strict=True))]
        for tier, ratios, correlations in zip(found.tiers, found.sd_ratio, found.correlation, strict=True)
    ]
    title = f"Margins under {found.method}: SD over the dense SD, and correlation with the dense margins"
    return table(columns, rows, title=title)


def _by_model(found: ModelsResult) -> list[Line]:
    """One row per model, by size where sizes are known: its verdict and estimate on each claim."""
    claims = [claim for claim in found.headline().values() if claim.verdict != "not tested"]
    columns = [Column("model", told=False), *([Column("weights", "number")] if found.sizes else [])]
    columns += [Column(claim.claim, "number", told=False) for claim in claims]
    rows = []
    for model in models_by_size(found):
        size = [count_text(found.sizes[model]) if model in found.sizes else ""] if found.sizes else []
        cells: list[str | Cell] = []
        for claim in (found.own(model, one) for one in claims):
            if claim is None:
                cells.append("")
                continue
            number = estimate_text(claim.estimate, claim.ci_low, claim.ci_high, "+.2f")
            cells.append(Cell(claim.verdict, _COLOURS[claim.verdict], number))
        rows.append([model, *size, *cells])
    return table(columns, rows, title=f"By {found.kind[:-1]}")
