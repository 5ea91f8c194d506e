"""`junkdna quantize`: round weights to few bits and write an ordinary checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def quantize(
    pretrained: Annotated[
        str | None,
        typer.Argument(help="Checkpoint folder, hub id or smollm2-135m; left out: the embedded model."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the new checkpoint.")
    ] = None,
    method: Annotated[str, typer.Option(help="rtn or gptq.")] = "rtn",
    bits: Annotated[str, typer.Option(help="8, 6, 4, 3 or 2.")] = "4",
    group_size: Annotated[
        int | None,
        typer.Option(
            help="Weights that share a scale, -1 for a row; default the largest of 128, 64, 32, 16 that fits."
        ),
    ] = None,
    symmetric: Annotated[bool, typer.Option(help="No zero points.")] = False,
    targets: Annotated[
        str | None, typer.Option(help="Module-name patterns, joined by '+', e.g. 'mlp.*'.")
    ] = None,
    exclude: Annotated[str | None, typer.Option(help="Module-name patterns to leave alone.")] = None,
    seed: Annotated[int, typer.Option("--seed", "--mask-seed", help="Of the calibration draw.")] = 0,
    calibration: Annotated[
        str | None,
        typer.Option(
            help="Text: FILE.txt, FILE.jsonl[:FIELD], task:NAME or hf:dataset[:config[:split[:column]]]."
        ),
    ] = None,
    nsamples: Annotated[int, typer.Option(help="Calibration samples.")] = 128,
    seqlen: Annotated[
        int | None, typer.Option(help="Tokens a sample; default 2048 on an accelerator, 128 on a CPU.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    device: Annotated[
        str | None,
        typer.Option(help="cpu, cuda, or auto (several devices); default cuda where there is one."),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Of a hub model.")] = None,
    gguf_file: Annotated[
        str | None, typer.Option(help="Name of a GGUF file in the checkpoint's folder.")
    ] = None,
    trust_remote_code: Annotated[bool, typer.Option(help="Run code that comes with the checkpoint.")] = False,
    force: Annotated[bool, typer.Option(help="Replace the output folder if it is not empty.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Print the estimate of time and memory, and stop.")] = False,
) -> None:
    """Round a model's weights to what few bits can hold, and write an ordinary checkpoint.

    Quantization is simulated: the rounded weights are stored densely in the model's dtype, so that any framework
    loads them. The manifest holds the bits that a packed copy would take.
    """
    from junkdna_harness.commands.compressing import check_output, progress_bar

    check_output(output, force, needed=not dry_run)
    from junkdna_harness.compress import QuantSpec
    from junkdna_harness.compress import quantize as quantize_in_place
    from junkdna_harness.compress.checkpoint import save_checkpoint
    from junkdna_harness.compress.estimate import describe_cost
    from junkdna_harness.compress.loading import Source, load
    from junkdna_harness.compress.quantize import check_simulated

    given = {
        "method": method,
        "bits": bits,
        "group_size": group_size,
        "symmetric": symmetric or None,
        "targets": targets,
        "exclude": exclude,
        "mask_seed": seed,
        "calibration": calibration,
        "nsamples": nsamples,
        "seqlen": seqlen,
    }
    check_simulated(method)
    spec = QuantSpec.from_strings({name: value for name, value in given.items() if value is not None})
    source = Source(pretrained, dtype, device, revision, gguf_file, trust_remote_code)
    typer.echo(f"{source.name}: {describe_cost(source, spec)}", err=True)
    if dry_run:
        return
    model, tokenizer = load(source)
    with progress_bar(spec.method) as progress:
        report = quantize_in_place(model, spec, tokenizer, progress)
    typer.echo(f"{report.summary()} ({report.seconds:.1f} s)")
    for warning in report.warnings:
        typer.echo(f"warning: {warning}", err=True)
    if output is not None:
        save_checkpoint(model, tokenizer, report, output, source.to_dict(), force)
        typer.echo(f"checkpoint: {output}")
