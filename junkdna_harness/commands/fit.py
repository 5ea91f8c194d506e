"""`junkdna fit`: verdicts on the hypothesis from evaluation outputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from junkdna_harness.commands.looking import departures_of, log, prereg_lines, read_prereg_of, with_prereg
from junkdna_harness.commands.options import ALLOW_DIFFERENT_PROMPTS, LABEL
from junkdna_harness.presentation.console import say_json

if TYPE_CHECKING:
    from difficulty.judge.fit import FitResult
    from difficulty.judge.over_models import ModelsResult


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
        float, typer.Option(help="Extra latent loss per tier that matters, log-odds (P2, P4, P5, P6).")
    ] = 0.1,
    delta_latent: Annotated[
        float, typer.Option(help="Latent loss that marks the critical level, log-odds (P3).")
    ] = 0.5,
    delta_level: Annotated[
        float, typer.Option(help="Fall of the critical level per tier that matters (P3).")
    ] = 0.02,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples.")] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of the resamples; the same seed gives the same bytes.")] = 0,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Go on with the items that all runs have.")
    ] = False,
    no_margins: Annotated[
        bool, typer.Option("--no-margins", help="Judge by accuracy alone, where margins were logged too.")
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
        bool,
        typer.Option(
            "--all", help="Print every scale, and the families of every method, not of the main one only."
        ),
    ] = False,
    cells_file: Annotated[
        Path | None, typer.Option("--cells", help="Write tiers x methods x levels as CSV.")
    ] = None,
    budgets_file: Annotated[
        Path | None,
        typer.Option("--budgets", help="Write what training gave back by its number of steps as CSV."),
    ] = None,
) -> None:
    """Judge six claims on what compression cost, and the hypothesis.

    P1 scores fall with sparsity; P2 harder tiers lose more at the same sparsity; P3 their critical sparsity is lower; P4
    quantization orders the tiers less at equal mean loss (and at equal memory); P5 after recovery harder tiers stay further
    behind; P6 it is the small weights. The hypothesis is supported where P2 and P6 are. Runs of several models, each with its
    dense run, give each model's verdicts and those over models. The rules are in docs/statistics.md.
    """
    from difficulty.files import check_writable, write_atomic
    from difficulty.judge.budget_rows import budgets_csv
    from difficulty.judge.fit import fit as fit_table
    from difficulty.judge.fit_output import cells_csv, claims_csv, models_to_json, to_json
    from difficulty.judge.over_models import fit_models, own_dense_runs
    from difficulty.judge.verdicts import Rules
    from difficulty.runs.looks import added_after_look, folders_of
    from difficulty.runs.read import read_runs
    from junkdna_harness.commands.fit_tables import show, show_models
    from junkdna_harness.presentation.lines import show_text

    rules = Rules(alpha, delta, delta_rise, delta_tier, delta_latent, delta_level)
    check_writable(json_file, csv_file, cells_file, budgets_file)
    read = read_runs(runs, labels=label or [])
    registered = read_prereg_of(prereg, read) if prereg else None
    how: dict[str, Any] = {
        "rules": rules, "metric": metric, "families": family, "claims": claims.split(",") if claims else None,
        "allow_missing": allow_missing, "allow_different_prompts": allow_different_prompts, "margins": not no_margins,
        "n_resamples": resamples, "seed": seed,
    }  # fmt: skip
    several: ModelsResult | None = None
    if model is None and baseline is None and own_dense_runs(read.table):
        several = fit_models(read, **how)
        results: list[FitResult] = list(several.results.values())
    else:
        results = [fit_table(read, model=model, baseline=baseline, **how)]
    folders = folders_of(read.tasks.values())
    options = {
        "model": model, "baseline": baseline, "metric": metric, "families": family, "claims": results[0].settings.claims,
        "resamples": resamples, "seed": seed, "allow_missing": allow_missing,
        "allow_different_prompts": allow_different_prompts, "margins": not no_margins,
    }  # fmt: skip
    notes = log(folders, "fit", results, options)
    looked = [sentence for folder in folders for sentence in added_after_look(folder)]
    results = [replace(result, warnings=(*result.warnings, *looked)) for result in results]
    if several is not None:
        several = replace(several, results=dict(zip(several.results, results, strict=True)))
    found = departures_of(registered, results, read, folders, resamples) if registered else []
    if csv_file:
        write_atomic(csv_file, claims_csv(*results))
    if cells_file:
        write_atomic(cells_file, cells_csv(*results))
    if budgets_file:
        write_atomic(budgets_file, budgets_csv(_budgets(results, several)))
    for note in notes:
        show_text(f"note: {note}", stderr=True)
    text = ""
    if json_file:
        text = to_json(results[0]) if several is None else models_to_json(several)
    if registered:
        text = with_prereg(text, registered, found) if text else ""
    if json_file and str(json_file) == "-":
        say_json(text, end="")
        return
    if json_file:
        write_atomic(json_file, text)
    if several is None:
        show(results[0], every=every)
    else:
        show_models(several, every=every)
    if registered:
        for line in prereg_lines(registered, found):
            show_text(line)


def _budgets(results: list[FitResult], several: ModelsResult | None) -> dict[str, Any]:
    """The curves over budgets: those over models first, then each model's."""
    over = {} if several is None or not several.budgets else {several.title: several.budgets}
    return {**over, **{result.model: result.budgets for result in results}}
