"""`junkdna recover`: train a pruned model, under its mask or not, and see what comes back."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from difficulty.errors import UsageError
from difficulty.runs.identity import LOCAL_RECONSTRUCTION
from junkdna_harness.commands.options import WandbArgs, WandbConfigArgs, wandb_of
from junkdna_harness.commands.pushing import Private, PushBranch, PushToHub, push, repository_of
from junkdna_harness.commands.spelled import names_options
from junkdna_harness.compress.spec import PruneSpec
from junkdna_harness.presentation.console import say


@names_options()
def recover(
    pretrained: Annotated[
        str | None,
        typer.Argument(help="Checkpoint folder, hub id or smollm2-135m; left out: the embedded model."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder of the result; an unfinished run goes on when asked for again."
        ),
    ] = None,
    arm: Annotated[
        str,
        typer.Option(
            help="sparse_transfer, sparse_to_dense, dense_freezing, dense_transfer (no mask), or local_reconstruction."
        ),
    ] = "sparse_transfer",
    data: Annotated[
        str,
        typer.Option(
            help="graded, task:NAME (training split of an lm-eval task or group), or a .txt/.jsonl file."
        ),
    ] = "graded",
    fraction: Annotated[
        float, typer.Option(help="Share of the training data; subsets are nested by --seed.")
    ] = 1.0,
    method: Annotated[
        str | None,
        typer.Option(help="How to prune first; left out, the zeros of the checkpoint are the mask."),
    ] = None,
    sparsity: Annotated[
        str | None,
        typer.Option(help="Fraction to remove, e.g. 0.5."),
    ] = None,
    pattern: Annotated[
        str | None,
        typer.Option(help="N:M instead, N kept of M, e.g. 4:8."),
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(help="A mask file that was saved from a model of this shape."),
    ] = None,
    calibration: Annotated[
        str | None,
        typer.Option(help="Calibration text for wanda and sparsegpt."),
    ] = None,
    mask_seed: Annotated[int, typer.Option(help="Seed of a random mask or of the calibration draw.")] = 0,
    steps: Annotated[
        int,
        typer.Option(
            help="Optimizer steps, of local_reconstruction for each block: the same for all arms that are to be compared."
        ),
    ] = 300,
    batch_size: Annotated[int, typer.Option(help="Examples per step and device.")] = 32,
    lr: Annotated[
        float | None,
        typer.Option(
            help="Learning rate; 2e-5, for adapters 2e-4, for the embedded model 1e-3; of local_reconstruction 1e-3, there 1e-2."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of data, order and training.")] = 0,
    max_length: Annotated[
        int | None,
        typer.Option(help="Tokens per row of training data; 512, or what the model can read."),
    ] = None,
    adapter: Annotated[
        str | None,
        typer.Option(help="lora or dora instead of the weights (a quantized checkpoint needs one)."),
    ] = None,
    rank: Annotated[int, typer.Option(help="Rank of the adapter.")] = 16,
    merge: Annotated[
        str | None,
        typer.Option(help="masked, dense or keep: what becomes of the adapter."),
    ] = None,
    freeze: Annotated[
        str,
        typer.Option(
            help="For dense_freezing: hold the weights that would be 'removed' (the paper's) or 'kept'."
        ),
    ] = "removed",
    early_stop: Annotated[
        int | None,
        typer.Option(
            help="Stop after so many evaluations without a better held-out loss (compute is then unequal)."
        ),
    ] = None,
    save_every: Annotated[
        int | None,
        typer.Option(
            help="Steps between checkpoints; by the clock where none is given (2 % of the time, 2 to 30 minutes apart)."
        ),
    ] = None,
    name_by: Annotated[
        str | None,
        typer.Option(
            help="steps, lr or both (steps,lr): what the run's name says, to tell apart trainings that differ in them."
        ),
    ] = None,
    include_path: Annotated[
        str | None,
        typer.Option("--include-path", help="Folder of your own task files, for --data task:NAME."),
    ] = None,
    trainer: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=VALUE for transformers.TrainingArguments, e.g. bf16=true; repeat it for more."
        ),
    ] = None,
    trainer_config: Annotated[
        Path | None,
        typer.Option(help="The same from a YAML or JSON file, e.g. for fsdp_config."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a folder that is not empty.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Look whether all that is needed is there, and stop.")
    ] = False,
    push_to_hub: PushToHub = None,
    private: Private = None,
    push_branch: PushBranch = None,
    wandb_args: WandbArgs = None,
    wandb_config_args: WandbConfigArgs = None,
) -> None:
    """Train a compressed model further, under its mask or freely.

    Several GPUs: start it with `accelerate launch -m junkdna_harness.cli recover ...`. Exit code 1: training broke
    down, and the last good weights were kept.
    """
    from junkdna_harness.recover.spec import RecoverSpec

    if output is None:
        raise UsageError("--output is missing: name the folder to write.")
    options = {**_config(trainer_config), **_pairs(trainer or [])}
    spec = RecoverSpec(
        arm=arm, data=data, fraction=fraction, steps=steps, batch_size=batch_size, lr=lr, seed=seed, max_length=max_length,
        adapter=adapter, rank=rank, merge=merge, freeze=freeze, early_stop=early_stop, save_every=save_every,
        include_path=include_path, trainer=options, name_by=tuple(filter(None, map(str.strip, (name_by or "").split(",")))),
    )  # fmt: skip
    given = {
        "method": method, "sparsity": sparsity, "pattern": pattern, "mask": mask, "calibration": calibration,
    }  # fmt: skip
    asked: dict[str, Any] = {name: str(value) for name, value in given.items() if value is not None}
    wandb = wandb_of(wandb_args, wandb_config_args)
    repository = repository_of(push_to_hub, private, push_branch, output, dry_run)
    from junkdna_harness.recover.run import recover as run

    prune_spec = PruneSpec.from_strings({**asked, "mask_seed": mask_seed}) if asked else None
    if dry_run:
        from junkdna_harness.recover.foreseen import check_recovery

        for line in check_recovery(pretrained, output, spec, prune_spec, force):
            say(f"checked: {line}")
        return
    from junkdna_harness.presentation.progress import Meter
    from junkdna_harness.recover.progress import Shown

    name = None if repository is None else repository.name
    with ExitStack() as stack:
        per = " per block" if spec.arm == LOCAL_RECONSTRUCTION else ""
        ended = f"{arm}: {steps:,} steps{per}, {{}}".format
        meter = stack.enter_context(Meter(arm, steps, "steps", lambda took: say(ended(took), stderr=True)))
        called: list[Any] = [Shown(lambda step, most, told: meter.move(step, most, told=told))]
        logged = None
        if wandb is not None:
            from junkdna_harness.recover.logged import LogSteps, log_outcome

            config = {
                "model": pretrained or "embedded",
                "output": str(output),
                **spec.to_dict(),
                "prune": asked,
            }
            logged = stack.enter_context(wandb.run(f"{output.name} {spec.arm}", "recovery", config))
            called.append(LogSteps(logged))
        done = run(pretrained, output, spec, prune_spec, force=force, name=name, callbacks=called)
        if logged is not None:
            log_outcome(logged, done)
    if wandb is not None:
        wandb.tell()
    training = done.training
    if done.manifest:
        first, last = training.first_loss, training.last_loss
        what = "error of a block" if training.blocks else "loss"
        loss = f", {what} {first:.4g} -> {last:.4g}" if last is not None else ""
        say(f"{done.manifest['method']}: {training.steps} steps{per}, {training.tokens:,} tokens{loss}")
        zero = done.manifest.get("sparsity_targeted", 0)
        say(f"{zero:.4f} of the targeted weights are zero: {output}")
    if training.stopped:
        say(f"junkdna: {training.stopped}.", stderr=True)
    if repository is not None and done.manifest and training.failed:
        say(
            f"junkdna: not uploaded, for training broke down. Look at it, then: hf upload {name} {output}",
            stderr=True,
        )
    elif repository is not None and done.manifest:
        push(output, repository, f"{done.manifest['method']}: {training.steps} steps")
    if training.failed:
        raise typer.Exit(1)


def _pairs(given: list[str]) -> dict[str, Any]:
    from junkdna_harness.yaml_values import yaml_of

    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--trainer {text!r} is no NAME=VALUE. Write e.g. --trainer bf16=true.")
        found[name] = yaml_of(value, f"--trainer {text!r}", "Write e.g. --trainer bf16=true.")
    return found


def _config(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    from junkdna_harness.yaml_values import read_yaml_file

    if not path.is_file():
        raise UsageError(f"--trainer-config {str(path)!r} is no file.")
    found = read_yaml_file(path, "--trainer-config", "Write e.g. 'bf16: true'.")
    if not isinstance(found, dict):
        raise UsageError(
            f"--trainer-config {str(path)!r} holds no names and values. Write e.g. 'bf16: true'."
        )
    return found
