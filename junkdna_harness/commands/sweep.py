"""`junkdna sweep`: a grid of compressed states, one load, resumable."""

from __future__ import annotations

from collections.abc import Callable
from glob import escape as glob_escape
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from difficulty.errors import UsageError, did_you_mean
from junkdna_harness.commands.options import WandbArgs, WandbConfigArgs, wandb_of
from junkdna_harness.presentation.console import say

if TYPE_CHECKING:
    from junkdna_harness.sweep.plan import Plan
    from junkdna_harness.tracking import Wandb

PANEL_MACHINE = "Machine (changes no score)"
PANEL_TASKS = "Evaluation, as in lm_eval"
PANEL_PREREG = "Before looking"


def sweep(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PLAN.yaml",
            help="A plan in YAML; options of the command line come before its own.",
            autocompletion=lambda incomplete: _first_words(incomplete),
        ),
    ] = None,
    model_args: Annotated[
        list[str] | None,
        typer.Option(
            "--model-args", help="As in lm_eval; repeat it for several models. Default: the embedded model."
        ),
    ] = None,
    methods: Annotated[
        str | None, typer.Option(help="Pruning methods, e.g. magnitude,largest,wanda,sparsegpt,random.")
    ] = None,
    sparsity: Annotated[
        str | None, typer.Option(help="Fractions removed: 0.3,0.5 or first:last:step.")
    ] = None,
    patterns: Annotated[str | None, typer.Option(help="N:M patterns, N kept of M, e.g. 7:8,4:8,2:4.")] = None,
    quantize: Annotated[str | None, typer.Option(help="Quantizers with bits, e.g. rtn:8,4,3,2.")] = None,
    replicates: Annotated[
        int | None,
        typer.Option(
            help="Draws of what is drawn by lot (random masks, calibration samples), each with a seed of its own. Default: 1."
        ),
    ] = None,
    match_loss: Annotated[
        bool,
        typer.Option("--match-loss", help="Seek each other method's levels with the loss of magnitude's."),
    ] = False,
    refine: Annotated[
        str | None, typer.Option(help="P3: add levels where the claim cannot resolve a critical level.")
    ] = None,
    refine_levels: Annotated[
        int | None,
        typer.Option("--refine-levels", help="Most levels that --refine adds for each model. Default: 12."),
    ] = None,
    one_shot: Annotated[
        bool, typer.Option("--one-shot", help="Gather calibration statistics once, on the dense model.")
    ] = False,
    noise_floor: Annotated[
        bool,
        typer.Option(
            "--noise-floor",
            help="Evaluate the dense model once more in other batches; tables mark differences that are no larger.",
        ),
    ] = False,
    dtype: Annotated[
        str | None,
        typer.Option(
            help="Numbers that models compute in, as dtype= of --model-args. auto-cpu: bfloat16 where the CPU has it, else float32."
        ),
    ] = None,
    tasks: Annotated[
        str | None, typer.Option(help="Tasks or groups, comma-separated.", rich_help_panel=PANEL_TASKS)
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The sweep's folder.")] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(
            help="Perplexity by token: a .txt or .jsonl file, starter or embedded; repeat it for more.",
            rich_help_panel=PANEL_TASKS,
        ),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(
            help="With --text: tokens that a prediction sees at most. Default: 512.",
            rich_help_panel=PANEL_TASKS,
        ),
    ] = None,
    surprisal_from: Annotated[
        str | None,
        typer.Option(
            help="With --text: another model with the same tokenizer, by whose loss the tokens are cut into tiers too.",
            rich_help_panel=PANEL_TASKS,
        ),
    ] = None,
    limit: Annotated[
        float | None,
        typer.Option(
            help="Documents per task: a number, or below 1 a share. Default: all.",
            rich_help_panel=PANEL_TASKS,
        ),
    ] = None,
    num_fewshot: Annotated[
        int | None,
        typer.Option(
            "--num-fewshot",
            help="Solved examples in each prompt. Default: the task's own.",
            rich_help_panel=PANEL_TASKS,
        ),
    ] = None,
    seed: Annotated[
        str | None,
        typer.Option(
            help="One for all, or four: python,numpy,torch,fewshot. Default: 0,1234,1234,1234.",
            rich_help_panel=PANEL_TASKS,
        ),
    ] = None,
    apply_chat_template: Annotated[
        bool, typer.Option("--apply-chat-template", help="Prompts as chat.", rich_help_panel=PANEL_TASKS)
    ] = False,
    fewshot_as_multiturn: Annotated[
        bool | None,
        typer.Option(
            "--fewshot-as-multiturn/--no-multiturn",
            help="With a chat template: each example as a turn of its own. Default: yes, as in lm_eval.",
            rich_help_panel=PANEL_TASKS,
        ),
    ] = None,
    system_instruction: Annotated[
        str | None, typer.Option("--system-instruction", help="System message.", rich_help_panel=PANEL_TASKS)
    ] = None,
    include_path: Annotated[
        str | None,
        typer.Option("--include-path", help="A folder of more tasks.", rich_help_panel=PANEL_TASKS),
    ] = None,
    batch_size: Annotated[
        str | None,
        typer.Option(
            "--batch-size", help="Requests per pass: a number, auto or auto:N.", rich_help_panel=PANEL_MACHINE
        ),
    ] = None,
    max_batch_size: Annotated[
        int | None, typer.Option("--max-batch-size", help="Limit for auto.", rich_help_panel=PANEL_MACHINE)
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="cpu, cuda:0, or cuda:0,1 (a worker each).", rich_help_panel=PANEL_MACHINE),
    ] = None,
    engine: Annotated[str | None, typer.Option(help="local or ray.", rich_help_panel=PANEL_MACHINE)] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Worker processes; on GPUs each has its own copy of the model. Default: as many as help, one per GPU.",
            rich_help_panel=PANEL_MACHINE,
        ),
    ] = None,
    no_prefix_cache: Annotated[
        bool, typer.Option("--no-prefix-cache", help="Score as hf does.", rich_help_panel=PANEL_MACHINE)
    ] = False,
    extend: Annotated[
        bool, typer.Option("--extend", help="Add runs to the plan of an existing folder.")
    ] = False,
    preregister: Annotated[
        Path | None,
        typer.Option(
            help="Write the plan and the verdicts' rules to this file before anything is evaluated; fit --prereg reads it.",
            rich_help_panel=PANEL_PREREG,
        ),
    ] = None,
    rule: Annotated[
        list[str] | None,
        typer.Option(
            help="An option of fit to register in place of its default, e.g. delta-tier=0.2 or claims=P2 (may be repeated).",
            rich_help_panel=PANEL_PREREG,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and what it will cost, and stop.")
    ] = False,
    wandb_args: WandbArgs = None,
    wandb_config_args: WandbConfigArgs = None,
) -> None:
    """Evaluate a model at every method and level of a grid.

    The same command goes on where a killed sweep stopped. Exit codes: 0 all runs are there, 1 some failed (the others
    are stored), 2 wrong usage.
    """
    given = {
        "model_args": model_args, "methods": methods, "sparsity": sparsity, "patterns": patterns,
        "quantize": quantize, "replicates": replicates, "noise_floor": noise_floor or None, "dtype": dtype, "tasks": tasks, "text": text, "window": window, "surprisal_from": surprisal_from, "output": output, "limit": limit,
        "num_fewshot": num_fewshot, "seed": seed, "apply_chat_template": apply_chat_template or None,
        "fewshot_as_multiturn": fewshot_as_multiturn, "system_instruction": system_instruction, "one_shot": one_shot or None, "include_path": include_path,
        "match_loss": match_loss or None, "refine": refine, "refine_levels": refine_levels, "batch_size": batch_size,
        "max_batch_size": max_batch_size, "device": device, "engine": engine, "workers": workers,
        "prefix_cache": False if no_prefix_cache else None,
    }  # fmt: skip
    options = _options(words or [], {name: value for name, value in given.items() if value is not None})
    if rule and preregister is None:
        raise UsageError(
            "--rule is written into a preregistration. Add --preregister FILE, or give the option to fit."
        )
    wandb = wandb_of(wandb_args, wandb_config_args)
    code = _sweep(
        options, extend=extend, dry_run=dry_run, preregister=preregister, rule=rule or [], wandb=wandb
    )
    if code:
        raise typer.Exit(code)


