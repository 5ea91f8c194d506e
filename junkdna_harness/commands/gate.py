"""`junkdna gate`: ask a model as few items as the verdict needs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from difficulty.errors import UsageError
from junkdna_harness.commands.limits import (
    ALPHA,
    BY,
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
from junkdna_harness.commands.options import ALLOW_DIFFERENT_PROMPTS, LABEL
from junkdna_harness.commands.trend_of import COMMIT, HISTORY, keep, ready_for_history
from junkdna_harness.presentation.console import say

PANEL_TASKS = "How items are asked (default: as in the baseline)"
PANEL_ORDER = "How many"


def gate(
    pretrained: Annotated[
        str,
        typer.Argument(
            help="What pretrained= takes: embedded, smollm2-135m, a folder, or a model of the hub."
        ),
    ],
    against: Annotated[
        Path,
        typer.Option(
            "--against", help="Baseline: a run, or a file made with junkdna check --write-baseline."
        ),
    ],
    policy: POLICY = None,
    max_drop: MAX_DROP = None,
    max_relative_drop: MAX_RELATIVE_DROP = None,
    metric: METRIC = None,
    lower_is_better: LOWER_IS_BETTER = None,
    higher_is_better: HIGHER_IS_BETTER = None,
    by: BY = None,
    alpha: ALPHA = None,
    inconclusive: INCONCLUSIVE = Inconclusive.exit3,
    baseline_run: Annotated[
        str | None, typer.Option(help="Which run of the baseline, where it holds several.")
    ] = None,
    noise_floor: NOISE_FLOOR = None,
    label: Annotated[list[str] | None, LABEL] = None,
    wrapper: Annotated[
        str,
        typer.Option(
            "--model",
            help="The class of lm-eval that loads the model: junkdna-pruned, junkdna-quantized, hf, vllm, ...",
        ),
    ] = "junkdna-pruned",
    model_args: Annotated[
        str | None,
        typer.Option(
            "--model-args",
            help="Further arguments, as in lm_eval; without any, nothing is done to the model.",
        ),
    ] = None,
    batch_size: Annotated[str | None, typer.Option("--batch-size", help="A number, auto or auto:N.")] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda:0. Default: the GPU where there is one.")
    ] = None,
    max_items: Annotated[
        int | None, typer.Option(help="Ask no more items than these.", rich_help_panel=PANEL_ORDER)
    ] = None,
    every_rule: Annotated[
        bool,
        typer.Option(
            "--every-rule",
            help="Go on until every comparison is decided, also advisory ones.",
            rich_help_panel=PANEL_ORDER,
        ),
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the order of the items.", rich_help_panel=PANEL_ORDER)] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Folder for the answers, from which a gate that was cut off goes on. Default: junkdna_gate/ and a name made of what is judged.",
            rich_help_panel=PANEL_ORDER,
        ),
    ] = None,
    num_fewshot: Annotated[
        int | None, typer.Option("--num-fewshot", help="Examples in the prompt.", rich_help_panel=PANEL_TASKS)
    ] = None,
    apply_chat_template: Annotated[
        bool | None,
        typer.Option(
            "--apply-chat-template/--no-chat-template", help="Prompts as chat.", rich_help_panel=PANEL_TASKS
        ),
    ] = None,
    system_instruction: Annotated[
        str | None, typer.Option("--system-instruction", help="System message.", rich_help_panel=PANEL_TASKS)
    ] = None,
    include_path: Annotated[
        str | None,
        typer.Option("--include-path", help="A folder of more tasks.", rich_help_panel=PANEL_TASKS),
    ] = None,
    metadata: Annotated[
        str | None,
        typer.Option(help="What tasks are told, as JSON, as in lm_eval.", rich_help_panel=PANEL_TASKS),
    ] = None,
    allow_different_prompts: Annotated[bool, ALLOW_DIFFERENT_PROMPTS] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the outcome as JSON ('-' prints it).")
    ] = None,
    junit_xml: Annotated[Path | None, typer.Option(help="Write the outcome as JUnit XML.")] = None,
    history: HISTORY = None,
    commit: COMMIT = None,
    everything: Annotated[bool, typer.Option("--all", help="List the comparisons that passed, too.")] = False,
) -> None:
    """Pass or fail a model, asking only the items that this takes.

    The baseline's tasks are asked in one random order, in growing batches; after each, every comparison is judged by evidence that may be
    looked at as often as one likes, and the gate stops when the verdict is known. Exit codes as junkdna check: 0 pass, 1 fail,
    3 inconclusive, 2 wrong usage. A gate that was cut off goes on where it was.
    """
    limits = limits_of(policy, max_drop, max_relative_drop, alpha, by, lower_is_better, higher_is_better)
    from difficulty.files import check_writable

    check_writable(json_file, junit_xml, history)
    commit = ready_for_history(history, commit, against)
    from junkdna_harness.sweep.options import parse_model_args

    baseline = baseline_of(against, baseline_run, metric, label, metrics_of(limits), noise_floor)
    arguments = parse_model_args(model_args)
    if include_path is not None and not Path(include_path).is_dir():
        raise UsageError(f"--include-path {include_path!r} is no folder. Name the folder of your task files.")
    from junkdna_harness.gate.flips import Logged
    from junkdna_harness.presentation.progress import Meter
    from junkdna_harness.sequential import Options, Prompting, load, outcome_of, run_gate

    prompting = Prompting(num_fewshot, apply_chat_template, system_instruction, None, include_path)
    options = Options(prompting, seed, max_items, every_rule, out, allow_different_prompts, _object(metadata))
    candidate = load(pretrained, wrapper, arguments, batch_size, device)

    def expected(took: str) -> None:
        say(f"asking {pretrained} all of the items would take {took}", stderr=True)

    with Meter(f"{pretrained}, until the verdict is known", unit="items", estimated=expected) as meter:
        finished = run_gate(candidate, baseline, limits, options, meter.say, lambda *done: meter.move(*done))
    found = outcome_of(finished, Logged(against, label or []).of(baseline.name))
    code = exit_code_of(found.gate, inconclusive)
    finish(
        found.gate, code, inconclusive, found.to_json(code), json_file, junit_xml, everything, found.further
    )
    keep(history, found.gate, code, commit, allow_different_prompts, found.looks)
    raise typer.Exit(code)


def _object(text: str | None) -> dict[str, Any]:
    """The JSON object of `--metadata`."""
    import json

    try:
        found = json.loads(text or "{}")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UsageError(
            f'--metadata {text!r} is no JSON object. Write e.g. --metadata \'{{"text": ["my.jsonl"]}}\'.'
        )
    return found
