"""`junkdna prune`: remove weights and write an ordinary checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def prune(
    pretrained: Annotated[
        str | None,
        typer.Argument(help="Checkpoint folder, hub id or smollm2-135m; left out: the embedded model."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the new checkpoint.")
    ] = None,
    method: Annotated[
        str,
        typer.Option(help="magnitude, random, wanda, sparsegpt, none (measure), or module:name of your own."),
    ] = "magnitude",
    sparsity: Annotated[str | None, typer.Option(help="Fraction of weights to remove; default 0.5.")] = None,
    pattern: Annotated[str | None, typer.Option(help="N:M instead, N kept of M, e.g. 2:4.")] = None,
    scope: Annotated[
        str | None,
        typer.Option(help="Where weights compete: row, layer or global; default the method's own."),
    ] = None,
    targets: Annotated[
        str | None, typer.Option(help="Module-name patterns, joined by '+', e.g. 'mlp.*'.")
    ] = None,
    exclude: Annotated[str | None, typer.Option(help="Module-name patterns to leave alone.")] = None,
    seed: Annotated[
        int, typer.Option("--seed", "--mask-seed", help="Of a random mask or calibration draw.")
    ] = 0,
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
    mask: Annotated[Path | None, typer.Option(help="Apply this mask file instead of a method.")] = None,
    save_mask: Annotated[Path | None, typer.Option(help="Write the mask alone to this file.")] = None,
    bits: Annotated[str | None, typer.Option(help="Quantize what is left: 8, 6, 4, 3 or 2.")] = None,
    group_size: Annotated[int | None, typer.Option(help="With --bits: weights that share a scale.")] = None,
    symmetric: Annotated[bool, typer.Option(help="With --bits: no zero points.")] = False,
    quantizer: Annotated[str | None, typer.Option(help="With --bits: rtn or gptq.")] = None,
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
    """Remove weights from a model and write an ordinary checkpoint, with exact zeros and a manifest.

    The result loads with AutoModelForCausalLM.from_pretrained. Zeros are stored densely: masks simulate sparsity,
    they give no speed. N of N:M is the number kept.
    """
    from junkdna_harness.commands.compressing import check_output, progress_bar

    check_output(output, force, needed=not dry_run and save_mask is None and method != "none")
    from junkdna_harness.compress import PruneSpec
    from junkdna_harness.compress import prune as prune_in_place
    from junkdna_harness.compress.checkpoint import save_checkpoint
    from junkdna_harness.compress.estimate import describe_cost
    from junkdna_harness.compress.loading import Source, load
    from junkdna_harness.compress.masks import save_mask as write_mask

    given = {
        "method": None if mask is not None and method == "magnitude" else method,
        "sparsity": sparsity,
        "pattern": pattern,
        "scope": scope,
        "targets": targets,
        "exclude": exclude,
        "mask_seed": seed,
        "calibration": calibration,
        "nsamples": nsamples,
        "seqlen": seqlen,
        "mask": None if mask is None else str(mask),
        "bits": bits,
        "group_size": group_size,
        "symmetric": symmetric or None,
        "quantizer": quantizer,
    }
    spec = PruneSpec.from_strings({name: value for name, value in given.items() if value is not None})
    source = Source(pretrained, dtype, device, revision, gguf_file, trust_remote_code)
    typer.echo(f"{source.name}: {describe_cost(source, spec)}", err=True)
    if dry_run:
        return
    model, tokenizer = load(source)
    with progress_bar(spec.method) as progress:
        report = prune_in_place(model, spec, tokenizer, progress)
    typer.echo(f"{report.summary()} ({report.seconds:.1f} s)")
    for warning in report.warnings:
        typer.echo(f"warning: {warning}", err=True)
    if save_mask is not None:
        write_mask(model, report, save_mask)
        typer.echo(f"mask: {save_mask}")
    if output is not None:
        save_checkpoint(model, tokenizer, report, output, source.to_dict(), force)
        typer.echo(f"checkpoint: {output}")
