"""`junkdna report`: leaderboard tables, plots and one HTML file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from junkdna_harness.commands.looking import log
from junkdna_harness.commands.options import (
    ALLOW_DIFFERENT_PROMPTS,
    LABEL,
    WandbArgs,
    WandbConfigArgs,
    wandb_of,
)
from junkdna_harness.presentation.console import say

SCREEN = Path("-")


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="lm-eval output folders, a sweep's folder, tidy tables (.parquet, .csv), what fidelity --json wrote."
        ),
    ],
    by: Annotated[
        list[str] | None, typer.Option(help="Columns: tier, family, axis or task (may be repeated).")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="Metric to report; by default acc, else what the task has.")
    ] = None,
    sort: Annotated[
        list[str] | None,
        typer.Option(help="Order of the rows, e.g. level, --sort=-overall or --sort=-tier_4 for down."),
    ] = None,
    select: Annotated[
        list[str] | None,
        typer.Option(help="Keep runs or tasks, e.g. method=wanda,magnitude or 'level<=0.5'; all must hold."),
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Write the tables as markdown; - for the screen.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the tables as CSV; - for the screen.")] = None,
    latex: Annotated[
        Path | None, typer.Option(help="Write the tables as LaTeX (booktabs); - for the screen.")
    ] = None,
    latex_form: Annotated[
        Literal["wide", "narrow"],
        typer.Option(help="wide: over both columns of a paper; narrow: within one of them."),
    ] = "wide",
    html: Annotated[Path | None, typer.Option(help="Write everything as one HTML file.")] = None,
    all_documents: Annotated[
        bool,
        typer.Option(
            "--all-documents", help="Put every document that flipped into --html, however large it gets."
        ),
    ] = False,
    plots: Annotated[
        Path | None, typer.Option(help="Write the plots as PNG, SVG and PDF into this folder.")
    ] = None,
    theme: Annotated[
        Literal["screen", "paper"],
        typer.Option(help="How plots look; paper: a file per panel, one column wide, 8 pt, without titles."),
    ] = "screen",
    seed: Annotated[int, typer.Option(help="Seed of the resamples behind bands and verdicts.")] = 0,
    label: Annotated[list[str] | None, LABEL] = None,
    allow_different_prompts: Annotated[bool, ALLOW_DIFFERENT_PROMPTS] = False,
    wandb_args: WandbArgs = None,
    wandb_config_args: WandbConfigArgs = None,
) -> None:
    """Show what compression cost: tables, plots, one HTML page.

    A cell is the mean [its 95 % interval], and in brackets what is left of the dense score. The HTML file needs
    nothing else: verdicts, tables, plots, the documents that flipped, methods, and how to make it again.
    """
    from difficulty.files import check_writable
    from junkdna_harness.report.figures import Finisher, write_plots
    from junkdna_harness.report.style import THEMES

    check_writable(markdown, csv, latex, html, plots and plots / "plot.png")
    wandb = wandb_of(wandb_args, wandb_config_args)
    whole = html is not None or plots is not None or wandb is not None
    files = plots is not None or wandb is not None
    with Finisher(files, html is not None, THEMES[theme], beside=whole) as finisher:
        from junkdna_harness.report.build import DEFAULT_BY, build  # while the finisher starts

        made = build(
            runs,
            by=tuple(by or DEFAULT_BY),
            metric=metric,
            sort=tuple(sort or ()),
            rules=tuple(select or ()),
            with_fit=whole,
            with_plots=finisher if whole else False,
            with_documents=html is not None,
            seed=seed,
            allow_different_prompts=allow_different_prompts,
            labels=label or [],
        )
    from difficulty.files import write_atomic
    from junkdna_harness.presentation.lines import show_lines, show_text
    from junkdna_harness.report import formats, verdicts
    from junkdna_harness.report.latex import latex_tables

    boards = list(made.boards)
    options = {
        "metric": metric,
        "select": select,
        "seed": seed,
        "allow_different_prompts": allow_different_prompts,
    }
    notes = log(made.folders, "report", made.fits, options) if made.fits else []
    texts: tuple[tuple[Path | None, Callable[[], str]], ...] = (
        (
            markdown,
            lambda: formats.markdown_page(boards, made.looked, verdicts.markdown(made.fits, made.over)),
        ),
        (csv, lambda: formats.csv_table(boards)),
        (latex, lambda: latex_tables(boards, latex_form)),
    )
    printed = SCREEN in (markdown, csv, latex)
    written: list[Path] = []
    for path, text in texts:
        if path == SCREEN:
            say(text())
        elif path is not None:
            write_atomic(path, text())
            written.append(path)
    if plots:
        written += write_plots(made.plots, plots)
    if html:
        from junkdna_harness.report.html import render

        write_atomic(html, render(made, all_documents, str(html)))
        written.append(html)
    for number, board in enumerate(made.boards):
        if printed:
            for note in board.notes:
                show_text(f"note: {note}", stderr=True)
        else:
            show_lines([[], *formats.terminal(board)] if number else formats.terminal(board))
    for warning in (*made.looked, *made.warnings, *notes):
        show_text(f"note: {warning}", stderr=True)
    for path in written:
        say(f"wrote {path}", stderr=True)
    if wandb is not None:
        from junkdna_harness.report.logged import log_report

        log_report(wandb, made, f"report {runs[0].name}", {**options, "by": by, "sort": sort})
        wandb.tell()