def _first_words(incomplete: str) -> list[str]:
    """What a shell completes the first word with: the sub-command, folders, and YAML files."""
    here = [
        f"{path}/" if path.is_dir() else str(path)
        for path in sorted(Path().glob(f"{glob_escape(incomplete)}*"))
        if path.is_dir() or path.suffix in (".yaml", ".yml")
    ]
    return [*(["export"] if "export".startswith(incomplete) else []), *here]


def _options(words: list[str], given: dict[str, Any]) -> dict[str, Any]:
    """The plan file's options, with those of the command line in front."""
    from junkdna_harness.sweep.choose import MACHINE_OPTIONS
    from junkdna_harness.sweep.options import read_plan_file

    if len(words) > 1:
        hint = did_you_mean(words[0], ("export",))
        raise UsageError(f"{' '.join(words)!r} is more than one plan. Name one YAML file.{hint}")
    if not words:
        return given
    known = (*PLAN_OPTIONS, *MACHINE_OPTIONS, "output")
    options = read_plan_file(Path(words[0]))
    for name in options:
        if name not in known:
            raise UsageError(f"{words[0]!r} has the unknown option {name!r}.{did_you_mean(str(name), known)}")
    return {**options, **given}


PLAN_OPTIONS = (
    "model_args", "methods", "sparsity", "patterns", "quantize", "replicates", "noise_floor", "dtype", "tasks", "text", "window", "surprisal_from", "limit",
    "num_fewshot", "seed", "apply_chat_template", "fewshot_as_multiturn", "system_instruction", "include_path", "one_shot",
    "match_loss", "refine", "refine_levels",
)  # fmt: skip


