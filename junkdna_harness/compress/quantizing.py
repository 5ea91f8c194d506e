"""Simulated quantization: weights are rounded to what few bits can hold and stored as ordinary floats.

What was pruned stays pruned: exact zeros are kept, and counted as `prune` with bits counts them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from difficulty.errors import UsageError
from junkdna_harness.compress.account import make_report
from junkdna_harness.compress.before import Before, look_before, refuse_rounding_again, refuse_running_again
from junkdna_harness.compress.calibrated import Provider, Walked, change_each
from junkdna_harness.compress.change import Outcome, Progress
from junkdna_harness.compress.checks import (
    merge_adapters,
    on_a_grid,
    refuse_offloaded,
    refuse_quantized,
    refuse_unfinite,
    unreached,
)
from junkdna_harness.compress.notation import NONE
from junkdna_harness.compress.quant_spec import QuantSpec, check_simulated
from junkdna_harness.compress.quantizers import Quantizer, Rounding, get_quantizer, resolve_group
from junkdna_harness.compress.report import QuantReport
from junkdna_harness.compress.running import prepare, run_rounded
from junkdna_harness.compress.spec import PruneSpec
from junkdna_harness.compress.statistics import Statistic
from junkdna_harness.compress.targets import Target, find_targets


def quantize(
    model: nn.Module,
    spec: QuantSpec | None = None,
    tokenizer: Any = None,
    progress: Progress | None = None,
    *,
    manifest: Mapping[str, Any] | None = None,
) -> QuantReport:
    """What was rounded, after rounding the weights of `model` in place (methods kv and none leave them as they are).

    Activations and the cache are rounded from then on, whenever the model runs, until `stop_running`.

    `tokenizer` is needed by quantizers that read calibration text. Where the model is pruned its zeros stay, and the report
    is that of a pruned and quantized model: how it was pruned says `manifest` (None: the `junkdna.json` of the folder
    from which transformers loaded it), as far as the weights bear it out; without one the method is 'none'.

    Raises:
        UsageError: the model or the spec cannot be used; nothing has been changed then.

    Weights keep their dtype. Bits are per targeted weight, with scales and zero points.

    Examples:
        >>> from transformers import AutoModelForCausalLM
        >>> from junkdna_harness.embedded import model_path
        >>> model = AutoModelForCausalLM.from_pretrained(model_path())
        >>> from junkdna_harness.compress import QuantSpec
        >>> quantize(model, QuantSpec(method="rtn", bits=4)).effective_bits
        4.3125
    """
    spec = spec or QuantSpec()
    check_simulated(spec.method, spec.running)
    started = time.perf_counter()
    rounder = get_quantizer(spec.method) if spec.rounds_weights else None
    with torch.no_grad():
        merge_adapters(model)
        refuse_quantized(model)
        targets = find_targets(model, spec.targets, spec.exclude)
        refuse_offloaded(targets)
        refuse_unfinite(targets)
        before = look_before(model, targets, manifest)
        refuse_running_again(before)
        if rounder is not None:
            refuse_rounding_again(before)
            resolve_group(targets, spec.group_size, rounder.form)
        running = prepare(model, spec.running, targets, spec.kv_tokens)
        provider = Walked(model, tokenizer)
        needs = None if rounder is None else rounder.statistic(spec.act_order)
        provider.prepare(targets, [] if needs is None else [needs], spec)
        outcome = _begin(before, spec)
        if rounder is not None:
            outcome.warnings += on_a_grid(targets)
            outcome.warnings += unreached(model, targets) if not spec.targets else []
            round_targets(targets, spec, provider, outcome, before.compressed, progress)
        report = make_report(model, targets, spec, outcome, time.perf_counter() - started)
    return run_rounded(running, spec, report, tokenizer)


def round_targets(
    targets: Sequence[Target],
    spec: QuantSpec | PruneSpec,
    provider: Provider,
    outcome: Outcome,
    keep: bool,
    progress: Progress | None,
) -> None:
    """Round the targets in place; for a `PruneSpec` by its quantizer. `keep`: what is zero stays zero."""
    rounder = rounder_of(spec)
    bits = spec.bits or rounder.form.widths[0]
    group = resolve_group(targets, spec.group_size, rounder.form)
    outcome.bits, outcome.group, outcome.quantizer = bits, group, _name(spec)
    outcome.symmetric, outcome.act_order = spec.symmetric, spec.act_order

    def change(target: Target, statistic: Statistic | None) -> None:
        weight = target.weight.float()
        how = Rounding(bits, group, spec.symmetric, spec.act_order, weight == 0 if keep else None)
        new = rounder.function(weight, how) if statistic is None else rounder.function(weight, how, statistic)
        target.weight.copy_(_checked(new, weight, how, target, rounder))

    needs = rounder.statistic(spec.act_order)
    if needs is not None:
        change_each(targets, needs, change, provider, outcome, progress, "rounded to nearest")
        return
    for done, target in enumerate(targets):
        if progress:
            progress(done, len(targets), target.name)
        change(target, None)


def rounder_of(spec: QuantSpec | PruneSpec) -> Quantizer:
    """The quantizer that a spec names."""
    return get_quantizer(_name(spec))


def _name(spec: QuantSpec | PruneSpec) -> str:
    return str(spec.quantizer) if isinstance(spec, PruneSpec) else spec.method


def _checked(new: Any, weight: Tensor, how: Rounding, target: Target, rounder: Quantizer) -> Tensor:
    """What a quantizer returned, zeros held where they have to be.

    Raises:
        UsageError: another shape, or NaN or infinite weights.
    """
    if not isinstance(new, Tensor) or new.shape != weight.shape or not bool(torch.isfinite(new).all()):
        what = f"a {type(new).__name__}" if not isinstance(new, Tensor) else f"shape {tuple(new.shape)}"
        what = what if not isinstance(new, Tensor) or new.shape != weight.shape else "NaN or infinite weights"
        raise UsageError(
            f"quantizer {rounder.form.name!r} gave {what} for {target.name}, whose weights are {tuple(weight.shape)}."
        )
    return new if how.zeros is None else new.masked_fill(how.zeros, 0)


def _begin(before: Before, spec: QuantSpec) -> Outcome:
    """Pruned and quantized where the model was pruned, so that it stands in tables beside `prune` with bits."""
    if not before.compressed and not spec.rounds_weights:
        return Outcome(NONE, seed=spec.seed, warnings=list(before.warnings))
    if not before.compressed:
        return Outcome(spec.method, seed=spec.seed, kind="quantized", warnings=list(before.warnings))
    outcome = before.outcome()
    if not before.known and not before.only_rounded:
        outcome.warnings.append(
            f"{before.sparsity:.4g} of the targeted weights are zero and stay zero; no manifest says how the checkpoint "
            f"was pruned, so its method is 'none'"
        )
    return outcome
