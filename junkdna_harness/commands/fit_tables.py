"""How a fit is printed: the hypothesis first, verdicts, scales, families, and what was left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from difficulty.judge.fit import FitResult
from difficulty.judge.fit_output import methods_paragraph
from difficulty.judge.over_models import ModelsResult
from difficulty.judge.summary import Bounds, margin_text, margins, models_by_size, scale_rows
from difficulty.judge.verdicts import STATEMENTS, Claim, Hypothesis
from difficulty.text import count_text, estimate_text, p_text
from junkdna_harness.presentation.console import console as usual_console

_COLOURS = {"supported": "green", "refuted": "red", "inconclusive": "yellow", "not tested": "dim"}


def show(result: FitResult, console: Console | None = None, every: bool = False) -> None:
    """Print a fit: verdicts first, families, what was left out, and the paragraph for a paper."""
    console = console or usual_console(width=140)
    headline = result.headline()
    for sentence in result.guesses:
        console.print(f"warning: {escape(sentence)}", style="yellow", highlight=False)
    console.print(
        f"[bold]{escape(result.model)}[/bold], {result.n_items:,} items in {result.n_clusters:,} clusters"
    )
    _hypothesis(console, result.hypothesis)
    console.print(_claims(console, list(headline.values()), "Verdicts, all families pooled", statements=True))
    _reasons(console, headline)
    if every:
        _scales(console, headline)
        margins = _margins(result)
        if margins is not None:
            console.print(margins)
    rest = [claim for claim in result.claims if claim not in headline.values()]
    main = {claim.method for claim in headline.values()}
    shown = [claim for claim in rest if every or claim.method in main or claim.scope.pooled]
    if shown:
        console.print()
        console.print(_claims(console, shown, "By family and method", statements=False))
    if len(shown) < len(rest):
        console.print(f"{len(rest) - len(shown)} rows of other methods: --all, --csv or --json.", style="dim")
    for sentence in result.excluded:
        console.print(f"left out: {escape(sentence)}", highlight=False)
    for sentence in (s for s in result.warnings if s not in result.guesses):
        console.print(f"note: {escape(sentence)}", style="yellow", highlight=False)
    console.print(f"\n[bold]Methods[/bold]\n{escape(methods_paragraph(result))}", highlight=False)


def show_models(found: ModelsResult, console: Console | None = None, every: bool = False) -> None:
    """Print the verdicts over models, those of each model beside, then each model's own fit."""
    console = console or usual_console(width=140)
    console.print(f"[bold]{escape(found.title)}[/bold]: {escape(', '.join(found.results))}", highlight=False)
    _hypothesis(console, found.hypothesis)
    console.print(_claims(console, list(found.over), f"Verdicts over {found.kind}", statements=True))
    _reasons(console, found.headline())
    for note in found.notes():
        console.print(f"  {escape(note)}", style="dim", highlight=False)
    console.print(_by_model(found))
    for result in found.results.values():
        console.rule(style="dim")
        show(result, console, every)


def _hypothesis(console: Console, found: Hypothesis) -> None:
    colour = _COLOURS[found.verdict]
    console.print(
        f"[bold]The hypothesis is[/bold] [{colour}]{found.verdict}[/{colour}]: {escape(found.reason)}\n",
        highlight=False,
    )


def _reasons(console: Console, headline: Mapping[str, Claim]) -> None:
    for name, claim in headline.items():
        console.print(f"  {name}: {escape(claim.reason)}", style="dim", highlight=False)


_NARROW = (
    120  # a terminal of fewer characters shows no units and numbers of items: they are in --csv and --json
)


def _claims(console: Console, claims: Iterable[Claim], title: str, statements: bool) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    wide = console.width >= _NARROW
    table.add_column("verdict", no_wrap=True)
    for name in ("claim", "method" if statements else "family", "holds for", "estimate [interval]"):
        table.add_column(name, overflow="fold")
    if wide:
        table.add_column("unit")
    table.add_column("p (Holm)", justify="right")
    if wide:
        table.add_column("items", justify="right")
    for claim in claims:
        colour = _COLOURS[claim.verdict]
        what = f"{claim.claim} {STATEMENTS[claim.claim]}" if statements else claim.claim
        where = claim.method if statements else f"{claim.family}, {claim.method}"
        cells = [f"[{colour}]{claim.verdict}[/{colour}]", escape(what), escape(where), escape(claim.about)]
        cells.append(escape(estimate_text(claim.estimate, claim.ci_low, claim.ci_high)))
        cells += [escape(claim.unit)] if wide else []
        cells.append(p_text(claim.p_holm))
        cells += [f"{claim.n_items:,}" if claim.n_items else ""] if wide else []
        table.add_row(*cells)
    return table


def _scales(console: Console, headline: Mapping[str, Claim]) -> None:
    """On which scales each headline was estimated, those that decide first, with what was drawn again for the interval."""
    table = Table(title="Scales", title_justify="left", box=box.SIMPLE_HEAD)
    for name in (
        "claim",
        "scale",
        "decides",
        "in these families",
        "in families like these",
        "over",
        "variance",
    ):
        table.add_column(name)
    for claim in headline.values():
        for row in scale_rows(claim):
            table.add_row(
                claim.claim, escape(row.scale), "yes" if row.decides else "", _interval(row.these), _interval(row.like),
                escape(", ".join(row.over)), escape(row.shares),
            )  # fmt: skip
    console.print(table)


def _interval(found: Bounds | None) -> str:
    return "" if found is None else escape(estimate_text(*found))


def _margins(result: FitResult) -> Table | None:
    """SD of the margins over the dense SD and their correlation, by tier and level of the primary method."""
    found = margins(result)
    if found is None:
        return None
    table = Table(
        title=f"Margins under {escape(found.method)}: SD over the dense SD, and correlation with the dense margins",
        title_justify="left", box=box.SIMPLE_HEAD,
    )  # fmt: skip
    table.add_column("tier", justify="right")
    for state in found.states:
        table.add_column(state, justify="right")
    for tier, ratios, correlations in zip(found.tiers, found.sd_ratio, found.correlation, strict=True):
        cells = (margin_text(pair) for pair in zip(ratios, correlations, strict=True))
        table.add_row(str(tier), *cells)
    return table


def _by_model(found: ModelsResult) -> Table:
    """One row per model, by size where sizes are known: its verdict and estimate on each claim."""
    table = Table(title=f"By {found.kind[:-1]}", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("model")
    if found.sizes:
        table.add_column("weights", justify="right")
    claims = [claim.claim for claim in found.over if claim.verdict != "not tested"]
    for name in claims:
        table.add_column(name)
    for model in models_by_size(found):
        headline = found.results[model].headline()
        size = [count_text(found.sizes[model]) if model in found.sizes else ""] if found.sizes else []
        cells = []
        for name in claims:
            claim = headline.get(name)
            text = "" if claim is None else str(claim.verdict)
            if claim is not None and claim.estimate is not None:
                text += " " + estimate_text(claim.estimate, claim.ci_low, claim.ci_high, "+.2f")
            cells.append(escape(text))
        table.add_row(escape(model), *size, *cells)
    return table
