"""`junkdna power`: what a gate can decide, before anything is evaluated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from difficulty.errors import UsageError
from junkdna_harness.commands.limits import (
    ALPHA,
    BY,
    HIGHER_IS_BETTER,
    LOWER_IS_BETTER,
    MAX_DROP,
    MAX_RELATIVE_DROP,
    METRIC,
    POLICY,
    limits_of,
)
from junkdna_harness.presentation.console import say, say_json


def power(
    tasks: Annotated[
        str | None, typer.Option("--tasks", help="Tasks or groups as for lm_eval, separated by commas.")
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(
            help="A run, or a file made with junkdna check --write-baseline: its items, clusters and scores are taken."
        ),
    ] = None,
    noise_floor: Annotated[
        Path | None,
        typer.Option(
            help="A second evaluation of the baseline's model: how many answers change is measured from it."
        ),
    ] = None,
    discordance: Annotated[
        float | None, typer.Option(help="Share of answers that change in an equal model, e.g. 0.05.")
    ] = None,
    policy: POLICY = None,
    max_drop: MAX_DROP = None,
    max_relative_drop: MAX_RELATIVE_DROP = None,
    alpha: ALPHA = None,
    by: BY = None,
    metric: METRIC = None,
    lower_is_better: LOWER_IS_BETTER = None,
    higher_is_better: HIGHER_IS_BETTER = None,
    limit: Annotated[
        float | None, typer.Option(help="Items of each task, or a share of them, as lm_eval --limit.")
    ] = None,
    include_path: Annotated[str | None, typer.Option(help="Folder of your own task files.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write the numbers as JSON ('-' prints it alone).")
    ] = None,
) -> None:
    """Say how many items a gate needs, and what yours can see.

    For each comparison of the policy (or of --max-drop): the items with which an equal model passes in 80 and 95 % of runs, how often it
    passes with the given ones, and the smallest true loss that they show.
    """
    from difficulty.files import check_writable

    check_writable(json_file)
    if tasks is None and baseline is None:
        raise UsageError(
            "there are no items to plan with. Give --tasks, e.g. difficulty_tiers, or --baseline RUN."
        )
    if discordance is not None and not 0 <= discordance <= 0.5:
        raise UsageError(
            f"--discordance {discordance} is not a share of answers. Give a number from 0 to 0.5, e.g. 0.05."
        )
    if discordance is not None and noise_floor is not None:
        raise UsageError(
            "--discordance and --noise-floor both say how many answers change. Give one of them."
        )
    if noise_floor is not None and baseline is None:
        raise UsageError("--noise-floor is a second evaluation of the baseline's model. Give --baseline too.")
    if baseline is None and max_relative_drop is not None:
        raise UsageError("--max-relative-drop is a share of a score. Give --baseline, which has one.")
    if baseline is not None and limit is not None:
        raise UsageError(
            "--limit is of tasks that are yet to be evaluated. Leave it out with --baseline, whose items are counted."
        )
    from difficulty.files import write_atomic
    from junkdna_harness.gate.ahead import items_ahead, only
    from junkdna_harness.gate.baseline import read_baseline, read_run
    from junkdna_harness.gate.noise import with_noise_of
    from junkdna_harness.gate.policy import Policy
    from junkdna_harness.gate.power import outlook
    from junkdna_harness.gate.power_text import power_json, power_text
    from junkdna_harness.gate.simple import policy_of

    limits = limits_of(policy, max_drop, max_relative_drop, alpha, by, lower_is_better, higher_is_better)
    names = [name for name in (tasks or "").split(",") if name]
    also = limits.metrics if isinstance(limits, Policy) else ()
    if baseline is None:
        items = items_ahead(names, include_path, limit, metric)
    else:
        items = read_baseline(baseline, None, metric, (), also)
        if noise_floor is not None:
            items = with_noise_of(items, read_run(noise_floor, None, metric, (), also))
        if names:
            items = only(items, names, include_path)
    rules = limits if isinstance(limits, Policy) else policy_of(limits, items)
    if baseline is None and any(rule.max_relative_drop is not None for rule in rules.on_tasks):
        raise UsageError(
            f"{rules.name} limits max_relative_drop, a share of a score. Give --baseline, which has one."
        )
    found = outlook(items, rules, discordance)
    content = power_json(found, rules.alpha)
    if json_file is not None and str(json_file) != "-":
        write_atomic(json_file, content)
    if str(json_file) == "-":
        say_json(content, end="")
    else:
        say(power_text(found, rules.alpha))
