"""`junkdna prune`: remove weights and write an ordinary checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from difficulty.errors import UsageError
from junkdna_harness.commands.compressing import (
    Device,
    DryRun,
    Dtype,
    Force,
    GGUFFile,
    Output,
    Pretrained,
    Recipe,
    Revision,
    TrustRemoteCode,
    check_output,
    compress,
    option,
    with_recipe,
)
from junkdna_harness.commands.pushing import Private, PushBranch, PushToHub, repository_of
from junkdna_harness.commands.spelled import names_options
from junkdna_harness.compress.spec import PruneSpec
from junkdna_harness.presentation.console import say

if TYPE_CHECKING:
    from junkdna_harness.compress.report import CompressionReport


@names_options(mask_seed="seed")
def prune(
    pretrained: Pretrained = None,
    output: Output = None,
    method: Annotated[str | None, option(PruneSpec, "method")] = None,
    sparsity: Annotated[str | None, option(PruneSpec, "sparsity")] = None,
    pattern: Annotated[str | None, option(PruneSpec, "pattern")] = None,
    scope: Annotated[str | None, option(PruneSpec, "scope")] = None,
    allocation: Annotated[str | None, option(PruneSpec, "allocation")] = None,
    criterion: Annotated[str | None, option(PruneSpec, "criterion")] = None,
    targets: Annotated[str | None, option(PruneSpec, "targets")] = None,
    exclude: Annotated[str | None, option(PruneSpec, "exclude")] = None,
    seed: Annotated[int | None, option(PruneSpec, "seed", "--seed", "--mask-seed")] = None,
    calibration: Annotated[str | None, option(PruneSpec, "calibration")] = None,
    nsamples: Annotated[int | None, option(PruneSpec, "nsamples")] = None,
    seqlen: Annotated[int | None, option(PruneSpec, "seqlen")] = None,
    mask: Annotated[Path | None, option(PruneSpec, "mask")] = None,
    save_mask: Annotated[Path | None, typer.Option(help="Write the mask alone to this file.")] = None,
    bits: Annotated[str | None, option(PruneSpec, "bits")] = None,
    group_size: Annotated[int | None, option(PruneSpec, "group_size")] = None,
    symmetric: Annotated[bool, option(PruneSpec, "symmetric")] = False,
    act_order: Annotated[bool, option(PruneSpec, "act_order")] = False,
    quantizer: Annotated[str | None, option(PruneSpec, "quantizer")] = None,
    activations: Annotated[str | None, option(PruneSpec, "activations")] = None,
    activation_scale: Annotated[str | None, option(PruneSpec, "activation_scale")] = None,
    kv_bits: Annotated[str | None, option(PruneSpec, "kv_bits")] = None,
    kv_group_size: Annotated[int | None, option(PruneSpec, "kv_group_size")] = None,
    kv_tokens: Annotated[int | None, option(PruneSpec, "kv_tokens")] = None,
    scheme: Annotated[str | None, option(PruneSpec, "scheme")] = None,
    recipe: Recipe = None,
    dtype: Dtype = "auto",
    device: Device = None,
    revision: Revision = None,
    gguf_file: GGUFFile = None,
    trust_remote_code: TrustRemoteCode = False,
    force: Force = False,
    dry_run: DryRun = False,
    push_to_hub: PushToHub = None,
    private: Private = None,
    push_branch: PushBranch = None,
) -> None:
    """Remove weights from a model and write an ordinary checkpoint.

    The result loads with AutoModelForCausalLM.from_pretrained. Zeros are stored densely: masks simulate sparsity,
    they give no speed. N of N:M is the number kept. A checkpoint that is pruned already keeps its zeros.
    """
    check_output(
        output, force, needed=not dry_run and save_mask is None and method != "none", source=pretrained
    )
    if save_mask is not None:
        from difficulty.files import check_writable

        if output is not None and save_mask.resolve().is_relative_to(output.resolve()):
            raise UsageError(
                f"--save-mask {str(save_mask)!r} lies in --output {str(output)!r}, which is written whole and later. Write the mask beside it."
            )
        check_writable(save_mask)
    given = {
        "method": None if mask is not None and method == "magnitude" else method,
        "sparsity": sparsity,
        "pattern": pattern,
        "scope": scope,
        "allocation": allocation,
        "criterion": criterion,
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
        "act_order": act_order or None,
        "quantizer": quantizer,
        "activations": activations,
        "activation_scale": activation_scale,
        "kv_bits": kv_bits,
        "kv_group_size": kv_group_size,
        "kv_tokens": kv_tokens,
        "scheme": scheme,
    }
    spec = PruneSpec.from_strings(with_recipe("prune", recipe, given))
    repository = repository_of(push_to_hub, private, push_branch, output, dry_run)
    from junkdna_harness.compress.loading import Source
    from junkdna_harness.compress.masks import save_mask as write_mask
    from junkdna_harness.compress.pruning import prune as prune_in_place

    source = Source(pretrained, dtype, device, revision, gguf_file, trust_remote_code)

    def mask_too(model: Any, report: CompressionReport) -> None:
        if save_mask is not None:
            write_mask(model, report, save_mask)
            say(f"mask: {save_mask}")

    compress(source, spec, prune_in_place, output, force, dry_run, mask_too, repository)
