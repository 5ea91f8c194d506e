"""`junkdna check`: stop a checkpoint that lost more than it may."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from difficulty.errors import UsageError
from junkdna_harness.commands.limits import (
    ALPHA,
    BY,
    EXIT_CODES,
    HIGHER_IS_BETTER,
    INCONCLUSIVE,
    LOWER_IS_BETTER,
    MAX_DROP,
    MAX_RELATIVE_DROP,
    METRIC,
    NOISE_FLOOR,
    POLICY,
    Inconclusive,
    baseline_of,
    exit_code_of,
    finish,
    limits_of,
    metrics_of,
)
from junkdna_harness.commands.options import (
    ALLOW_DIFFERENT_PROMPTS,
    LABEL,
    WandbArgs,
    WandbConfigArgs,
    wandb_of,
)
from junkdna_harness.commands.trend_of import (
    COMMIT,
    FALSE_ALARM_RATE,
    HISTORY,
    SINCE,
    TOLERANCE,
    TREND,
    keep,
    ready_for_history,
    refuse_without_trend,
    show_trend,
)
from junkdna_harness.presentation.console import say, say_json

if TYPE_CHECKING:
    from junkdna_harness.gate import Limits, Policy, RunItems
    from junkdna_harness.tracking import Wandb

PANEL_TEXT = "Limits on a text (NEW is the JSON of junkdna fidelity)"


def check(
    new: Annotated[
        Path | None,
        typer.Argument(
            help="Run to judge: lm-eval output folder, sweep store, or tidy table; or the JSON of junkdna fidelity."
        ),
    ] = None,
    against: Annotated[
        Path | None, typer.Option("--against", help="Baseline: a run, or a file made with --write-baseline.")
    ] = None,
    policy: POLICY = None,
    max_drop: MAX_DROP = None,
    max_relative_drop: MAX_RELATIVE_DROP = None,
    max_perplexity_ratio: Annotated[
        float | None,
        typer.Option(help="Largest ratio of perplexities allowed, e.g. 1.05.", rich_help_panel=PANEL_TEXT),
    ] = None,
    max_kl: Annotated[
        float | None,
        typer.Option(help="Largest mean KL(dense || new) allowed, in nats.", rich_help_panel=PANEL_TEXT),
    ] = None,
    min_agreement: Annotated[
        float | None,
        typer.Option(
            help="Least share of tokens with the same likeliest token, e.g. 0.95.", rich_help_panel=PANEL_TEXT
        ),
    ] = None,
    metric: METRIC = None,
    lower_is_better: LOWER_IS_BETTER = None,
    higher_is_better: HIGHER_IS_BETTER = None,
    by: BY = None,
    alpha: ALPHA = None,
    inconclusive: INCONCLUSIVE = Inconclusive.exit3,
    run: Annotated[str | None, typer.Option(help="Which run of NEW, where it holds several.")] = None,
    baseline_run: Annotated[
        str | None, typer.Option(help="Which run of the baseline, where it holds several.")
    ] = None,
    write_baseline: Annotated[
        Path | None,
        typer.Option(help="Write NEW as a baseline file to commit (and judge it, if --against is given)."),
    ] = None,
    write_policy: Annotated[
        Path | None,
        typer.Option(help="Write a policy to start from: limits that the items of the baseline can decide."),
    ] = None,
    fidelity: Annotated[
        Path | None,
        typer.Option(
            help="What junkdna fidelity measured of NEW on a text, for the policy's rules `of: text`."
        ),
    ] = None,
    noise_floor: NOISE_FLOOR = None,
    label: Annotated[list[str] | None, LABEL] = None,
    allow_different_prompts: Annotated[bool, ALLOW_DIFFERENT_PROMPTS] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the outcome as JSON ('-' prints it).")
    ] = None,
    junit_xml: Annotated[Path | None, typer.Option(help="Write the outcome as JUnit XML.")] = None,
    validate: Annotated[
        bool,
        typer.Option(
            "--validate", help="Judge nothing: say whether the policy and the baseline fit each other."
        ),
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="List the comparisons that passed, too.")] = False,
    history: HISTORY = None,
    commit: COMMIT = None,
    trend: TREND = None,
    false_alarm_rate: FALSE_ALARM_RATE = None,
    since: SINCE = None,
    tolerance: TOLERANCE = None,
    wandb_args: WandbArgs = None,
    wandb_config_args: WandbConfigArgs = None,
) -> None:
    """Pass or fail a run that was evaluated, against a baseline.

    Exit codes: 0 pass, 1 fail (or something is missing), 3 inconclusive, 2 wrong usage. The loss is paired
    item by item; "fail" needs Holm-corrected evidence that a loss exceeds the limit, "pass" needs evidence in
    every comparison that it does not; advisory rules of a policy decide nothing. In a GitHub workflow the outcome is added to
    the job summary, and annotations say what did not pass.
    """
    from difficulty.files import check_writable

    check_writable(json_file, junit_xml, history, write_baseline, write_policy)
    if trend is not None:
        judging = {
            "NEW": new, "--against": against, "--policy": policy, "--max-drop": max_drop, "--max-relative-drop": max_relative_drop,
            "--metric": metric, "--by": by, "--alpha": alpha, "--run": run, "--baseline-run": baseline_run, "--fidelity": fidelity,
            "--write-baseline": write_baseline, "--write-policy": write_policy, "--junit-xml": junit_xml, "--history": history,
            "--commit": commit, "--noise-floor": noise_floor, "--max-perplexity-ratio": max_perplexity_ratio, "--max-kl": max_kl, "--min-agreement": min_agreement,
            "--lower-is-better": lower_is_better, "--higher-is-better": higher_is_better, "--validate": validate or None,
            "--wandb-args": wandb_args,
        }  # fmt: skip
        show_trend(trend, false_alarm_rate, since, tolerance, json_file, judging)
    refuse_without_trend(false_alarm_rate, since, tolerance)
    wandb = wandb_of(wandb_args, wandb_config_args)
    if validate:
        if wandb is not None:
            raise UsageError("--validate judges nothing, so there is nothing to log. Leave --wandb-args out.")
        drops = (max_drop, max_relative_drop, alpha, by, lower_is_better, higher_is_better)
        _validate(new, policy, against, drops, baseline_run, metric, label)
        return
    if new is None:
        raise UsageError(
            "there is nothing to judge. Name a run: junkdna check NEW --against BASELINE, or show a history: junkdna check --trend FILE."
        )
    text_limits = (max_perplexity_ratio, max_kl, min_agreement)
    if any(limit is not None for limit in text_limits):
        others = {
            "--against": against, "--write-baseline": write_baseline, "--max-drop": max_drop, "--max-relative-drop": max_relative_drop,
            "--metric": metric, "--junit-xml": junit_xml, "--baseline-run": baseline_run, "--policy": policy, "--write-policy": write_policy,
            "--fidelity": fidelity, "--history": history, "--noise-floor": noise_floor,
        }  # fmt: skip
        if wrong := [name for name, value in others.items() if value not in (None, [])]:
            raise UsageError(
                f"{wrong[0]} is of runs that were evaluated on tasks, and --max-perplexity-ratio, --max-kl and --min-agreement are "
                "of the JSON of junkdna fidelity. Check the two one after the other, or write both into a policy."
            )
        _check_text(new, run, text_limits, 0.05 if alpha is None else alpha, inconclusive, json_file, wandb)
    if against is None and write_baseline is None and write_policy is None:
        raise UsageError(
            "there is nothing to compare with. Give --against BASELINE, or --write-baseline FILE to make one from this run."
        )
    commit = ready_for_history(history, commit, against)
    limits = limits_of(policy, max_drop, max_relative_drop, alpha, by, lower_is_better, higher_is_better)
    also = metrics_of(limits)
    from junkdna_harness.gate import check as judge
    from junkdna_harness.gate import read_run
    from junkdna_harness.gate.behind import with_logged_flips
    from junkdna_harness.gate.fidelity import read_fidelity
    from junkdna_harness.gate.json_output import as_json

    candidate = read_run(new, run, metric, label or [], also)
    baseline = baseline_of(against, baseline_run, metric, label, also, noise_floor)
    if write_policy is not None:
        limits, suggested = _suggested(limits, policy, write_policy, baseline or candidate, bool(max_drop))
    outcome = None
    if baseline is not None and against is not None:
        text = None if fidelity is None else read_fidelity(fidelity, run)
        outcome = judge(candidate, baseline, limits, allow_different_prompts, text)
        outcome = with_logged_flips(outcome, new, against, label or [])
    if write_baseline is not None:
        _write_baseline(write_baseline, candidate)
    if write_policy is not None:
        _write(write_policy, suggested, "policy")
    if outcome is None:
        return
    code = exit_code_of(outcome, inconclusive)
    finish(outcome, code, inconclusive, as_json(outcome, code), json_file, junit_xml, everything)
    keep(history, outcome, code, commit, allow_different_prompts)
    if wandb is not None:
        _log(wandb, as_json(outcome, code))
    raise typer.Exit(code)


def _suggested(
    limits: Limits | Policy, policy: Path | None, path: Path, baseline: RunItems, given: bool
) -> tuple[Limits | Policy, str]:
    """What is judged by, and the text of the policy that is written: the latter, where no other is given."""
    from junkdna_harness.gate import Limits
    from junkdna_harness.gate.policy_file import policy_of_document
    from junkdna_harness.gate.suggest import policy_text
    from junkdna_harness.yaml_values import read_yaml

    text = policy_text(baseline, limits.max_drop if isinstance(limits, Limits) and given else None)
    return (limits if policy is not None else policy_of_document(read_yaml(text), str(path))), text


def _write_baseline(path: Path, candidate: RunItems) -> None:
    from junkdna_harness.gate import to_json

    items = sum(len(task.item_ids) for name, task in candidate.tasks.items() if name == task.task)
    for reason in candidate.left_out.values():
        say(f"note: left out: {reason}", stderr=True)
    _write(path, to_json(candidate), f"baseline of {len(candidate.tasks)} tasks, {items:,} items")


def _write(path: Path, text: str, what: str) -> None:
    from difficulty.files import write_atomic

    write_atomic(path, text)
    say(f"{what}: {path}", stderr=True)


def _validate(
    new: Path | None, policy: Path | None, against: Path | None, drops: tuple[Any, ...], baseline_run: str | None, metric: str | None,
    label: list[str] | None,
) -> None:  # fmt: skip
    """Say what the limits judge on the baseline; a mistake in either ends the command."""
    from junkdna_harness.gate.validate import validated
    from junkdna_harness.presentation.lines import show_text

    if new is not None:
        raise UsageError(
            f"--validate judges nothing, and {str(new)!r} is a run to judge. Leave one of them out."
        )
    if policy is None and against is None:
        raise UsageError("there is nothing to validate. Give --policy FILE, --against BASELINE, or both.")
    limits = limits_of(policy, *drops)
    baseline = baseline_of(against, baseline_run, metric, label, metrics_of(limits))
    show_text(validated(limits, baseline))


def _check_text(
    new: Path, run: str | None, limits: tuple[float | None, float | None, float | None], alpha: float,
    inconclusive: Inconclusive, json_file: Path | None, wandb: Wandb | None,
) -> NoReturn:  # fmt: skip
    """The gate on a text; ends with its exit code."""
    import json

    from difficulty.files import write_atomic
    from junkdna_harness.gate.fidelity import TextLimits, check_text, read_fidelity, text_of
    from junkdna_harness.presentation.lines import show_text

    outcome = check_text(read_fidelity(new, run), TextLimits(*limits, alpha))
    code = {"pass": 0, "fail": 1, "inconclusive": EXIT_CODES[inconclusive]}[outcome.verdict]
    content = json.dumps({**outcome.to_dict(), "exit_code": code}, indent=1, allow_nan=False) + "\n"
    if json_file is not None and str(json_file) != "-":
        write_atomic(json_file, content)
    if str(json_file) == "-":
        say_json(content)
    else:
        show_text(text_of(outcome))
    if wandb is not None:
        _log(wandb, content)
    raise typer.Exit(code)


def _log(wandb: Wandb, document: str) -> None:
    from junkdna_harness.gate.logged import log_decision

    log_decision(wandb, document)
    wandb.tell()
