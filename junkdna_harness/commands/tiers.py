"""`junkdna tiers build` and `junkdna tiers show`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from difficulty.errors import UsageError
from junkdna_harness.presentation.console import say


def build(
    task: Annotated[
        str, typer.Option(help="An lm-eval task: multiple choice, loglikelihood or generate_until.")
    ],
    by: Annotated[
        str,
        typer.Option(
            help="answer_length, context_length, option_count, field:NAME, steps:NAME, operators:NAME, dense_accuracy, "
            "dense_margin, or a Python function module:function of the document."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder to write; use it as lm_eval's --include_path."),
    ] = None,
    bins: Annotated[
        int | None,
        typer.Option(help="Number of tiers (4 for numbers; text makes one tier per value)."),
    ] = None,
    include_path: Annotated[
        str | None,
        typer.Option("--include-path", help="Folder of your own task files."),
    ] = None,
    scores: Annotated[
        list[str] | None,
        typer.Option(
            help="For dense_*: folder of a logged lm_eval run of the task; repeat it for more runs."
        ),
    ] = None,
    cross_fit: Annotated[
        bool | None,
        typer.Option(
            "--cross-fit/--no-cross-fit",
            help="Half of the --scores runs makes the tiers, the others are for judging (default with two or more).",
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(help="For dense_accuracy: the logged metric (acc, else exact_match, else the first)."),
    ] = None,
    min_items: Annotated[int, typer.Option(help="Fewest items that a tier may have.")] = 30,
    cuts: Annotated[
        str | None,
        typer.Option(help="Instead of --bins: scores at which tiers 2, 3, ... begin, e.g. 3,5."),
    ] = None,
    order: Annotated[
        str | None,
        typer.Option(help="For text: the values from easiest to hardest, e.g. easy,medium,hard."),
    ] = None,
    harder: Annotated[
        str | None,
        typer.Option(help="Which scores are hard: high or low (low for dense_*, else high)."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the group (default TASK_RULE)."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides which runs make the tiers in cross-fitting.")] = 0,
    allow_duplicates: Annotated[
        bool, typer.Option("--allow-duplicates", help="Accept documents that occur twice.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the tiers, write nothing.")] = False,
    plot: Annotated[
        Path | None,
        typer.Option(help="Write a histogram of the scores with the cuts, a PNG."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a folder that is not empty.")] = False,
) -> None:
    """Sort the documents of a task by difficulty, and write a task per tier."""
    if output is None and not dry_run:
        raise UsageError(
            "--output is missing: name the folder to write, or pass --dry-run to see the tiers only."
        )
    if harder not in (None, "high", "low"):
        raise UsageError(f"--harder {harder!r} is neither 'high' nor 'low'. Write one of them.")
    if bins is not None and cuts is not None:
        raise UsageError(f"--bins {bins} and --cuts {cuts} both say where to cut. Give one of them.")
    from difficulty.cut.texts import read_order
    from difficulty.files import check_writable
    from junkdna_harness.output_folder import check_output_folder
    from junkdna_harness.tiers.build import is_tiers, plan_tiers, write_tiers
    from junkdna_harness.tiers.show import plan_text, plot_plan

    check_writable(plot)
    if output is not None and not dry_run:
        check_output_folder(output, force, include_path, ours=is_tiers)
    use_working_directory()
    plan = plan_tiers(
        task,
        by,
        bins,
        include_path=include_path,
        name=name,
        min_items=min_items,
        cuts=parse_cuts(cuts),
        order=None if order is None else read_order(order),
        harder=harder,  # type: ignore[arg-type]
        scores=scores or [],
        cross_fit=cross_fit,
        metric=metric,
        seed=seed,
        allow_duplicates=allow_duplicates,
    )
    say(plan_text(plan))
    for note in plan.runs.notes if plan.runs else ():
        say(f"note: {note}", stderr=True)
    if plan.runs and plan.runs.warning:
        say(f"warning: {plan.runs.warning}", stderr=True)
    if plot is not None:
        plot_plan(plan, plot)
        say(f"plot: {plot}")
    if not dry_run and output is not None:
        write_tiers(plan, output, force=force)
        say(f"run: lm_eval --include_path {output} --tasks {plan.name} ...")


def show(folder: Annotated[Path, typer.Argument(help="A folder that `junkdna tiers build` wrote.")]) -> None:
    """Print what a folder of tiers holds."""
    from junkdna_harness.tiers.show import folder_text

    say(folder_text(folder))


def use_working_directory() -> None:
    """Let `--by module:function` find a file of the working directory, as `python -m` would."""
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))


def parse_cuts(text: str | None) -> list[float] | None:
    """The numbers of "3,5", or None for None.

    Raises:
        UsageError: they are no numbers.
    """
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--cuts {text!r} is no list of numbers. Write e.g. --cuts 3,5.") from None