def _sweep(
    options: dict[str, Any],
    extend: bool,
    dry_run: bool,
    preregister: Path | None,
    rule: list[str],
    wandb: Wandb | None = None,
) -> int:
    from junkdna_harness.sweep.choose import engine_and_machine
    from junkdna_harness.sweep.display import Display, print_plan, print_summary
    from junkdna_harness.sweep.logged import Logged
    from junkdna_harness.sweep.plan import build_plan
    from junkdna_harness.sweep.run import run_sweep

    if not options.get("tasks") and not options.get("text"):
        raise UsageError("nothing is asked: give --tasks difficulty_tiers, or --text FILE.")
    plan = build_plan(**{name: options[name] for name in PLAN_OPTIONS if name in options})
    output = options.get("output")
    if dry_run:
        print_plan(plan, None if output is None else Path(output), extend)
        if preregister is not None:
            say(f"nothing is registered in {preregister} by a dry run")
        return 0
    if output is None:
        raise UsageError("no folder was given. Add --output runs/NAME.")
    begin = None if preregister is None else _registration(plan, preregister, Path(output), rule)
    engine, machine = engine_and_machine(options)
    with Display(plan) as display:
        hear = display.hear if wandb is None else Logged(plan, output, wandb, display.hear).hear
        outcome = run_sweep(plan, output, machine, engine, extend, hear, begin=begin)
    print_summary(outcome)
    if wandb is not None:
        wandb.tell()
    return outcome.exit_code


def _registration(plan: Plan, path: Path, folder: Path, rule: list[str]) -> Callable[[], None]:
    """What writes the plan to `path`, after looking whether it may be written there."""
    from junkdna_harness.sweep.preregister import check, content_of, parse_verdicts, register

    content = content_of(plan, parse_verdicts(rule))
    check(path, content, folder)

    def begin() -> None:
        registered = register(path, content)
        say(
            f"registered {registered.registered} in {path} (sha256 {registered.sha256[:12]}...): fit --prereg {path}",
            stderr=True,
        )

    return begin
