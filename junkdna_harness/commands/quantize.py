"""`junkdna quantize`: round weights to few bits and write an ordinary checkpoint."""

from __future__ import annotations

from typing import Annotated

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
from junkdna_harness.compress.quant_spec import QuantSpec, check_simulated


@names_options(mask_seed="seed")
def quantize(
    pretrained: Pretrained = None,
    output: Output = None,
    method: Annotated[str | None, option(QuantSpec, "method")] = None,
    bits: Annotated[str | None, option(QuantSpec, "bits")] = None,
    group_size: Annotated[int | None, option(QuantSpec, "group_size")] = None,
    symmetric: Annotated[bool, option(QuantSpec, "symmetric")] = False,
    act_order: Annotated[bool, option(QuantSpec, "act_order")] = False,
    targets: Annotated[str | None, option(QuantSpec, "targets")] = None,
    exclude: Annotated[str | None, option(QuantSpec, "exclude")] = None,
    seed: Annotated[int | None, option(QuantSpec, "seed", "--seed", "--mask-seed")] = None,
    calibration: Annotated[str | None, option(QuantSpec, "calibration")] = None,
    nsamples: Annotated[int | None, option(QuantSpec, "nsamples")] = None,
    seqlen: Annotated[int | None, option(QuantSpec, "seqlen")] = None,
    activations: Annotated[str | None, option(QuantSpec, "activations")] = None,
    activation_scale: Annotated[str | None, option(QuantSpec, "activation_scale")] = None,
    kv_bits: Annotated[str | None, option(QuantSpec, "kv_bits")] = None,
    kv_group_size: Annotated[int | None, option(QuantSpec, "kv_group_size")] = None,
    kv_tokens: Annotated[int | None, option(QuantSpec, "kv_tokens")] = None,
    scheme: Annotated[str | None, option(QuantSpec, "scheme")] = None,
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
    """Round weights to few bits and write an ordinary checkpoint.

    Quantization is simulated: the rounded weights are stored densely in the model's dtype, so that any framework
    loads them. The manifest holds the bits that a packed copy would take. What was pruned stays pruned.
    """
    check_output(output, force, needed=not dry_run, source=pretrained)
    given = {
        "method": method,
        "bits": bits,
        "group_size": group_size,
        "symmetric": symmetric or None,
        "act_order": act_order or None,
        "targets": targets,
        "exclude": exclude,
        "mask_seed": seed,
        "calibration": calibration,
        "nsamples": nsamples,
        "seqlen": seqlen,
        "activations": activations,
        "activation_scale": activation_scale,
        "kv_bits": kv_bits,
        "kv_group_size": kv_group_size,
        "kv_tokens": kv_tokens,
        "scheme": scheme,
    }
    spec = QuantSpec.from_strings(with_recipe("quantize", recipe, given))
    check_simulated(spec.method, spec.running)
    repository = repository_of(push_to_hub, private, push_branch, output, dry_run)
    from junkdna_harness.compress.loading import Source
    from junkdna_harness.compress.quantizing import quantize as quantize_in_place

    source = Source(pretrained, dtype, device, revision, gguf_file, trust_remote_code)
    compress(source, spec, quantize_in_place, output, force, dry_run, repository=repository)
