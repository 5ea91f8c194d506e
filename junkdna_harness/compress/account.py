"""From what happened on the way, and what is measured on the model afterwards, to the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from difficulty.runs.level import level_of
from junkdna_harness.compress.bits import effective_bits
from junkdna_harness.compress.change import Outcome
from junkdna_harness.compress.formats import known_format
from junkdna_harness.compress.hashing import weights_sha256
from junkdna_harness.compress.quant_spec import QuantSpec
from junkdna_harness.compress.report import CompressionReport, bits_of_model, count_zeros, with_gone
from junkdna_harness.compress.spec import PruneSpec
from junkdna_harness.compress.structure import gone, together
from junkdna_harness.compress.targets import Target


def make_report(
    model: nn.Module,
    targets: Sequence[Target],
    spec: PruneSpec | QuantSpec,
    outcome: Outcome,
    seconds: float,
    zeros_by_module: Mapping[str, int] | None = None,
) -> CompressionReport:
    """The report; `zeros_by_module` where the targets' zeros are counted already."""
    zeros = count_zeros(model, targets, zeros_by_module)
    form = known_format(outcome.quantizer)
    pruned, rounded = outcome.kind == "pruned", outcome.bits is not None
    shared = _shared_bits(targets, outcome)
    sparse = pruned and outcome.sparsity != 0  # zeros that rounding made are codes like any other
    bits = effective_bits(
        zeros.sparsity_targeted if sparse else 0.0,
        bits=outcome.bits,
        shared=shared,
        pattern=outcome.packing if pruned else None,
    )
    removed = gone(outcome.structure)
    measured = together(removed, zeros.sparsity_targeted if outcome.sparsity is None else outcome.sparsity)
    level, warning = level_of(outcome.requested, measured) if outcome.level is None else (outcome.level, None)
    if warning is not None and isinstance(spec, PruneSpec) and spec.structured:
        warning = f"asked for {outcome.requested:.4g} of the {spec.method}, which hold {measured:.4g} of the targeted weights"
    left = zeros
    if outcome.structure is not None:
        bits *= 1 - removed
        zeros = with_gone(zeros, removed, outcome.structure["weights_all"])
    untargeted = (zeros.n_all - zeros.n_targeted) - (left.n_all - left.n_targeted)
    return CompressionReport(
        kind=outcome.kind,
        method=outcome.method,
        pattern=None if outcome.pattern is None or not pruned else str(outcome.pattern),
        level=level if pruned else None,
        bits=outcome.bits,
        scope=outcome.scope if pruned else None,
        seed=outcome.seed,
        requested_sparsity=outcome.requested,
        sparsity_targeted=zeros.sparsity_targeted,
        sparsity_all=zeros.sparsity_all,
        sparsity_by_module=zeros.by_module,
        weights_targeted=zeros.n_targeted,
        weights_all=zeros.n_all,
        effective_bits=bits,
        effective_bits_all=bits_of_model(bits, zeros, untargeted),
        weights_sha256=weights_sha256(model),
        group_size=outcome.group if rounded else None,
        symmetric=outcome.symmetric if rounded and form.integer else None,
        shared_bits=shared if rounded else None,
        act_order=outcome.act_order if rounded and form.ordered else None,
        quantizer=outcome.quantizer if rounded and pruned else None,
        targets=spec.targets,
        exclude=spec.exclude,
        calibration=outcome.calibration,
        damping=outcome.damping,
        warnings=(*outcome.warnings, *([] if warning is None or not pruned else [warning])),
        seconds=seconds,
        on_top_of=outcome.on_top_of,
        allocation=outcome.allocation,
        structure=outcome.structure,
    )


def _shared_bits(targets: Sequence[Target], outcome: Outcome) -> float:
    """Bits per weight of scales and zero points."""
    if outcome.shared_bits is not None:
        return outcome.shared_bits
    if outcome.bits is None or outcome.group is None:
        return 0.0
    form, shapes = known_format(outcome.quantizer), [target.shape for target in targets]
    return form.shared_bits(shapes, outcome.bits, outcome.group, outcome.symmetric)
