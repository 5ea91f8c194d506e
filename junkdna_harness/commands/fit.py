"""`junkdna fit`: verdicts on the hypothesis from evaluation outputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from junkdna_harness.commands.looking import departures_of, log, prereg_lines, read_prereg_of, with_prereg
from junkdna_harness.commands.options import ALLOW_DIFFERENT_PROMPTS, LABEL

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from difficulty.judge.fit import FitResult
    from difficulty.judge.verdicts import Claim

_COLOURS = {"supported": "green", "refuted": "red", "inconclusive": "yellow", "not tested": "dim"}


def fit(
    runs: Annotated[
        list[Path],
        typer.Argument(help="lm-eval output folders, a sweep's folder, or tidy tables (.parquet, .csv)."),
    ],
    baseline: Annotated[
        str | None, typer.Option(help="The dense run, if no run says that it is dense.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Which model, where the runs hold several.")] = None,
    metric: Annotated[
        str | None, typer.Option(help="Metric to judge by; by default acc, else exact_match.")
    ] = None,
    family: Annotated[
        list[str] | None, typer.Option(help="Judge this family only (may be repeated).")
    ] = None,
    claims: Annotated[str | None, typer.Option(help="Judge these claims only, e.g. P1,P2.")] = None,
    alpha: Annotated[float, typer.Option(help="Error rate; intervals cover 1 - alpha.")] = 0.05,
    delta: Annotated[float, typer.Option(help="Loss of accuracy that matters (P1, P3).")] = 0.05,
    delta_rise: Annotated[float, typer.Option(help="Rise between levels that breaks monotony (P1).")] = 0.01,
    delta_tier: Annotated[
        float, typer.Option(help="Extra latent loss a tier that matters, log-odds (P2, P4, P5).")
    ] = 0.1,
    delta_latent: Annotated[
        float, typer.Option(help="Latent loss that marks the critical level, log-odds (P3).")
    ] = 0.5,
    delta_level: Annotated[
        float, typer.Option(help="Fall of the critical level a tier that matters (P3).")
    ] = 0.02,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples.")] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of the resamples; the same seed gives the same bytes.")] = 0,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Go on with the items that all runs have.")
    ] = False,
    label: Annotated[list[str] | None, LABEL] = None,
    allow_different_prompts: Annotated[bool, ALLOW_DIFFERENT_PROMPTS] = False,
    prereg: Annotated[
        Path | None,
        typer.Option(
            help="The file of sweep --preregister: print where this fit departs from what it registers."
        ),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write everything as JSON ('-' prints it).")
    ] = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write the verdicts as CSV.")] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Print the families of every method, not of the main one only.")
    ] = False,
    cells_file: Annotated[
        Path | None, typer.Option("--cells", help="Write tiers x methods x levels as CSV.")
    ] = None,
) -> None:
    """Judge what compression cost: five claims, each supported, refuted or inconclusive.

    P1 scores fall with sparsity; P2 harder tiers lose more at the same sparsity; P3 their critical sparsity is lower; P4
    quantization orders the tiers less at equal memory; P5 after recovery harder tiers stay further behind. The rules are in
    docs/statistics.md.
    """
    from difficulty.files import write_atomic
    from difficulty.judge.fit import fit as fit_table
    from difficulty.judge.fit_output import cells_csv, claims_csv, to_json
    from difficulty.judge.verdicts import Rules
    from difficulty.runs.looks import added_after_look, folders_of
    from difficulty.runs.read import read_runs

    rules = Rules(alpha, delta, delta_rise, delta_tier, delta_latent, delta_level)
    read = read_runs(runs, labels=label or [])
    registered = read_prereg_of(prereg, read) if prereg else None
    result = fit_table(
        read,
        rules=rules,
        model=model,
        baseline=baseline,
        metric=metric,
        families=family,
        claims=claims.split(",") if claims else None,
        allow_missing=allow_missing,
        allow_different_prompts=allow_different_prompts,
        n_resamples=resamples,
        seed=seed,
    )
    folders = folders_of(read.tasks.values())
    options = {
        "model": model, "baseline": baseline, "metric": metric, "families": family, "claims": result.settings.claims,
        "resamples": resamples, "seed": seed, "allow_missing": allow_missing,
        "allow_different_prompts": allow_different_prompts,
    }  # fmt: skip
    notes = log(folders, "fit", [result], options)
    looked = [sentence for folder in folders for sentence in added_after_look(folder)]
    result = replace(result, warnings=(*result.warnings, *looked))
    found = departures_of(registered, [result], read, folders) if registered else []
    if csv_file:
        write_atomic(csv_file, claims_csv(result))
    if cells_file:
        write_atomic(cells_file, cells_csv(result))
    for note in notes:
        typer.echo(f"note: {note}", err=True)
    text = to_json(result) if json_file else ""
    if registered:
        text = with_prereg(text, registered, found) if text else ""
    if json_file and str(json_file) == "-":
        print(text, end="")
        return
    if json_file:
        write_atomic(json_file, text)
    show(result, every=every)
    if registered:
        for line in prereg_lines(registered, found):
            typer.echo(line)


def show(result: FitResult, console: Console | None = None, every: bool = False) -> None:
    """Print a fit: verdicts first, families, what was left out, and the paragraph for a paper."""
    from rich.markup import escape

    from difficulty.judge.fit_output import methods_paragraph
    from junkdna_harness.presentation.console import console as usual_console

    if console is None:
        console = usual_console(width=140)
    headline = result.headline()
    for sentence in result.guesses:
        console.print(f"warning: {escape(sentence)}", style="yellow", highlight=False)
    console.print(
        f"[bold]{escape(result.model)}[/bold], {result.n_items:,} items in {result.n_clusters:,} clusters\n"
    )
    console.print(_claims(list(headline.values()), "Verdicts, all families pooled", statements=True))
    for name, claim in headline.items():
        console.print(f"  {name}: {escape(claim.reason)}", style="dim", highlight=False)
    rest = [claim for claim in result.claims if claim not in headline.values()]
    main = {claim.method for claim in headline.values()}
    shown = [claim for claim in rest if every or claim.method in main or claim.scope.pooled]
    if shown:
        console.print()
        console.print(_claims(shown, "By family and method", statements=False))
    if len(shown) < len(rest):
        console.print(f"{len(rest) - len(shown)} rows of other methods: --all, --csv or --json.", style="dim")
    for sentence in result.excluded:
        console.print(f"left out: {escape(sentence)}", highlight=False)
    for sentence in (s for s in result.warnings if s not in result.guesses):
        console.print(f"note: {escape(sentence)}", style="yellow", highlight=False)
    console.print(f"\n[bold]Methods[/bold]\n{escape(methods_paragraph(result))}", highlight=False)


def _claims(claims: list[Claim], title: str, statements: bool) -> Table:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from difficulty.judge.verdicts import STATEMENTS
    from difficulty.text import estimate_text, p_text

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("verdict", "claim", "method" if statements else "family", "estimate [interval]", "unit"):
        table.add_column(name)
    for name in ("p (Holm)", "items", "clusters"):
        table.add_column(name, justify="right")
    for claim in claims:
        colour = _COLOURS[claim.verdict]
        what = f"{claim.claim} {STATEMENTS[claim.claim]}" if statements else claim.claim
        where = claim.method if statements else f"{claim.family}, {claim.method}"
        table.add_row(
            f"[{colour}]{claim.verdict}[/{colour}]", escape(what), escape(where),
            escape(estimate_text(claim.estimate, claim.ci_low, claim.ci_high)), escape(claim.unit), p_text(claim.p_holm), f"{claim.n_items:,}", f"{claim.n_clusters:,}",
        )  # fmt: skip
    return table
