"""`junkdna study`: the whole paper on one model, in one command."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from junkdna_harness.commands.options import WandbArgs, WandbConfigArgs, wandb_of
from junkdna_harness.commands.verb import PLAN_FILES
from junkdna_harness.presentation.console import say


def study(
    pretrained: Annotated[
        str | None,
        typer.Argument(
            help="Checkpoint folder, hub id, several joined by commas, or the name of a shipped plan (smollm2-135m, ...); left out: the three embedded models. A .yaml file is taken for --plan."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The study's folder; the same command goes on with it. junkdna-study/MODEL.",
        ),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option(
            help="A YAML plan with any of the study's options, see docs/recovery.md, or the name of a shipped one."
        ),
    ] = None,
    limit: Annotated[
        float | None,
        typer.Option(help="Documents per task: a number, or below 1 a share. Default: the plan's."),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            help="Numbers that evaluation computes in; auto-cpu: bfloat16 where the CPU has it, else float32. Trainings are in float32."
        ),
    ] = None,
    steps: Annotated[
        str | None,
        typer.Option(help="Steps of each training: one budget, or several, e.g. 100,300."),
    ] = None,
    lr: Annotated[
        str | None,
        typer.Option(help="Learning rates, e.g. 2e-5,1e-4; left out: the arm's own."),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(
            help="A text whose tokens are asked too: a file, starter or embedded. Repeat for several."
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Training data: graded, task:NAME, or a .txt/.jsonl file.")
    ] = None,
    calibration: Annotated[
        str | None, typer.Option(help="Text for wanda and sparsegpt; by default what is trained on.")
    ] = None,
    recovery_levels: Annotated[
        str | None,
        typer.Option(help="Sparsities from which to recover, e.g. 0.5,0.7."),
    ] = None,
    fractions: Annotated[
        str | None,
        typer.Option(help="Shares of the training data, e.g. 0.1,0.25,0.5,0.7,1."),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(help="Training seeds, e.g. 0,1,2."),
    ] = None,
    trainings: Annotated[
        int | None,
        typer.Option(help="Train every arm so many times, with seeds that follow each other. Default 1."),
    ] = None,
    replicates: Annotated[
        int | None,
        typer.Option(help="In the sweep: draws of random masks and calibration samples. Default 1."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A small cut of the plan: tries everything, decides little.")
    ] = False,
    engine: Annotated[
        str | None, typer.Option(help="local, or ray for sweep and trainings. Default: the plan's, or local.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Worker processes of the sweep, and trainings at a time."),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="cpu, cuda:0, or cuda:0,1."),
    ] = None,
    batch_size: Annotated[
        str | None,
        typer.Option("--batch-size", help="For evaluation: a number, auto or auto:N."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print the plan and what it would cost, also on 7B and 70B models; write nothing.",
        ),
    ] = False,
    against: Annotated[
        str | None,
        typer.Option(
            help="Points of the paper's figures (a CSV with figure, panel, series, level, value), or paper: draw them beside ours. "
            "A finished study is only read."
        ),
    ] = None,
    wandb_args: WandbArgs = None,
    wandb_config_args: WandbConfigArgs = None,
) -> None:
    """Run the whole paper on one model or several: verdicts, a report.

    Without arguments: the three embedded models, a quarter of an hour on two cores. Exit code 1: some run failed (the
    others are in the report).
    """
    if (
        pretrained is not None
        and plan is None
        and pretrained.lower().endswith(PLAN_FILES)
        and not Path(pretrained).is_dir()
    ):
        plan, pretrained = Path(pretrained), None  # as the other verbs take a file of options
    wandb = wandb_of(wandb_args, wandb_config_args)
    from junkdna_harness.study.asked import make_plan
    from junkdna_harness.study.plan import quick as cut

    asked = make_plan(
        pretrained,
        plan,
        dtype=dtype,
        limit=limit,
        data=data,
        calibration=calibration,
        steps=steps,
        lr=lr,
        text=text or None,
        recovery_levels=recovery_levels,
        fractions=fractions,
        seeds=seeds,
        trainings=trainings,
        replicates=replicates,
    )
    asked = cut(asked) if quick else asked
    folder = output or Path("junkdna-study") / (asked.name + ("-quick" if quick else ""))
    if dry_run:
        from junkdna_harness.presentation.lines import show_text
        from junkdna_harness.study.dry_run import dry_run as estimate

        estimate(asked, show_text, folder)
        return
    points = None
    if against is not None:
        from junkdna_harness.study.against.run import (
            is_finished,
            points_of,
            show_comparison,
            write_comparison,
        )
        from junkdna_harness.study.run import refuse_another

        points = points_of(against)
        if is_finished(folder) and wandb is None:
            if asked not in (make_plan(), cut(make_plan())):  # something was asked for
                refuse_another(folder, asked)
            show_comparison(write_comparison(folder, points))
            return
    from junkdna_harness.presentation.lines import show_text
    from junkdna_harness.presentation.progress import Meter
    from junkdna_harness.study.run import run_study
    from junkdna_harness.study.running import running
    from junkdna_harness.study.verdicts import ON_TOKENS

    started = time.perf_counter()
    options = {"engine": engine, "workers": workers, "device": device, "batch_size": batch_size}
    where = running(asked.run, options)
    with Meter("study") as meter:
        outcome = run_study(asked, folder, where.engine, where.machine, say=meter.say, meter=meter)
    say(
        f"\n{outcome.verdicts.title}: {outcome.verdicts.n_items:,} items, {time.perf_counter() - started:.0f} s"
    )
    for line in outcome.verdicts.lines():
        show_text(line)
    if outcome.tokens is not None:
        say(f"\n{ON_TOKENS}: {outcome.tokens.n_items:,} items")
        for line in outcome.tokens.lines():
            show_text(line)
    say(f"report: {outcome.report}")
    if points is not None:
        show_comparison(write_comparison(folder, points))
    if wandb is not None:
        from junkdna_harness.study.logged import log_study

        log_study(wandb, asked, outcome)
        wandb.tell()
    for name, why in outcome.failed.items():
        say(f"junkdna: {name}: {why}.", stderr=True)
    if outcome.failed:
        raise typer.Exit(1)
